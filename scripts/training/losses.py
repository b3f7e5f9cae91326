"""How wrong pictures and flows are, as training counts it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def root_mean_square(a: Tensor, b: Tensor) -> Tensor:
    """The root of each picture's mean squared difference, which PSNR is made of; the mean of these."""
    return ((a - b).square().mean((1, 2, 3)) + 1e-6).sqrt().mean()


def flow_loss(flows: list[Tensor], truth: Tensor) -> Tensor:
    """Mean distance from the true flow, in low-resolution pixels, at every level; far misses count less and less."""
    total = truth.new_zeros(())
    for flow in flows:
        height, width = flow.shape[-2:]
        pixel = truth.shape[-1] / width
        aim = F.interpolate(truth, size=(height, width), mode="area")
        miss = (flow * pixel - aim).square().sum(1).add(1e-4).sqrt()
        total = total + (miss / (1 + 0.05 * miss)).mean()
    return total / len(flows)
