"""Where one scene ends and the next begins: a detector for clips that nobody has marked.

Both frames are reduced to about a thousand cells. Content that moved is found again near where it was; where much of a
frame is found nowhere near in the other one, there is a cut. So motion, also of the whole picture, counts for little;
and so does a fade, for frames are compared as they are and with the same brightness and contrast. The last step of a
fade has no contrast to compare: only a third frame tells it from a cut to black or white (`is_fade`). Where frames are
repeated, as in film at a higher rate, the third one comes after the repeats.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence

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
MAX_REPEATS = 5  # of a frame in a row, behind which a third one is looked for
REPEAT_DIFFERENCE = 0.05  # between a frame and its repeat, as a share of that between the pair


class Mode(enum.IntEnum):
    """What is shown between the frames on both sides of a cut, as the native side numbers it (native/videoinr.h)."""

    IGNORE = 0  # both blended
    HOLD = 1  # the one before the cut
    SWITCH = 2  # the one before it, and from half way on the one after it


class Verdict(enum.IntEnum):
    """What is known of a pair of frames, as the native side numbers it (native/videoinr.h)."""

    NO_CUT = 0
    CUT = 1
    UNDECIDED = 2  # it is a cut, unless frames farther away tell otherwise


#: Mean brightness in a lattice of at most CELLS a side.
Cells = NDArray[np.float32]


def cells(frame: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> Cells:
    """Return what is compared of a frame's planes, (height, width) each, in [0, 1]."""
    height, width = frame[0].shape
    step = [max(1, side // (CELLS * SAMPLES)) for side in (height, width)]
    pixels = np.stack([plane[:: step[0], :: step[1]] for plane in frame])
    gray = np.nan_to_num(pixels).clip(0, 1).mean(0)
    edges = [np.linspace(0, side, min(CELLS, side) + 1).astype(int) for side in gray.shape]
    sums = np.add.reduceat(np.add.reduceat(gray, edges[0][:-1], 0), edges[1][:-1], 1)
    means: Cells = sums / np.outer(np.diff(edges[0]), np.diff(edges[1]))
    return means


def judge(
    frame: Cells, following: Cells, before: Sequence[Cells], after: Sequence[Cells], threshold: float = THRESHOLD
) -> Verdict:
    """Return whether `following` begins another scene than `frame`.

    Args:
        frame: What `cells` makes of a frame.
        following: Of the frame after it.
        before: Of the frames before `frame`, from the last one backwards, as many as are known.
        after: Of the frames after `following`.
        threshold: Up to this `difference` there is no cut.
    """
    if difference(frame, following) <= threshold:
        return Verdict.NO_CUT
    first, last = _unrepeated(before, frame, following), _unrepeated(after, following, frame)
    if first is not None and is_fade(first, frame, following):
        return Verdict.NO_CUT
    if last is not None and is_fade(frame, following, last):
        return Verdict.NO_CUT
    more_would_tell = (first is None or last is None) and max(len(before), len(after)) < MAX_REPEATS
    return Verdict.UNDECIDED if more_would_tell else Verdict.CUT


def _unrepeated(frames: Sequence[Cells], repeated: Cells, other: Cells) -> Cells | None:
    """Return the first of `frames` that does not repeat `repeated`, which `other` is the pair of.

    All are compared with the same frame, so that slow motion adds up and is not taken for repeats.
    """
    least = REPEAT_DIFFERENCE * np.abs(repeated - other).mean()
    return next((frame for frame in frames if np.abs(frame - repeated).mean() > least), None)


def difference(a: Cells, b: Cells) -> float:
    """Return how much of either frame is not to be found in the other, 0 to 1."""
    found = _unlike(a, b)
    if min(a.std(), b.std()) < FAINT:
        return found
    # In the terms of the fainter one hardly anything would differ from a nearly black frame.
    model = a if a.std() > b.std() else b
    a, b = ((one - one.mean()) * (model.std() / one.std()) + model.mean() for one in (a, b))
    return min(found, _unlike(a, b))


def is_fade(start: Cells, between: Cells, end: Cells) -> bool:
    """Whether three consecutive frames are of a fade to one colour, or from one.

    The middle one is then a mixture of the others, of which one is of that colour where anything changes.
    """
    way, steps = end - start, [float(np.abs(step).mean()) for step in (between - start, end - between)]
    change = np.abs(way)
    if max(steps) >= MAX_STEP * change.mean():
        return False
    least = min(_contrast(start, change), _contrast(end, change))
    if least > max(_contrast(between, change), FAINT) or least > MAX_CONTRAST * np.average(change, weights=change):
        return False
    return _unlike(between, start + way * (steps[0] / sum(steps))) < MAX_RESIDUAL * min(steps)


def _contrast(shown: Cells, weights: Cells) -> float:
    """How far from one colour a frame is, on average."""
    colour = np.average(shown, weights=weights)
    return float(np.average(np.abs(shown - colour), weights=weights))


def _unlike(a: Cells, b: Cells) -> float:
    """How much of either is missing in the other."""
    return max(_missing(a, b), _missing(b, a))


def _missing(a: Cells, b: Cells) -> float:
    """Mean difference of the cells of `a` from the most similar ones near the same place in `b`."""
    height, width = a.shape
    around = np.pad(b, REACH, mode="edge")
    span = range(2 * REACH + 1)
    nearest = np.full_like(a, np.inf)
    for y, x in itertools.product(span, span):
        np.minimum(nearest, np.abs(a - around[y : y + height, x : x + width]), out=nearest)
    return float(nearest.mean())
