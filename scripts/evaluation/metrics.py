"""How far a picture is from the truth; everything here is measured on values in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EQUAL_DB = 100.0  # that equal pictures are given
SSIM_WINDOW_PX, SSIM_SIGMA_PX = 11, 1.5


def luma(rgb: Tensor) -> Tensor:
    """Y (B, 1, H, W) of BT.601 in limited range, as the super-resolution literature measures it; in [0, 1]."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((rgb * weights).sum(1, keepdim=True) + 16) / 255


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Of every value."""
    return (a - b).double().square()


def decibels(mean_squared_error: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, at most EQUAL_DB."""
    return min(EQUAL_DB, -10 * float(mean_squared_error.clamp_min(1e-12).log10()))


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, at most EQUAL_DB."""
    return decibels(squared_error(a, b).mean())


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of (B, 1, H, W): in a Gaussian window."""
    x = torch.arange(SSIM_WINDOW_PX, dtype=a.dtype, device=a.device) - SSIM_WINDOW_PX // 2
    g = torch.exp(-(x**2) / (2 * SSIM_SIGMA_PX**2))
    window = (g / g.sum())[:, None] * (g / g.sum())

    def mean(v: Tensor) -> Tensor:
        return F.conv2d(v, window[None, None])

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return float((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean())
