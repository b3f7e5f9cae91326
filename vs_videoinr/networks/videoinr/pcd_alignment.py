"""PCD alignment (pyramid, cascading, deformable; EDVR, Wang et al. 2019) as Zooming Slow-Mo uses it.

Two feature pyramids are each aligned towards the other; offsets found at a coarse level start the next finer one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks.videoinr.deformable_conv import DeformableConv
from vs_videoinr.networks.videoinr.layers import Pyramid, conv3x3, leaky


def _twice_as_large(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class PCDAlignment(nn.ModuleDict):
    """Alignment of two feature pyramids in both directions.

    The published names carry level and direction (`L2_offset_conv1_1`: level 2, first pyramid towards the second), so
    the parts are kept in a dictionary by those names.
    """

    def __init__(self, channels: int, groups: int) -> None:
        parts: dict[str, nn.Module] = {}
        for direction in (1, 2):
            for level in (3, 2, 1):
                parts[f"L{level}_offset_conv1_{direction}"] = conv3x3(2 * channels, channels)
                if level == 3:
                    parts[f"L{level}_offset_conv2_{direction}"] = conv3x3(channels, channels)
                else:
                    parts[f"L{level}_offset_conv2_{direction}"] = conv3x3(2 * channels, channels)
                    parts[f"L{level}_offset_conv3_{direction}"] = conv3x3(channels, channels)
                    parts[f"L{level}_fea_conv_{direction}"] = conv3x3(2 * channels, channels)
                parts[f"L{level}_dcnpack_{direction}"] = DeformableConv(channels, groups)
        super().__init__(parts)

    def forward(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Align two pyramids of (B, C, H, W), finest level first; return both aligned features as (B, 2C, H, W)."""
        return torch.cat((self._align(first, second, 1), self._align(second, first, 2)), dim=1)

    def _align(self, moving: list[Tensor], target: list[Tensor], direction: int) -> Tensor:
        def part(name: str) -> nn.Module:
            return self[f"{name}_{direction}"]

        offset = leaky(part("L3_offset_conv1")(torch.cat((moving[2], target[2]), dim=1)))
        offset = leaky(part("L3_offset_conv2")(offset))
        feature = leaky(part("L3_dcnpack")(moving[2], offset))
        for level in (2, 1):
            coarse = _twice_as_large(offset).mul_(2)  # an offset in pixels doubles with the size
            offset = leaky(part(f"L{level}_offset_conv1")(torch.cat((moving[level - 1], target[level - 1]), dim=1)))
            offset = leaky(part(f"L{level}_offset_conv2")(torch.cat((offset, coarse), dim=1)))
            offset = leaky(part(f"L{level}_offset_conv3")(offset))
            aligned = part(f"L{level}_dcnpack")(moving[level - 1], offset)
            feature = part(f"L{level}_fea_conv")(torch.cat((aligned, _twice_as_large(feature)), dim=1))
            if level == 2:  # the finest level has no activation
                feature = leaky(feature)
        return feature


class FusedAlignment(Pyramid):
    """PCD alignment of two feature maps that builds their pyramids itself and fuses the two directions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        self.pcd_align = PCDAlignment(channels, groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Map two (B, C, H, W), sides multiples of 4, to one."""
        fused: Tensor = self.fusion(self.pcd_align(self.pyramid(first), self.pyramid(second)))
        return fused
