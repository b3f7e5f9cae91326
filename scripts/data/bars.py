"""Bars along the sides of pictures, as wide formats, captures and careless crops leave them.

Edges there are as sharp and as straight as any, run along the low-resolution grid, and often lie so near the border
that hardly a pixel of the bar is left: pieces cut out of pictures never show that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.data.batch import pick_int
from vs_videoinr.networks.sampling import resize_bicubic
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform, transform_back

BARS_SHARE = 0.3  # of the pictures have bars
LINES_SHARE = 0.5  # of the bars are narrower than a low-resolution pixel, as captures leave them: hardest to tell
SOFT_SHARE = 0.5  # of the pictures with bars were scaled together with them: edges lie anywhere and ring, as in video
SUBPIXELS = 8  # places in a full-size pixel where such edges may lie
MIN_WIDTH, MAX_WIDTH = 0.2, 16.0  # low-resolution pixels, evenly over magnitudes on both sides of one


def add_bars(picture: Tensor, scale: float, random: torch.Generator) -> Tensor:
    """The same (3, H, W) in [0, 1], now and then with one bar or two opposite ones.

    `scale` is that of its full-size pixels: how many of them make a low-resolution one.
    """
    chance, width, other_width, second, transparency, colouring = torch.rand(6, generator=random).tolist()
    turn = pick_int(TRANSFORMS, random)
    if chance > BARS_SHARE:
        return picture
    grey = torch.rand(1, 1, 1, generator=random)
    mixed = torch.rand(3, 1, 1, generator=random)
    colour = 0 * mixed if colouring < 0.5 else 0.1 * grey if colouring < 0.7 else grey if colouring < 0.85 else mixed
    visible = max(0.0, (transparency - 0.6) / 0.4) ** 2  # share of what is behind a bar: most hide it
    result = transform(picture, turn)
    length = result.shape[-1]

    def coverage(magnitude: float) -> Tensor:
        """How much of each line a bar covers, counted from its border; `magnitude` in [0, 1] is that of its width."""
        wide: float = (
            MIN_WIDTH ** (1 - magnitude / LINES_SHARE)
            if magnitude < LINES_SHARE
            else MAX_WIDTH ** ((magnitude - LINES_SHARE) / (1 - LINES_SHARE))
        )
        if chance > SOFT_SHARE * BARS_SHARE:
            return (torch.arange(length) < max(1, round(scale * wide))).float()
        fine = (torch.arange(SUBPIXELS * length) < max(1, round(SUBPIXELS * scale * wide))).float()
        return resize_bicubic(fine.expand(1, 1, 1, -1), (1, length))[0, 0, 0]

    bars = coverage(width)
    if second < 0.5:
        # As wide as the first, as bars of wide formats are, or not. They do not meet: pieces are wider than both.
        bars = bars + coverage(width if second < 0.25 else other_width).flip(0)
    bars = (bars * (1 - visible)).to(result)
    return transform_back((result * (1 - bars) + colour.to(result) * bars).clamp(0, 1), turn)
