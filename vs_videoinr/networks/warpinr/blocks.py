"""Layers and small steps that the parts of WarpINR share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.1  # of every LeakyReLU

#: Brings differences of colours, which are hundredths, to the size of features.
COLOUR_GAIN = 8.0

#: Pixels that a flow is divided by to be of the size of features.
FLOW_SCALE_PX = 8.0

#: Channels of a frame, of a flow, and of a flow's phase.
RGB, FLOW, PHASE = 3, 2, 4


def init_near_zero(layer: nn.Conv2d) -> None:
    """Let a layer that adds to something begin by adding little."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        if layer.bias is not None:
            layer.bias.zero_()


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), started close to the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        init_near_zero(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) → the same."""
        result: Tensor = x + self.conv2(F.relu(self.conv1(x), inplace=True))
        return result


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend an image (B, C, h, w) to whole `multiple`s, to the right and below, by its border."""
    for axis in (3, 2):
        image = extend(image, axis, -image.shape[axis] % multiple)
    return image


def extend(image: Tensor, axis: int, count: int) -> Tensor:
    """Extend an image (B, C, h, w) by `count` times its last row (`axis` 2) or column (3)."""
    if count == 0:
        return image
    border = image.narrow(axis, image.shape[axis] - 1, 1)
    shape = list(border.shape)
    shape[axis] = count
    return torch.cat((image, border.expand(shape)), axis)  # takes a fraction of the time of `F.pad`
