"""Which source frames, and which time between them, an output frame shows: exact integers and fractions.

Positions count source frames: position 3 is source frame 3, 3.25 is a quarter of the way from frame 3 to frame 4.
A frame lasts from its own position to the next one; the last one, too, lasts one whole frame, during which there is
nothing to move towards, so the picture holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """What one output frame shows: `t` of the way (0 ≤ t < 1) from source frame `left` to source frame `right`.

    Attributes:
        left: The source frame at or before the output frame's position.
        right: The one after it; equal to `left`, with `t` = 0, where the clip has no more.
        t: Exact time between the two.
        on_source: The position is that of a source frame.
        first: No earlier neighbour in the output shares this `left`.
        last: No later neighbour in the output shares this `left`.
    """

    left: int
    right: int
    t: Fraction
    on_source: bool
    first: bool
    last: bool


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

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:
        """Return how long output frame `n` lasts, in seconds.

        A clip of variable rate needs the durations of the source frames `left` and `right` of that frame's place; the
        answer is None where they are not known.
        """


@dataclass(frozen=True, slots=True)
class Resampled:
    """`ratio` output frames for every source frame, evenly spaced, from the first source frame on.

    There are floor(frames · ratio) of them, but at least one. Their durations always add up to those of the source:
    each lasts until the position of the next, and the last one until the source's end, which makes it longer than the
    others (by less than one of them) where frames · ratio is not a whole number. In a clip of variable rate a position
    between two frames lies at the proportional time between theirs.

    Attributes:
        frames: Length of the source, at least 1.
        ratio: Output frames per source frame, greater than 0; a clip of variable rate needs at least 1.
        source_fps: Frames per second of the source; None for a variable rate.
    """

    frames: int
    ratio: Fraction
    source_fps: Fraction | None

    @property
    def length(self) -> int:
        """Number of output frames."""
        return max(1, self.frames * self.ratio.numerator // self.ratio.denominator)

    @property
    def fps(self) -> Fraction | None:
        """Frames per second of the output."""
        return None if self.source_fps is None else self.source_fps * self.ratio

    def place(self, n: int) -> Place:
        """Return what output frame `n` shows."""
        step, unit = self.ratio.denominator, self.ratio.numerator
        left, rest = divmod(n * step, unit)
        at_end = left >= self.frames - 1
        return Place(
            left=left,
            right=left if at_end else left + 1,
            t=Fraction(0) if at_end else Fraction(rest, unit),
            on_source=rest == 0,
            first=n == 0 or (n - 1) * step // unit != left,
            last=n == self.length - 1 or (n + 1) * step // unit != left,
        )

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:
        """Return how long output frame `n` lasts, in seconds."""
        begin = n / self.ratio
        end = (n + 1) / self.ratio if n < self.length - 1 else Fraction(self.frames)
        if self.source_fps is not None:
            return (end - begin) / self.source_fps
        middle = Fraction(begin.numerator // begin.denominator + 1)
        if left is None or (end > middle and right is None):
            return None
        lasts = (min(end, middle) - begin) * left
        if end > middle and right is not None:
            lasts += (end - middle) * right
        return lasts


class Moments:
    """Any positions in any order, one output frame each; every frame lasts as long as the source's."""

    def __init__(self, times: Sequence[float], frames: int, source_fps: Fraction | None) -> None:
        """Take `times` as positions, 0 to `frames` - 1; raise ValueError with the first that is not."""
        for time in times:
            if not 0 <= time <= frames - 1:  # also refuses NaN
                raise ValueError(time)
        self._times = tuple(times)
        self._frames = frames
        self._fps = source_fps

    @property
    def length(self) -> int:
        """Number of output frames."""
        return len(self._times)

    @property
    def fps(self) -> Fraction | None:
        """Frames per second: the source's."""
        return self._fps

    def place(self, n: int) -> Place:
        """Return what output frame `n` shows."""
        time = self._times[n]
        left = int(time)
        before = self._times[n - 1 : n]
        after = self._times[n + 1 : n + 2]
        return Place(
            left=left,
            right=min(left + 1, self._frames - 1),
            t=Fraction(time) - left,
            on_source=time == left,
            first=all(int(neighbour) != left for neighbour in before),
            last=all(int(neighbour) != left for neighbour in after),
        )

    def duration(self, n: int, left: Fraction | None = None, right: Fraction | None = None) -> Fraction | None:  # noqa: ARG002
        """Return how long output frame `n` lasts, in seconds: as long as its left source frame."""
        return left if self._fps is None else 1 / self._fps
