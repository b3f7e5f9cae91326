"""The eight ways to look at a picture: mirrored and turned by right angles.

What a network says of a picture changes a little when the picture is turned, though it should not; so the mean of what
it says of all eight errs less (geometric self-ensemble: Lim et al., EDSR, 2017).
"""

from __future__ import annotations

from torch import Tensor

TURNS = 8


def turned(image: Tensor, turn: int) -> Tensor:
    """Way number `turn`, 0 to 7, to look at (..., h, w); 0 is as it is, from 4 on height and width change places."""
    axes = [axis for axis, mirrored in ((-1, turn & 1), (-2, turn & 2)) if mirrored]
    image = image.flip(axes) if axes else image
    return image.transpose(-1, -2).contiguous() if turn & 4 else image


def turned_back(image: Tensor, turn: int) -> Tensor:
    """What `turned` made of an image → that image."""
    image = image.transpose(-1, -2) if turn & 4 else image
    axes = [axis for axis, mirrored in ((-1, turn & 1), (-2, turn & 2)) if mirrored]
    return image.flip(axes) if axes else image


def turned_ways(ways: Tensor, turn: int) -> Tensor:
    """The same for (B, 2, h, w) that leads somewhere, x and y: in a turned picture it leads to the same place."""
    signs = ways.new_tensor([-1 if turn & 1 else 1, -1 if turn & 2 else 1]).view(1, 2, 1, 1)
    ways = turned(ways * signs, turn)
    return ways.flip(1) if turn & 4 else ways
