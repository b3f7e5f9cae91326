from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from time import perf_counter

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from vs_videoinr.plugin.frame_plan import FramePlan, plan_frame
from vs_videoinr.plugin.scene_cuts import Mode
from vs_videoinr.plugin.timecodes import Timecodes
from vs_videoinr.plugin.timeline import ConstantRate, ExplicitTimes, Resampled, Timeline, near_frame, rate_ratio

NTSC = Fraction(24000, 1001)

lengths = st.integers(1, 2**31 - 1)
rates = st.builds(Fraction, st.integers(1, 10**6), st.integers(1, 10**6))
ratios = st.one_of(
    st.builds(Fraction, st.integers(1, 1000), st.integers(1, 1000)),
    st.builds(Fraction, st.integers(1, 2**40), st.integers(1, 2**40)),
    st.just(240 / NTSC),
)


def frames_of(timeline: Resampled, most: int = 60) -> list[int]:
    """The first, the last and a few output frames between them."""
    length = timeline.length
    if length <= most:
        return list(range(length))
    return [*range(most // 3), *range(length // 2, length // 2 + most // 3), *range(length - most // 3, length)]


@given(lengths, ratios, rates)
def test_length_and_rate_are_exact(frames: int, ratio: Fraction, fps: Fraction) -> None:
    timeline = Resampled(frames, ratio, fps)
    assert timeline.length == max(1, int(frames * ratio))
    assert timeline.fps == fps * ratio


@given(lengths, ratios)
@example(2**31 - 1, 240 / NTSC)
def test_places_are_exact_and_in_the_clip(frames: int, ratio: Fraction) -> None:
    timeline = Resampled(frames, ratio, NTSC)
    for n in frames_of(timeline):
        place = timeline.place(n)
        position = n / ratio
        assert 0 <= place.left <= place.right <= frames - 1
        assert 0 <= place.t < 1
        assert place.left <= position < place.left + 1
        assert place.on_source == (position == place.left)
        if place.left < frames - 1:
            assert place.right == place.left + 1
            assert place.left + place.t == position
        else:  # the tail holds the last frame
            assert place.right == place.left
            assert place.t == 0


def plans_of(timeline: Timeline, cuts: Mode = Mode.HOLD) -> list[FramePlan]:
    return [plan_frame(n, timeline, cuts, None) for n in range(timeline.length)]


@given(lengths, ratios)
def test_every_interval_has_one_first_and_one_last_frame(frames: int, ratio: Fraction) -> None:
    timeline = Resampled(frames, ratio, None)
    chosen = frames_of(timeline)
    plans = {n: plan_frame(n, timeline, Mode.HOLD, None) for n in chosen}
    for n, after in pairwise(chosen):
        if after == n + 1:
            changes = plans[n].left != plans[after].left
            assert plans[n].keeps_end == plans[after].keeps_start == changes
    assert plans[0].keeps_start
    assert plans[timeline.length - 1].keeps_end


@given(st.integers(1, 400), st.builds(Fraction, st.integers(1, 60), st.integers(1, 60)), rates)
def test_durations_of_a_constant_rate_add_up(frames: int, ratio: Fraction, fps: Fraction) -> None:
    timeline = Resampled(frames, ratio, fps)
    durations = [timeline.duration(n) for n in range(timeline.length)]
    assert sum(d for d in durations if d is not None) == frames / fps
    assert all(d == 1 / (fps * ratio) for d in durations[:-1])
    if frames * ratio >= 1:
        assert durations[-1] is not None
        assert 1 <= durations[-1] * fps * ratio < 2


@given(
    st.lists(st.builds(Fraction, st.integers(1, 5000), st.integers(1, 90000)), min_size=1, max_size=60),
    st.builds(Fraction, st.integers(1, 60), st.integers(1, 60)).filter(lambda ratio: ratio >= 1),
)
def test_durations_of_a_variable_rate_add_up(source: list[Fraction], ratio: Fraction) -> None:
    timeline = Resampled(len(source), ratio, None)
    total = Fraction(0)
    for n in range(timeline.length):
        place = timeline.place(n)
        assert total == sum(source[: place.left]) + (n / ratio - place.left) * source[place.left]
        duration = timeline.duration(n, source[place.left], source[place.right])
        assert duration is not None
        assert duration > 0
        total += duration
    assert total == sum(source)


def test_whole_factors_divide_a_variable_rate_exactly() -> None:
    timeline = Resampled(3, Fraction(4), None)
    assert [timeline.duration(n, Fraction(1, 10 + n // 4), Fraction(1, 7)) for n in range(12)] == [
        Fraction(1, 4 * (10 + n // 4)) for n in range(12)
    ]


def test_a_variable_rate_without_durations_has_none() -> None:
    timeline = Resampled(3, Fraction(5, 2), None)
    assert timeline.fps is None
    assert timeline.duration(0) is None
    assert timeline.duration(0, Fraction(1, 24), None) == Fraction(1, 60)
    assert timeline.duration(2, Fraction(1, 24), None) is None  # reaches into a frame of which nothing is known


def test_23_976_to_240() -> None:
    timeline = Resampled(24000, 240 / NTSC, NTSC)
    assert timeline.length == 240240
    assert timeline.fps == 240
    whole = [n for n in range(timeline.length) if timeline.place(n).on_source]
    assert whole == list(range(0, 240240, 1001))
    assert [timeline.place(n).left for n in whole] == list(range(0, 24000, 100))


def test_twice_the_rate() -> None:
    timeline = Resampled(2, Fraction(2), Fraction(24))
    places = [timeline.place(n) for n in range(timeline.length)]
    half = Fraction(1, 2)
    assert [(p.left, p.right, p.t, p.on_source) for p in places] == [
        (0, 1, 0, True),
        (0, 1, half, False),
        (1, 1, 0, True),
        (1, 1, 0, False),  # after the last frame there is nothing to move towards
    ]
    assert [(p.keeps_start, p.keeps_end) for p in plans_of(timeline)] == [(True, False), (False, True)] * 2
    switched = plans_of(timeline, Mode.SWITCH)
    assert [p.shows_right for p in switched] == [False, True, False, False]
    # the second source frame, shown at a cut half a frame before its time, begins its scene there
    assert [(p.keeps_start, p.keeps_right_start) for p in switched[1:3]] == [(False, True), (False, True)]


def test_where_a_switch_shows_the_next_scene() -> None:
    plans = plans_of(Resampled(3, Fraction(4), Fraction(24)), Mode.SWITCH)[:8]
    assert [n for n, p in enumerate(plans) if p.shows_right] == [2, 3, 6, 7]
    assert [n for n, p in enumerate(plans) if p.shows_right and p.keeps_right_start] == [2, 6]
    assert [n for n, p in enumerate(plans) if not p.shows_right and p.keeps_end] == [1, 5]
    assert [n for n, p in enumerate(plans) if p.keeps_start] == [0]


@given(st.integers(1, 2**31 - 1), st.data())
def test_moments_are_where_they_say(frames: int, data: st.DataObject) -> None:
    times = data.draw(st.lists(st.floats(0, frames - 1), min_size=1, max_size=20))
    timeline = ExplicitTimes([Fraction(time) for time in times], frames, NTSC)
    assert timeline.length == len(times)
    for n, time in enumerate(times):
        place = timeline.place(n)
        assert place.left + place.t == Fraction(time)
        assert 0 <= place.t < 1
        assert place.right == min(place.left + 1, frames - 1)
        assert place.on_source == time.is_integer()
        assert timeline.duration(n) == 1 / NTSC


def test_moments_mark_the_ends_of_each_interval() -> None:
    timeline = ExplicitTimes([Fraction(n, 4) for n in (0, 2, 4, 6, 1)], 3, None)
    plans = plans_of(timeline)
    assert [plan.keeps_start for plan in plans] == [True, False, True, False, True]
    assert [plan.keeps_end for plan in plans] == [False, True, False, True, True]
    assert timeline.duration(2, Fraction(1, 30)) == Fraction(1, 30)


def laid(durations: list[int], fps: Fraction) -> ConstantRate:
    """A constant rate over frames that last so many milliseconds each."""
    return ConstantRate(Timecodes(np.cumsum([0, *durations], dtype=np.int64) * 10**6), fps)


def test_a_rate_laid_over_a_variable_one() -> None:
    timeline = laid([40, 40, 20, 20, 80], Fraction(100))
    assert timeline.length == 20
    expected = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4]
    places = [timeline.place(n) for n in range(20)]
    assert [p.left + p.t for p in places[:13]] == expected
    assert [(p.left, p.right, float(p.t)) for p in places[13:]] == [(4, 4, 0.0)] * 7
    assert [n for n, p in enumerate(places) if p.on_source] == [0, 4, 8, 10, 12]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=60), st.fractions(Fraction(1, 3), 300, max_denominator=1001))
def test_laid_frames_last_as_long_as_the_source(durations: list[int], fps: Fraction) -> None:
    timeline = laid(durations, fps)
    lasting = [timeline.duration(n) or Fraction(0) for n in range(timeline.length)]
    assert sum(lasting, Fraction(0)) == Fraction(sum(durations), 1000)
    assert all(one == 1 / fps for one in lasting[:-1])
    assert all(0 <= timeline.place(n).t < 1 for n in range(timeline.length))
    for n in range(0, timeline.length, 7):  # true time, but for what milliseconds cannot say
        place = timeline.place(n)
        if place.right > place.left:
            begin = sum(durations[: place.left])
            shown = begin + place.t * durations[place.left]
            assert abs(shown - 1000 * n / fps) <= Fraction(1, 2)


def test_times_that_matroska_rounded_are_those_of_the_frames() -> None:
    exact = [n * 1000 / NTSC for n in range(1001)]
    starts = np.array([round(time) for time in exact], np.int64) * 10**6
    timeline = ConstantRate(Timecodes(starts), NTSC)
    assert [timeline.place(n).left for n in range(1000)] == list(range(1000))
    assert all(timeline.place(n).on_source for n in range(1000))


@given(st.integers(1, 2**31 - 1), st.data())
def test_a_time_next_to_a_source_frame_is_that_frames(frames: int, data: st.DataObject) -> None:
    frame = data.draw(st.integers(0, frames - 1))
    off = data.draw(st.fractions(Fraction(-3, 10**6), Fraction(3, 10**6)))
    near = abs(off) <= Fraction(1, 10**6)
    assert near_frame(frame + off, frames) == (frame if near else frame + off)
    assert near_frame(Fraction(frames) - Fraction(1, 10**9), frames) != frames  # where there is none


#: Frames per second as they are, and as they are written with three decimals.
NOMINAL = [(k * Fraction(1000, 1001), round(k * Fraction(1000, 1001), 3)) for k in (15, 24, 30, 48, 60, 120)]


def test_rates_that_agree_are_one_rate() -> None:
    for exact, rounded in NOMINAL:
        for factor in (Fraction(1), Fraction(2), Fraction(5), Fraction(5, 2), Fraction(1, 2), Fraction(1, 3)):
            assert rate_ratio(factor * exact, rounded) == factor
            assert rate_ratio(factor * rounded, exact) == factor
    assert rate_ratio(Fraction(25001, 1000), Fraction(25)) == Fraction(25001, 25000)  # 40 ppm are none


def test_rates_of_video_are_taken_as_they_are() -> None:
    rates = [Fraction(k * step) for k in (10, 12, 24, 25, 30, 48, 50, 60, 90, 100, 120, 144, 240, 480, 1000)
             for step in (1, Fraction(1000, 1001))]  # fmt: skip
    assert all(rate_ratio(fps, source) == fps / source for fps in rates for source in rates)


@given(st.integers(1, 400), st.sampled_from(NOMINAL), st.sampled_from([Fraction(k, 2) for k in (2, 4, 5, 10)]))
def test_durations_of_agreeing_rates_add_up(frames: int, rate: tuple[Fraction, Fraction], factor: Fraction) -> None:
    exact, rounded = rate
    timeline = Resampled(frames, rate_ratio(factor * exact, rounded), rounded, factor * exact)
    assert timeline.fps == factor * exact
    durations = [timeline.duration(n) or Fraction(0) for n in range(timeline.length)]
    assert all(duration == 1 / (factor * exact) for duration in durations[:-1])
    assert sum(durations) == frames / rounded
    places = [timeline.place(n) for n in range(timeline.length)]
    assert all(place.left + place.t == min(n / factor, frames - 1) for n, place in enumerate(places))


def test_no_frame_is_without_duration_in_a_day_of_agreeing_rates() -> None:
    for rounded in (Fraction(59940599, 10**6), Fraction(59940, 1000), Fraction(599400, 10001)):
        timeline = Resampled(5_000_000, Fraction(1), rounded, Fraction(60000, 1001))
        last = timeline.duration(timeline.length - 1)
        assert last is not None
        assert last > 0


def test_short_frames_have_something_between_them() -> None:
    for microseconds, fps in ((100, 40_000), (1000, 4000), (500, 16_000)):
        step = Fraction(1_000_000, fps)
        timeline = ConstantRate(Timecodes(np.arange(13, dtype=np.int64) * microseconds * 1000), Fraction(fps))
        places = [timeline.place(n) for n in range(timeline.length)]
        exact = [n * step / microseconds for n in range(int(12 * microseconds / step))]
        assert [place.left + place.t for place in places if place.right > place.left] == [t for t in exact if t < 11]


def test_a_fine_rate_shows_a_source_frame_once() -> None:
    """Whole milliseconds of 60 fps at a rate of which several frames lie within their rounding."""
    starts = np.array([round(n * 1000 / 60) for n in range(60)], np.int64) * 10**6
    timeline = ConstantRate(Timecodes(starts), Fraction(6000))
    places = [timeline.place(n) for n in range(timeline.length)]
    shown = [place.left for place in places if place.on_source and place.right > place.left]
    assert shown == sorted(set(shown))
    assert shown[0] == 0


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=40),
    st.sampled_from([Fraction(24), Fraction(50), Fraction(60000, 1001), Fraction(1000)]),
    st.fractions(Fraction(1, 5), 5, max_denominator=7),
)
def test_all_times_between_frames_are_known_beforehand(lengths: list[int], fps: Fraction, ratio: Fraction) -> None:
    starts = np.cumsum([0, *lengths], dtype=np.int64) * 10**6
    positions = [Fraction(n, 3) for n in range(len(lengths))]
    for timeline in (
        ConstantRate(Timecodes(starts), fps),
        Resampled(len(lengths), ratio, fps),
        ExplicitTimes(positions, len(lengths), fps),
    ):
        known = np.array(list(timeline.times()))
        shown = np.array([float(timeline.place(n).t) for n in range(timeline.length)])
        apart = np.abs(known[:, None] - shown)
        apart = np.minimum(apart, 1 - apart)  # a billionth before a frame is as good as at it
        assert apart.min(0).max() < 1e-8
        assert apart.min(1).max() < 1e-8


def test_the_times_of_a_film_are_known_soon() -> None:
    starts = np.arange(180_001, dtype=np.int64) * 40 * 10**6  # two hours at 25 fps
    begin = perf_counter()
    assert set(ConstantRate(Timecodes(starts), Fraction(50)).times()) == {0, 0.5}
    assert perf_counter() - begin < 2
    assert next(iter(Resampled(2**31, Fraction(10**9, 10**8 + 1), Fraction(24)).times())) == 0
