"""Bars along the sides of pictures, as wide formats, captures and careless crops leave them.

Edges there are as sharp and as straight as any, run along the low-resolution grid, and often lie so near the border
that hardly a pixel of the bar is left: pieces cut out of pictures never show that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vs_videoinr.model.turns import TURNS, turned, turned_back

SHARE = 0.3  # of the pictures have bars
LINES = 0.5  # of the bars are lines that a capture leaves, narrower than a low-resolution pixel: hardest to see as such
SOFT = 0.5  # of the pictures with bars have them end within a full-size pixel, as after scaling and compression
NARROWEST, WIDEST = 0.2, 16.0  # low-resolution pixels, evenly over magnitudes on both sides of one


def barred(picture: Tensor, scale: float, random: torch.Generator) -> Tensor:
    """The same (3, H, W) in [0, 1], now and then with one bar or two opposite ones; `scale` is that of its size."""
    chance, wide, other, second, seen, kind = torch.rand(6, generator=random).tolist()
    turn = int(torch.randint(TURNS, (), generator=random))
    if chance > SHARE:
        return picture
    colour = torch.zeros(3, 1, 1) if kind < 0.7 else torch.rand(3, 1, 1, generator=random)
    left = 0.0 if seen < 0.7 else (seen - 0.7) / 0.3  # of what is behind a bar: most hide it
    result = turned(picture, turn)

    def hidden(ratio: float) -> Tensor:
        """How much of each line a bar hides, counted from its border."""
        width: float = NARROWEST ** (1 - ratio / LINES) if ratio < LINES else WIDEST ** ((ratio - LINES) / (1 - LINES))
        width = scale * width if chance < SOFT * SHARE else max(1, round(scale * width))
        return (width - torch.arange(result.shape[-1])).clamp(0, 1)

    bars = hidden(wide)
    if second < 0.5:
        # as wide as the first, as bars of wide formats are, or not
        bars = torch.maximum(bars, hidden(wide if second < 0.25 else other).flip(0))
    bars = (bars * (1 - left)).to(result)
    return turned_back(result * (1 - bars) + colour.to(result) * bars, turn)
