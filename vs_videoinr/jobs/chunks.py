"""Where a script's output is cut into chunks.

A frame between two source frames costs its pair an encoding, which its neighbours in the output share. So chunks begin
where pairs do (`_VideoINRPair` changes), and at cuts where the script marks them, because nothing is looked at across a
cut. Where frames say neither, one place is as good as another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

#: Frames behind the wanted length of a chunk among which a pair's beginning is looked for.
PAIR_SEARCH = 256

#: Share of a chunk's length behind its wanted end in which a cut is looked for.
CUT_SEARCH = Fraction(1, 4)


@dataclass(frozen=True)
class Marks:
    """What a frame of the output says of itself.

    Attributes:
        pair: The source frame that its pair begins with; None where it is not from this plugin.
        ends_scene: A cut follows it; None where the script does not say.
        begins_scene: It comes after a cut.
        duration: Seconds that it lasts; None where it does not say.
    """

    pair: int | None
    ends_scene: bool | None
    begins_scene: bool
    duration: Fraction | None


class Chunk(NamedTuple):
    """A range of output frames.

    Attributes:
        first: The first frame.
        last: The last frame, inclusive as vspipe has it.
        last_duration: Seconds that the last frame lasts, in a clip of variable rate; else None.
    """

    first: int
    last: int
    last_duration: Fraction | None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1

    @property
    def name(self) -> str:
        """What its files are called: names sort as the chunks do."""
        return f"{self.first:09}-{self.last:09}"


def cut(length: int, wanted: int, variable: bool, marks: Callable[[int], Marks]) -> Iterator[Chunk]:
    """Yield the chunks of an output of `length` frames, in order and without gaps.

    Args:
        length: Frames of the output.
        wanted: Frames of a chunk; it has up to a quarter more where it ends at a cut, and less than that many more
            than a pair has where it ends with a pair.
        variable: Whether the rate varies, so that the duration of each chunk's last frame is needed.
        marks: What a frame says of itself; asked for few frames, mostly in rising order.
    """
    first = 0
    while first < length:
        end = _end(first, length, wanted, marks)
        yield Chunk(first, end - 1, marks(end - 1).duration if variable else None)
        first = end


def _end(first: int, length: int, wanted: int, marks: Callable[[int], Marks]) -> int:
    """The frame that the chunk after the one from `first` on begins with."""
    end = first + wanted
    if end >= length:
        return length
    pair_end = _pair_end(end, length, marks)
    if pair_end == length:
        return length
    if marks(pair_end - 1).ends_scene is None and not marks(pair_end).begins_scene:
        return pair_end
    for n in range(pair_end, min(end + int(wanted * CUT_SEARCH) + 1, length)):
        if marks(n - 1).ends_scene or marks(n).begins_scene:
            return n
    return pair_end


def _pair_end(end: int, length: int, marks: Callable[[int], Marks]) -> int:
    """The first frame from `end` on that is of another pair than the one before it; `end` where that is far away."""
    if marks(end).pair is None:
        return end
    limit = min(end + PAIR_SEARCH, length)
    found = next((n for n in range(end, limit) if marks(n).pair != marks(n - 1).pair), limit)
    return found if found < limit or limit == length else end
