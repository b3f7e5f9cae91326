"""Where a script's output is cut."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from vs_videoinr.jobs.chunks import Chunk, Marks, cut


class Clip:
    """Frames as a script makes them: `ratio` of them for each source frame, and cuts behind some source frames."""

    def __init__(self, ratio: Fraction | None, cuts: set[int] | None = None) -> None:
        self._ratio, self._cuts = ratio, cuts
        self.asked: set[int] = set()

    def pair(self, n: int) -> int:
        return n if self._ratio is None else int(n / self._ratio)

    def __call__(self, n: int) -> Marks:
        self.asked.add(n)
        pair = self.pair(n)
        ends = None
        if self._cuts is not None and self.pair(n + 1) != pair:
            ends = pair in self._cuts
        return Marks(None if self._ratio is None else pair, ends, False, Fraction(n + 1, 1000))


@given(
    st.integers(1, 400),
    st.integers(1, 90),
    st.none() | st.fractions(Fraction(1, 3), 12, max_denominator=20),
    st.none() | st.sets(st.integers(0, 100)),
)
def test_chunks_hold_every_frame_once_and_split_no_pair(
    length: int, wanted: int, ratio: Fraction | None, cuts: set[int] | None
) -> None:
    clip = Clip(ratio, cuts)
    chunks = [*cut(length, wanted, False, clip)]
    assert [n for chunk in chunks for n in range(chunk.first, chunk.last + 1)] == [*range(length)]
    for before, after in itertools.pairwise(chunks):
        assert clip.pair(before.last) != clip.pair(after.first)
        assert wanted <= before.frames < max(wanted + 13, wanted * 5 / 4 + 1)


def test_chunks_end_at_cuts_where_the_script_marks_them() -> None:
    clip = Clip(Fraction(5), {29, 41})
    assert [chunk.last + 1 for chunk in cut(400, 120, False, clip)] == [150, 270, 390, 400]
    assert [chunk.last + 1 for chunk in cut(400, 180, False, clip)] == [210, 390, 400]


def test_few_frames_are_looked_at() -> None:
    clip = Clip(Fraction(5))
    assert len([*cut(10_000, 1001, False, clip)]) == 10
    assert len(clip.asked) < 10 * 8


def test_any_place_will_do_where_frames_say_nothing() -> None:
    clip = Clip(None)
    assert [*cut(10, 4, False, clip)] == [Chunk(0, 3, None), Chunk(4, 7, None), Chunk(8, 9, None)]


def test_a_variable_rate_needs_the_last_frames_duration() -> None:
    assert [chunk.last_duration for chunk in cut(10, 4, True, Clip(None))] == [
        Fraction(4, 1000),
        Fraction(8, 1000),
        Fraction(10, 1000),
    ]
