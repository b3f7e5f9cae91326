"""The small parts that several stages share: activation, residual block, strided pyramid, padding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

#: Height and width inside the encoder are multiples of this: three pyramid levels, each half the one before.
PYRAMID_MULTIPLE = 4


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps the size (or halves it with stride 2)."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def leaky(x: Tensor) -> Tensor:
    """LeakyReLU(0.1), the activation everywhere outside residual blocks and SIRENs. Overwrites `x`."""
    return F.leaky_relu_(x, 0.1)


class ResidualBlock(nn.Module):
    """Residual block without normalisation: x + conv2(relu(conv1(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        residual: Tensor = self.conv2(F.relu_(self.conv1(x)))
        return residual.add_(x)


class Pyramid(nn.Module):
    """Two stride-2 levels above a feature map; a base class because the published names have no part of their own."""

    def __init__(self, channels: int) -> None:
        # Not super(): a network that is a Pyramid and a Network has constructors with different arguments.
        nn.Module.__init__(self)
        self.fea_L2_conv1 = conv3x3(channels, channels, stride=2)
        self.fea_L2_conv2 = conv3x3(channels, channels)
        self.fea_L3_conv1 = conv3x3(channels, channels, stride=2)
        self.fea_L3_conv2 = conv3x3(channels, channels)

    def pyramid(self, level1: Tensor) -> list[Tensor]:
        """Return the feature map (B, C, H, W) and its versions at half and a quarter of the size."""
        level2 = leaky(self.fea_L2_conv2(leaky(self.fea_L2_conv1(level1))))
        level3 = leaky(self.fea_L3_conv2(leaky(self.fea_L3_conv1(level2))))
        return [level1, level2, level3]


def pad_to_pyramid(x: Tensor) -> Tensor:
    """Repeat the bottom and right edges of (B, C, H, W) until both sides are multiples of `PYRAMID_MULTIPLE`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % PYRAMID_MULTIPLE, 0, -height % PYRAMID_MULTIPLE), mode="replicate")
