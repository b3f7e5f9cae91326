"""Where one scene ends and the next begins: a detector for clips that nobody has marked.

Both frames are reduced to about a thousand cells. Content that moved is found again near where it was; where much of a
frame is found nowhere near in the other one, there is a cut. So motion, also of the whole picture, counts for little;
and so does a fade, for frames are compared as they are and with the same brightness and contrast. The last step of a
fade has no contrast to compare: only a third frame tells it from a cut to black or white (`is_fade`).
"""

from __future__ import annotations

import enum
import itertools

import numpy as np
from numpy.typing import NDArray

#: From here on two frames are taken for different scenes. `python -m scripts.measure_cuts` tells how that does.
THRESHOLD = 0.04

CELLS = 32  # a side
REACH = 3  # cells that content may move between two frames: a tenth of the picture
FAINT = 1 / 255  # contrast of cells in which nothing is to be recognised
SAMPLES = 8  # pixels a side that stand for a cell
MAX_STEP = 0.85  # share of the way between two frames at even distances that one step of a fade may take
MAX_CONTRAST = 0.2  # of one colour, as a share of what fades to it or from it
MAX_RESIDUAL = 0.25  # of a frame on that way, as a share of the smaller step


class Mode(enum.IntEnum):
    """What is shown between the frames on both sides of a cut, as the native side numbers it (native/videoinr.h)."""

    IGNORE = 0  # both blended
    HOLD = 1  # the one before the cut
    SWITCH = 2  # the one before it, and from half way on the one after it


def difference(frame0: NDArray[np.float32], frame1: NDArray[np.float32]) -> float:
    """Return how much of either frame (planes, height, width; in [0, 1]) is not to be found in the other, 0 to 1."""
    a, b = (_cells(frame) for frame in (frame0, frame1))
    found = _unlike(a, b)
    if min(a.std(), b.std()) < FAINT:
        return found
    # In the terms of the fainter one hardly anything would differ from a nearly black frame.
    model = a if a.std() > b.std() else b
    a, b = ((one - one.mean()) * (model.std() / one.std()) + model.mean() for one in (a, b))
    return min(found, _unlike(a, b))


def is_fade(first: NDArray[np.float32], middle: NDArray[np.float32], last: NDArray[np.float32]) -> bool:
    """Whether three consecutive frames (planes, height, width; in [0, 1]) are of a fade to one colour, or from one.

    The middle one is then a mixture of the others, of which one is of that colour where anything changes.
    """
    start, between, end = (_cells(frame) for frame in (first, middle, last))
    way, steps = end - start, [float(np.abs(step).mean()) for step in (between - start, end - between)]
    change = np.abs(way)
    if max(steps) >= MAX_STEP * change.mean():
        return False
    least = min(_contrast(start, change), _contrast(end, change))
    if least > max(_contrast(between, change), FAINT) or least > MAX_CONTRAST * np.average(change, weights=change):
        return False
    return _unlike(between, start + way * (steps[0] / sum(steps))) < MAX_RESIDUAL * min(steps)


def _contrast(cells: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """How far from one colour cells are, on average."""
    colour = np.average(cells, weights=weights)
    return float(np.average(np.abs(cells - colour), weights=weights))


def _cells(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean brightness in a lattice of at most CELLS a side."""
    height, width = frame.shape[1:]
    step = [max(1, side // (CELLS * SAMPLES)) for side in (height, width)]
    gray = np.nan_to_num(frame[:, :: step[0], :: step[1]]).clip(0, 1).mean(0)
    edges = [np.linspace(0, side, min(CELLS, side) + 1).astype(int) for side in gray.shape]
    sums = np.add.reduceat(np.add.reduceat(gray, edges[0][:-1], 0), edges[1][:-1], 1)
    means: NDArray[np.float32] = sums / np.outer(np.diff(edges[0]), np.diff(edges[1]))
    return means


def _unlike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """How much of either is missing in the other."""
    return max(_missing(a, b), _missing(b, a))


def _missing(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean difference of the cells of `a` from the most similar ones near the same place in `b`."""
    height, width = a.shape
    around = np.pad(b, REACH, mode="edge")
    span = range(2 * REACH + 1)
    nearest = np.full_like(a, np.inf)
    for y, x in itertools.product(span, span):
        np.minimum(nearest, np.abs(a - around[y : y + height, x : x + width]), out=nearest)
    return float(nearest.mean())
