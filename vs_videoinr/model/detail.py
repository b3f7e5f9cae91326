"""What a frame has beyond its bicubic enlargement, said on the low-resolution grid for many places of every pixel."""

from __future__ import annotations

from torch import Tensor, nn

from vs_videoinr.model.motion import start_small

FINE = 4  # detail is said for FINE x FINE places of every low-resolution pixel, and interpolated between them


class Detail(nn.Module):
    """Feature maps (B, width, h, w) → detail (B, 3·FINE², h, w): so much of each of a few patterns.

    Colours, and places side by side, have most in common. So a pixel's detail is mixed from patterns that are learned,
    half as many as there are values in it: with half the weights and the work of a layer that says them one by one.
    """

    def __init__(self, width: int, patterns: int) -> None:
        super().__init__()
        self.amounts = nn.Conv2d(width, patterns, 3, padding=1, bias=False)
        self.patterns = nn.Conv2d(patterns, 3 * FINE**2, 1)
        start_small(self.patterns)

    def forward(self, maps: Tensor) -> Tensor:
        """Say the detail, in the precision that the maps have."""
        detail: Tensor = self.patterns(self.amounts(maps))
        return detail
