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
NARROWEST, WIDEST = 0.2, 16.0  # low-resolution pixels, evenly over magnitudes on both sides of one


def barred(picture: Tensor, scale: float, random: torch.Generator) -> Tensor:
    """The same (3, H, W) in [0, 1], now and then with one bar or two opposite ones; `scale` is that of its size."""
    chance, wide, other, second, seen, kind = torch.rand(6, generator=random).tolist()
    turn = int(torch.randint(TURNS, (), generator=random))
    if chance > SHARE:
        return picture
    colour = torch.zeros(3, 1, 1) if kind < 0.7 else torch.rand(3, 1, 1, generator=random)
    left = 0.0 if seen < 0.7 else (seen - 0.7) / 0.3  # of what is behind a bar: most hide it

    def side(ratio: float) -> int:
        width: float = NARROWEST ** (1 - ratio / LINES) if ratio < LINES else WIDEST ** ((ratio - LINES) / (1 - LINES))
        return max(1, round(scale * width))

    result = turned(picture, turn).clone()
    bars = [result[..., : side(wide)]]
    if second < 0.5:
        # as wide as the first, as bars of wide formats are, or not
        bars.append(result[..., -side(wide if second < 0.25 else other) :])
    for bar in bars:
        bar.mul_(left).add_(colour.to(bar) * (1 - left))
    return turned_back(result, turn)
