"""Motion shown in colours: the hue tells where to, the saturation how far; what rests is white."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class FlowColours:
    """The colour wheel: red leads to the right, yellow-green down, cyan to the left, violet up."""

    def __init__(self, reach: float) -> None:
        """Motion of `reach` pixels or more is shown in full colour."""
        self._reach = reach

    def __call__(self, motion: Tensor) -> Tensor:
        """(2, H, W) x and y in pixels → (3, H, W) RGB in [0, 1]."""
        x, y = motion.double()
        saturation = (torch.hypot(x, y) / self._reach).clamp(max=1)
        hue = torch.atan2(y, x) / math.tau
        # each channel fades where the hue is far from its own: HSV with full value
        channels = [((hue - place + 0.5) % 1 - 0.5).abs() * 6 - 1 for place in (0, 1 / 3, 2 / 3)]
        return torch.stack([1 - saturation * channel.clamp(0, 1) for channel in channels]).float()


class FlowView(NamedTuple):
    """What is shown of the motion: that to the frame before (0) or after (1), in colours or, without, in numbers."""

    toward: int
    colours: FlowColours | None
