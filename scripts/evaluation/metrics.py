"""How far a picture is from the truth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EQUAL = 100.0  # dB that equal pictures are given


def luma(rgb: Tensor) -> Tensor:
    """Y (B, 1, H, W) of BT.601 in limited range, as the super-resolution literature measures it; in [0, 1]."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((rgb * weights).sum(1, keepdim=True) + 16) / 255


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for values in [0, 1], at most `EQUAL`."""
    error = float((a - b).double().square().mean())
    return min(EQUAL, -10 * float(torch.tensor(error).clamp_min(1e-12).log10()))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of (B, 1, H, W) in [0, 1]: Gaussian window of 11 pixels, σ = 1.5."""
    x = torch.arange(11, dtype=a.dtype, device=a.device) - 5
    g = torch.exp(-(x**2) / (2 * 1.5**2))
    window = (g / g.sum())[:, None] * (g / g.sum())

    def mean(v: Tensor) -> Tensor:
        return F.conv2d(v, window[None, None])

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return float((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean())
