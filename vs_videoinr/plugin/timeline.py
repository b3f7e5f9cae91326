"""Which source frames, and which time between them, an output frame shows: exact integers and fractions.

Positions count source frames: position 3 is source frame 3, 3.25 is a quarter of the way from frame 3 to frame 4.
A frame lasts from its own position to the next one; the last one, too, lasts one whole frame, during which there is
nothing to move towards, so the picture holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

from vs_videoinr.plugin.timecodes import Timecodes

#: Source frames. A time so close to a source frame is that frame's: what floats make of 0.1 · 10, or of k / 24, is.
ON_FRAME = Fraction(1, 10**6)

#: Two rates that differ by a smaller share are one rate: 29.97 is written as 2997/100 and as 30000/1001.
SAME_RATE = Fraction(1, 10**5)

#: Up to this product of its numerator and denominator a ratio of rates is taken for the one that was meant.
_SIMPLE = 100


def near_frame(position: Fraction, frames: int) -> Fraction:
    """Return `position`, or that of the source frame, out of so many `frames`, that it is within ON_FRAME of."""
    nearest = round(position)
    return Fraction(nearest) if 0 <= nearest < frames and abs(position - nearest) <= ON_FRAME else position


def rate_ratio(fps: Fraction, source_fps: Fraction) -> Fraction:
    """Return the frames at rate `fps` for each at `source_fps`: a simple ratio where the rates agree with one.

    To SAME_RATE, 48000/1001 is twice 2997/125. Taken literally, almost every frame would lie a millionth of a frame
    before its source frame, and show the one before that at a cut.
    """
    ratio = fps / source_fps
    for denominator in range(1, _SIMPLE + 1):
        numerator = round(ratio * denominator)
        simple = Fraction(numerator, denominator)
        if numerator * denominator <= _SIMPLE and abs(simple - ratio) <= SAME_RATE * ratio:
            return simple
    return ratio


class Neighbour(NamedTuple):
    """What an adjacent output frame shows: its left source frame, and whether it is nearer to the right one."""

    left: int
    late: bool


@dataclass(frozen=True, slots=True)
class Place:
    """What one output frame shows: `t` of the way (0 ≤ t < 1) from source frame `left` to source frame `right`.

    Attributes:
        left: The source frame at or before the output frame's position.
        right: The one after it; equal to `left`, with `t` = 0, where the clip has no more.
        t: Exact time between the two.
        on_source: The position is that of a source frame.
        before: The output frame before this one; None for the first.
        after: The output frame after this one; None for the last.
    """

    left: int
    right: int
    t: Fraction
    on_source: bool
    before: Neighbour | None
    after: Neighbour | None


class Timeline(Protocol):
    """From output frames to places in the source clip; costs the same for clips of any length."""

    @property
    def length(self) -> int:
        """Number of output frames, at least one."""

    @property
    def fps(self) -> Fraction | None:
        """Frames per second of the output; None for a variable rate."""

    def place(self, n: int) -> Place:
        """Return what output frame `n` shows."""

    def times(self) -> Iterable[float]:
        """Return the times between source frames (`Place.t`) that occur, each one at least once, nearly exact."""

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:
        """Return how long output frame `n` lasts, in seconds.

        A clip of variable rate needs the durations of the source frames `left` and `right` of that frame's place; the
        answer is None where they are not known.
        """


@dataclass(frozen=True, slots=True)
class Resampled:
    """`ratio` output frames for every source frame, evenly spaced, from the first source frame on.

    There are floor(frames · ratio) of them, but at least one. Their durations add up to those of the source: each lasts
    until the position of the next, and the last one until the source's end, which makes it longer than the others (by
    less than one of them) where frames · ratio is not a whole number. In a clip of variable rate a position between two
    frames lies at the proportional time between theirs.

    Attributes:
        frames: Length of the source, at least 1.
        ratio: Output frames per source frame, greater than 0; a clip of variable rate needs at least 1.
        source_fps: Frames per second of the source; None for a variable rate.
        output_fps: Frames per second of the output, where that is `ratio` times the source's only to SAME_RATE. The
            last frame makes up for the difference, as long as that leaves any time for it.
    """

    frames: int
    ratio: Fraction
    source_fps: Fraction | None
    output_fps: Fraction | None = None

    @property
    def length(self) -> int:
        """Number of output frames."""
        return max(1, self.frames * self.ratio.numerator // self.ratio.denominator)

    @property
    def fps(self) -> Fraction | None:
        """Frames per second of the output."""
        if self.output_fps is not None:
            return self.output_fps
        return None if self.source_fps is None else self.source_fps * self.ratio

    def place(self, n: int) -> Place:
        """Return what output frame `n` shows."""
        return _place(n, self.length, self.frames, lambda k: k / self.ratio)

    def times(self) -> Iterable[float]:
        """Return the times between source frames that occur, which repeat after so many frames as the ratio says."""
        return (float(self.place(n).t) for n in range(min(self.length, self.ratio.numerator)))

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:
        """Return how long output frame `n` lasts, in seconds."""
        if self.source_fps is not None and self.fps is not None:
            left_over = self.frames / self.source_fps - n / self.fps
            return left_over if n == self.length - 1 and left_over > 0 else 1 / self.fps
        begin = n / self.ratio
        end = (n + 1) / self.ratio if n < self.length - 1 else Fraction(self.frames)
        middle = Fraction(begin.numerator // begin.denominator + 1)
        if left is None or (end > middle and right is None):
            return None
        lasts = (min(end, middle) - begin) * left
        if end > middle and right is not None:
            lasts += (end - middle) * right
        return lasts


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """A constant rate laid over a clip of variable rate, whose frames' true times are known.

    There are floor(seconds · fps) frames, but at least one; the last one lasts until the source's end.

    Attributes:
        timecodes: When the source's frames begin.
        fps: Frames per second.
    """

    timecodes: Timecodes
    fps: Fraction

    @property
    def length(self) -> int:
        """Number of output frames."""
        return max(1, int(self.timecodes.total * self.fps))

    def place(self, n: int) -> Place:
        """Return what output frame `n` shows."""
        position = self.timecodes.position
        return _place(n, self.length, self.timecodes.frames, lambda k: position(k / self.fps, self._tolerance))

    def times(self) -> Iterable[float]:
        """Return the times between source frames that occur."""
        return self.timecodes.times_between(self.fps, self.length, self._tolerance)

    @property
    def _tolerance(self) -> Fraction:
        """Seconds: of several frames near a source frame only the nearest is taken for it."""
        return 1 / self.fps / 2

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:  # noqa: ARG002
        """Return how long output frame `n` lasts, in seconds."""
        return 1 / self.fps if n < self.length - 1 else self.timecodes.total - n / self.fps


class ExplicitTimes:
    """Any positions in any order, one output frame each; every frame lasts as long as the source's."""

    def __init__(self, positions: Sequence[Fraction], frames: int, source_fps: Fraction | None) -> None:
        """Take `positions`, from 0 to below `frames`, in a source of so many frames per second (None: variable)."""
        self._positions = tuple(positions)
        self._frames = frames
        self._fps = source_fps

    @property
    def length(self) -> int:
        """Number of output frames."""
        return len(self._positions)

    @property
    def fps(self) -> Fraction | None:
        """Frames per second: the source's."""
        return self._fps

    def place(self, n: int) -> Place:
        """Return what output frame `n` shows."""
        return _place(n, self.length, self._frames, self._positions.__getitem__)

    def times(self) -> Iterable[float]:
        """Return the times between source frames that are asked for."""
        return (float(self.place(n).t) for n in range(self.length))

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:  # noqa: ARG002
        """Return how long output frame `n` lasts, in seconds: as long as its left source frame."""
        return left if self._fps is None else 1 / self._fps


def _place(n: int, length: int, frames: int, position: Callable[[int], Fraction]) -> Place:
    """The place of output frame `n` of `length`, where `position` tells of each where in the source it is."""

    def split(k: int) -> tuple[int, Fraction]:
        whole = position(k)
        left = whole.numerator // whole.denominator
        return left, whole - left

    def neighbour(k: int) -> Neighbour | None:
        if not 0 <= k < length:
            return None
        left, t = split(k)
        return Neighbour(left, 2 * t >= 1)

    left, t = split(n)
    at_end = left >= frames - 1
    return Place(
        left=left,
        right=left if at_end else left + 1,
        t=Fraction(0) if at_end else t,
        on_source=t == 0,
        before=neighbour(n - 1),
        after=neighbour(n + 1),
    )
