"""Bars along the sides of pictures, as wide formats, captures and careless crops leave them.

Edges there are as sharp and as straight as any, run along the low-resolution grid, and often lie so near the border
that hardly a pixel of the bar is left: pieces cut out of pictures never show that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vs_videoinr.model.sampling import resize
from vs_videoinr.model.turns import TURNS, turned, turned_back

SHARE = 0.3  # of the pictures have bars
LINES = 0.5  # of the bars are lines that a capture leaves, narrower than a low-resolution pixel: hardest to see as such
SOFT = 0.5  # of the pictures with bars were scaled together with them: edges lie anywhere and ring, as in most video
PLACES = 8  # in a full-size pixel, where such edges may be
NARROWEST, WIDEST = 0.2, 16.0  # low-resolution pixels, evenly over magnitudes on both sides of one


def barred(picture: Tensor, scale: float, random: torch.Generator) -> Tensor:
    """The same (3, H, W) in [0, 1], now and then with one bar or two opposite ones; `scale` is that of its size."""
    chance, wide, other, second, seen, kind = torch.rand(6, generator=random).tolist()
    turn = int(torch.randint(TURNS, (), generator=random))
    if chance > SHARE:
        return picture
    grey = torch.rand(1, 1, 1, generator=random)
    several = torch.rand(3, 1, 1, generator=random)
    colour = 0 * several if kind < 0.5 else 0.1 * grey if kind < 0.7 else grey if kind < 0.85 else several
    left = max(0.0, (seen - 0.6) / 0.4) ** 2  # of what is behind a bar: most hide it
    result = turned(picture, turn)
    length = result.shape[-1]

    def hidden(ratio: float) -> Tensor:
        """How much of each line a bar hides, counted from its border."""
        width: float = NARROWEST ** (1 - ratio / LINES) if ratio < LINES else WIDEST ** ((ratio - LINES) / (1 - LINES))
        if chance > SOFT * SHARE:
            return (torch.arange(length) < max(1, round(scale * width))).float()
        fine = (torch.arange(PLACES * length) < max(1, round(PLACES * scale * width))).float()
        return resize(fine.expand(1, 1, 1, -1), (1, length))[0, 0, 0]

    bars = hidden(wide)
    if second < 0.5:
        # As wide as the first, as bars of wide formats are, or not. They do not meet: pieces are wider than both.
        bars = bars + hidden(wide if second < 0.25 else other).flip(0)
    bars = (bars * (1 - left)).to(result)
    return turned_back((result * (1 - bars) + colour.to(result) * bars).clamp(0, 1), turn)
