"""What a frame has beyond its bicubic enlargement: its residual detail."""

from __future__ import annotations

from torch import Tensor, nn

from vs_videoinr.networks.warpinr.blocks import RGB, init_near_zero

#: Residual detail is predicted for DETAIL_SCALE x DETAIL_SCALE places of every low-resolution pixel, and interpolated
#: between them.
DETAIL_SCALE = 4


class ResidualDetail(nn.Module):
    """Feature maps (B, width, h, w) → residual detail (B, 3·DETAIL_SCALE², h, w), mixed from a few patterns.

    Colours, and places side by side, have most in common. So a pixel's detail is mixed from patterns that are learned,
    half as many as there are values in it: with half the weights and the work of a layer that predicts them one by one.
    """

    def __init__(self, width: int, patterns: int) -> None:
        super().__init__()
        self.amounts = nn.Conv2d(width, patterns, 3, padding=1, bias=False)
        self.patterns = nn.Conv2d(patterns, RGB * DETAIL_SCALE**2, 1)
        init_near_zero(self.patterns)

    def forward(self, maps: Tensor) -> Tensor:
        """Predict the detail, in the precision that the maps have."""
        detail: Tensor = self.patterns(self.amounts(maps))
        return detail
