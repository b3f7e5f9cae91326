"""Where one scene ends and the next begins: a detector for clips that nobody has marked.

Both frames are reduced to about a thousand cells. Content that moved is found again near where it was; where much of a
frame is found nowhere near in the other one, there is a cut. So motion, also of the whole picture, counts for little;
and so does a fade, for frames are compared as they are and with the same brightness and contrast.
"""

from __future__ import annotations

import enum
import itertools

import numpy as np
from numpy.typing import NDArray

#: From here on two frames are taken for different scenes. scripts/measure_cuts.py tells how that does on real clips.
THRESHOLD = 0.04

CELLS = 32  # a side
REACH = 3  # cells that content may move between two frames: a tenth of the picture
FAINT = 1 / 255  # contrast of cells in which nothing is to be recognised
SAMPLES = 8  # pixels a side that stand for a cell


class Mode(enum.IntEnum):
    """What is shown between the frames on both sides of a cut, as the native side numbers it (native/videoinr.h)."""

    IGNORE = 0  # both blended
    HOLD = 1  # the one before the cut
    SWITCH = 2  # the one before it, and from half way on the one after it


def difference(frame0: NDArray[np.float32], frame1: NDArray[np.float32]) -> float:
    """Return how much of either frame (planes, height, width; in [0, 1]) is not to be found in the other, 0 to 1."""
    a, b = (_cells(frame) for frame in (frame0, frame1))
    found = max(_missing(a, b), _missing(b, a))
    if min(a.std(), b.std()) < FAINT:
        return found
    # In the terms of the fainter one hardly anything would differ from a nearly black frame.
    model = a if a.std() > b.std() else b
    a, b = ((one - one.mean()) * (model.std() / one.std()) + model.mean() for one in (a, b))
    return min(found, max(_missing(a, b), _missing(b, a)))


def _cells(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean brightness in a lattice of at most CELLS a side."""
    height, width = frame.shape[1:]
    step = [max(1, side // (CELLS * SAMPLES)) for side in (height, width)]
    gray = np.nan_to_num(frame[:, :: step[0], :: step[1]]).clip(0, 1).mean(0)
    edges = [np.linspace(0, side, min(CELLS, side) + 1).astype(int) for side in gray.shape]
    sums = np.add.reduceat(np.add.reduceat(gray, edges[0][:-1], 0), edges[1][:-1], 1)
    means: NDArray[np.float32] = sums / np.outer(np.diff(edges[0]), np.diff(edges[1]))
    return means


def _missing(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean difference of the cells of `a` from the most similar ones near the same place in `b`."""
    height, width = a.shape
    around = np.pad(b, REACH, mode="edge")
    span = range(2 * REACH + 1)
    nearest = np.full_like(a, np.inf)
    for y, x in itertools.product(span, span):
        np.minimum(nearest, np.abs(a - around[y : y + height, x : x + width]), out=nearest)
    return float(nearest.mean())
