"""Cuts are never blended over, marked or not; what repeats stays as it is, at no cost."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

from tests.conftest import Clips
from tests.frames import duration, grainy, pixels_of, props_of, same
from vs_videoinr.plugin.scene_cuts import MAX_REPEATS, THRESHOLD, Cells, Verdict, cells, difference, is_fade, judge

pytestmark = pytest.mark.vpy("initial-core", "reloaded-core")

#: Last frames of scenes in cuts.mp4, found by eye. Frames 26 to 28 are a whip pan which nothing could interpolate.
LAST = {15, 23, 39}
WHIP = {26, 27, 28}


@pytest.fixture
def film(core: Any, request: pytest.FixtureRequest) -> Any:
    return core.bs.VideoSource(str(request.config.rootpath / "tests/data/cuts.mp4"), cachemode=0)


def cells_of(clip: Any) -> list[Cells]:
    return [cells(np.stack(planes)) for planes in pixels_of(clip)]


@pytest.mark.vpy("initial-core")
def test_the_cuts_of_a_film_are_found(film: Any) -> None:
    frames = cells_of(film.resize.Bicubic(format=vs.RGBS))
    values = [difference(a, b) for a, b in itertools.pairwise(frames)]
    found = {n for n, value in enumerate(values) if value > THRESHOLD}
    assert found >= LAST
    assert found <= LAST | WHIP


@pytest.mark.vpy("initial-core")
def test_a_fade_is_no_cut_but_a_cut_in_a_fade_is(film: Any) -> None:
    frames = [np.stack(planes) for planes in pixels_of(film.resize.Bicubic(format=vs.RGBS))]
    shown = set(range(16, 39)) - WHIP  # before and after there is nothing to be seen
    for n in shown:
        for first, last, colour in ((1, 0.75, 0), (0.5, 0.8, 0), (0.9, 0.6, 1)):
            a, b = (
                np.float32(colour) + (frames[n + k] - np.float32(colour)) * np.float32(share)
                for k, share in enumerate((first, last))
            )
            assert (difference(cells(a), cells(b)) > THRESHOLD) == (n in LAST)
            assert np.abs(a - b).mean() > THRESHOLD  # it is not that there was nothing to be noticed


#: How much of the picture is left at a time from 0 to 1.
EASES = {
    "evenly": lambda time: 1 - time,
    "smoothly": lambda time: (1 - time) ** 2 * (1 + 2 * time),
    "in light": lambda time: (1 - time) ** (1 / 2.2),
}


def faded(film: Any, steps: int, colour: list[float], ease: str = "evenly", **bars: int) -> Any:
    """Three frames of a scene in which something moves, `steps` of a fade to a colour, and three frames of that."""
    core = vs.core
    scene = film[29:39].resize.Bicubic(format=vs.RGBS)
    frames = []
    for n in range(steps + 5):
        share = EASES[ease](min(max((n - 2) / steps, 0), 1))
        frames.append(scene[n % 10].std.Expr([f"x {share} * {one * (1 - share)} +" for one in colour]))
    clip = core.std.Splice(frames)
    return clip.std.Crop(**bars).std.AddBorders(**bars) if bars else clip


def cuts_of(clip: Any) -> set[int]:
    """Last frames of scenes, as far as the detector can tell from all frames."""
    frames = cells_of(clip)
    found = set()
    for n, (one, other) in enumerate(itertools.pairwise(frames)):
        before, after = frames[max(n - MAX_REPEATS, 0) : n], frames[n + 2 : n + 2 + MAX_REPEATS]
        if judge(one, other, before[::-1], after) != Verdict.NO_CUT:
            found.add(n)
    return found


def repeated(clip: Any, counts: tuple[int, ...]) -> tuple[Any, list[int]]:
    """Every frame so many times as the next number of `counts` says, and where the last one of each comes."""
    times = [count for count, _ in zip(itertools.cycle(counts), range(len(clip)), strict=False)]
    return vs.core.std.Splice([clip[n] * count for n, count in enumerate(times)]), [
        end - 1 for end in itertools.accumulate(times)
    ]


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize("steps", [2, 3, 5, 8, 12, 24])
@pytest.mark.parametrize("colour", [[0.0] * 3, [1.0] * 3, [0.5] * 3, [0.6, 0.1, 0.2]])
def test_a_fade_to_one_colour_is_followed_to_its_end(film: Any, steps: int, colour: list[float]) -> None:
    """And from its beginning: the frame that shows nothing is no other scene than the faint one beside it."""
    for ease in EASES:
        clip = faded(film, steps, colour, ease)
        for shown in (clip, clip.std.Reverse()):
            assert cuts_of(shown) == set()
    for barred in (faded(film, steps, colour, top=12, bottom=12), faded(film, steps, colour, left=30, right=30)):
        assert cuts_of(barred) == set()
        assert cuts_of(grainy(barred, 0.01).std.Reverse()) == set()


@pytest.mark.vpy("initial-core")
def test_what_is_no_fade_stays_a_cut(core: Any, film: Any) -> None:
    scene, other = film[29:39].resize.Bicubic(format=vs.RGBS), film[16:23].resize.Bicubic(format=vs.RGBS)
    for colour in ([0.0] * 3, [1.0] * 3, [0.6] * 3):
        flat = core.std.BlankClip(scene, color=colour, length=4)
        assert cuts_of(scene + flat) == {9}
        assert cuts_of(flat + scene) == {3}
        assert cuts_of(scene[:5] + flat[0] + scene[5:]) == {4, 5}  # a flash
        assert cuts_of(scene[:5] + flat[0] + other) == {4, 5}
        fade = faded(film, 6, colour)[:9]
        assert cuts_of(fade + other) == {8}  # comes when nothing is left of the picture
        assert cuts_of(other + fade[::-1]) == {6}
        assert cuts_of(fade[:5] + other) == {4}  # or before
        assert cuts_of(other + fade[4::-1]) == {6}
        barred = [clip.std.Crop(top=12, bottom=12).std.AddBorders(top=12, bottom=12) for clip in (scene, flat)]
        assert cuts_of(barred[0] + barred[1]) == {9}


REPEATS = [(2,), (3,), (2, 3), (5,)]  # 12 fps in 24, 8 in 24, 24 in 60, 24 in 120


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize("counts", REPEATS)
def test_repeated_frames_have_the_same_cuts(film: Any, counts: tuple[int, ...]) -> None:
    """Fades are followed to their end and cuts are found, however often each frame is shown."""
    scene, other = film[29:39].resize.Bicubic(format=vs.RGBS), film[16:23].resize.Bicubic(format=vs.RGBS)
    for colour in ([0.0] * 3, [1.0] * 3):
        flat = vs.core.std.BlankClip(scene, color=colour, length=4)
        fade = faded(film, 4, colour)
        for clip, cuts in (
            (fade, set()),
            (fade[::-1], set()),
            (faded(film, 8, colour, "in light"), set()),
            (scene + flat, {9}),
            (flat + scene, {3}),
            (scene[:5] + flat[0] + scene[5:], {4, 5}),
            (fade[:7] + other, {6}),
            (fade[:4] + other, {3}),
            (other + scene, {6}),
            (scene[0] * 9 + flat, {8}),  # nothing moves before it
        ):
            shown, ends = repeated(clip, counts)
            assert cuts_of(shown) == {ends[n] for n in cuts}
            assert cuts_of(grainy(shown, 0.01)) == {ends[n] for n in cuts}


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (31, 200), (1080, 1920)])
def test_any_size_can_be_compared(shape: tuple[int, int]) -> None:
    black, gray, white, unknown = (cells(np.full((3, *shape), level, np.float32)) for level in (0, 0.5, 1, np.nan))
    assert difference(black, black) == 0
    assert difference(black, white) == pytest.approx(1)
    assert 0 <= difference(black, unknown) <= 1
    assert is_fade(black, gray, white)
    assert not is_fade(black, black, white)
    assert not is_fade(black, black, black)


def test_the_left_frame_is_held(film: Any, tiny: str) -> None:
    clip = film[22:26]
    source = pixels_of(clip)
    shown = pixels_of(clip.videoinr.Upscale(factor_num=4, model=tiny))
    assert [same(frame, source[1]) for frame in shown] == [4 <= n < 8 for n in range(16)]
    assert not any(same(shown[n], source[k]) for n in (1, 2, 3, 9, 10, 11) for k in range(4))
    larger = pixels_of(clip.videoinr.Upscale(scale=2, factor_num=4, model=tiny))
    assert [same(frame, larger[4]) for frame in larger] == [4 <= n < 8 for n in range(16)]


def test_the_cut_in_the_middle(film: Any, tiny: str) -> None:
    clip = film[22:26]
    source = pixels_of(clip)
    shown = pixels_of(clip.videoinr.Upscale(factor_num=4, sc_mode="switch", model=tiny))
    assert all(same(shown[n], source[1]) for n in (4, 5))
    assert all(same(shown[n], source[2]) for n in (6, 7, 8))
    larger = pixels_of(clip.videoinr.Upscale(scale=2, factor_num=4, sc_mode="switch", model=tiny))
    alone = [pixels_of(clip[n].videoinr.Upscale(scale=2, model=tiny))[0] for n in (1, 2)]
    assert [same(larger[n], alone[0]) for n in (4, 5, 6, 7)] == [True, True, False, False]
    assert [same(larger[n], alone[1]) for n in (4, 5, 6, 7)] == [False, False, True, True]


def test_blending_over_cuts_on_request(film: Any, tiny: str) -> None:
    clip = film[22:26]
    held = pixels_of(clip.videoinr.Upscale(factor_num=2, model=tiny))
    for arguments in ({"sc": False}, {"sc_threshold": 1.0}):
        blended = pixels_of(clip.videoinr.Upscale(factor_num=2, model=tiny, **arguments))
        assert [same(a, b) for a, b in zip(held, blended, strict=True)] == [n != 3 for n in range(8)]
    strict = pixels_of(clip.videoinr.Upscale(factor_num=2, sc_threshold=0.0, model=tiny))
    assert all(same(strict[n], strict[n + 1]) for n in range(0, 8, 2))


def test_marks_count_more_than_the_detector(core: Any, film: Any, tiny: str) -> None:
    """As misc.SCDetect and others leave them: 1 on the last frame of a scene, 0 on the others."""

    def mark(n: int, f: Any) -> Any:
        f = f.copy()
        f.props["_SceneChangeNext"] = int(n == 2)
        return f

    clip = film[22:26]
    marked = core.std.ModifyFrame(clip, clip, mark)
    source = pixels_of(clip)
    shown = pixels_of(marked.videoinr.Upscale(factor_num=2, model=tiny))
    assert [same(shown[n], source[n // 2]) for n in (1, 3, 5)] == [False, False, True]


@pytest.mark.parametrize("counts", REPEATS)
def test_nothing_is_held_in_a_fade_of_repeated_frames(film: Any, tiny: str, counts: tuple[int, ...]) -> None:
    """But the repeats."""
    fade = faded(film, 3, [0.0] * 3)[:6].resize.Bicubic(48, 32)
    for clip in (fade, fade[::-1]):
        shown, ends = repeated(clip, counts)
        source, twice = pixels_of(shown), pixels_of(shown.videoinr.Upscale(factor_num=2, model=tiny))
        followed = [n for n in range(len(shown)) if not same(twice[2 * n + 1], source[n])]
        assert followed == ends[:-1]


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize("marked", [(), (18,), (18, 20)])
def test_a_cut_between_stills_does_not_read_the_whole_clip(
    core: Any, film: Any, tiny: str, marked: tuple[int, ...]
) -> None:
    read = set()

    def note(n: int, f: Any) -> Any:
        read.add(n)
        f = f.copy()
        if n in marked:
            f.props["_SceneChangeNext"] = 1
        return f

    still = film[30].resize.Bicubic(48, 32, format=vs.RGB24)
    clip = still * 20 + core.std.BlankClip(still, length=20)
    noted = core.std.ModifyFrame(clip, clip, note)
    source = pixels_of(clip, [19])[0]
    assert same(pixels_of(noted.videoinr.Upscale(factor_num=2, model=tiny), [39])[0], source)
    assert read - {0} <= set(range(19 - MAX_REPEATS, 21 + MAX_REPEATS))


@pytest.mark.parametrize("format", [vs.YUV420P8, vs.RGBS, vs.GRAY16])
def test_nothing_is_held_in_a_fade(film: Any, tiny: str, format: int) -> None:  # noqa: A002
    """But the frames that repeat its end."""
    for clip in (faded(film, 4, [0.0] * 3), faded(film, 4, [1.0] * 3)):
        converted = clip.resize.Bicubic(48, 32, format=format, matrix=None if format == vs.RGBS else 1)
        held = [2 * n + 1 for n in range(len(clip)) if n >= len(clip) - 3]
        for shown in (converted, converted.std.Reverse()):
            source, twice = pixels_of(shown), pixels_of(shown.videoinr.Upscale(factor_num=2, model=tiny))
            still = [n for n in range(1, len(twice), 2) if same(twice[n], source[n // 2])]
            assert still == (held if shown is converted else [1, 3, len(twice) - 1])


@pytest.mark.parametrize("marked", [None, 0, 1])
def test_a_fade_is_told_by_frames_of_its_own_scene(core: Any, film: Any, tiny: str, marked: int | None) -> None:
    """A third frame beyond a mark says nothing of the last step of what could be a fade, nor of its first."""
    frames = list(faded(film, 2, [0.0] * 3)[2:5].resize.Bicubic(48, 32))
    if marked is not None:
        frames[marked] = frames[marked].std.SetFrameProps(_SceneChangeNext=1)
    for clip, pair, held in ((frames, 1, marked is not None), (frames[::-1], 0, marked == 1)):
        source = core.std.Splice(clip)
        between = pixels_of(source.videoinr.Upscale(factor_num=2, model=tiny), [2 * pair + 1])[0]
        assert same(between, pixels_of(source, [pair])[0]) == held


@pytest.mark.parametrize(
    ("mode", "factor", "last", "first"),
    [("hold", 4, 7, 8), ("switch", 4, 5, 6), ("switch", 3, 4, 5), ("switch", 1, 1, 2), ("hold", 1, 1, 2)],
)
@pytest.mark.parametrize("scale", [1, 2])
def test_marks_stay_on_one_frame_each(
    core: Any, film: Any, tiny: str, mode: str, factor: int, last: int, first: int, scale: int
) -> None:
    clip = film[22:26]
    clip = clip[0] + core.std.SetFrameProps(clip[1], _SceneChangeNext=1) + clip[2:]
    clip = clip[:2] + core.std.SetFrameProps(clip[2], _SceneChangePrev=1) + clip[3]
    props = props_of(clip.videoinr.Upscale(scale=scale, factor_num=factor, sc_mode=mode, model=tiny))
    assert [n for n, p in enumerate(props) if p.get("_SceneChangeNext")] == [last]
    assert [n for n, p in enumerate(props) if p.get("_SceneChangePrev")] == [first]
    assert {name for p in props for name in p if name.startswith("_VideoINR")} == {"_VideoINRPair"}


def test_repeated_frames_stay_what_they_are(core: Any, film: Any, tiny: str) -> None:
    """Animation on twos: nothing moves between the two, and the second looks like the first."""
    drawn = film[0:3]
    twos = core.std.Interleave([drawn, drawn])
    shown = pixels_of(twos.videoinr.Upscale(factor_num=3, model=tiny))
    source = pixels_of(drawn)
    assert [same(shown[n], source[0]) for n in range(6)] == [True] * 4 + [False] * 2
    larger = pixels_of(twos.videoinr.Upscale(scale=2, factor_num=3, model=tiny))
    assert [same(frame, larger[0]) for frame in larger] == [True] * 4 + [False] * 14
    assert [same(frame, larger[6]) for frame in larger] == [6 <= n < 10 for n in range(18)]


def test_repeated_frames_cost_nothing(film: Any, tiny: str) -> None:
    still = film[0] * 41
    out = still.videoinr.Upscale(scale=6, model=tiny)
    start = time.perf_counter()
    out.get_frame(0).close()
    first = time.perf_counter() - start
    for n in range(1, 41):
        out.get_frame(n).close()
    assert time.perf_counter() - start < first * 10


RATES = [(24, 1), (24000, 1001), (25, 1), (60, 1), (2997, 100)]


@pytest.fixture
def two_scenes(core: Any, moving: Any) -> Clips:
    """Make eight frames of a rate, of which the fifth is said to begin another scene; its `scene` tells which."""

    def make(fps: tuple[int, int]) -> Any:
        first, second = (core.std.SetFrameProps(moving(length=8), scene=k) for k in (0, 1))
        second = core.std.SetFrameProps(second, _SceneChangeNext=0)
        first = core.std.SetFrameProps(first[:3], _SceneChangeNext=0) + core.std.SetFrameProps(
            first[3], _SceneChangeNext=1
        )
        return core.std.AssumeFPS(first + second[4:], fpsnum=fps[0], fpsden=fps[1])

    return make


@pytest.mark.parametrize("fps", RATES)
def test_times_that_floats_miss_are_those_of_the_frames(two_scenes: Clips, tiny: str, fps: tuple[int, int]) -> None:
    clip = two_scenes(fps)
    source = pixels_of(clip)
    tenths = list(itertools.accumulate([0.1] * 70, initial=0.0))
    asked = [
        (clip.videoinr.Query(seconds=[k / (fps[0] / fps[1]) for k in range(8)], model=tiny), range(8)),
        (clip.videoinr.Query(seconds=[k * fps[1] / fps[0] for k in range(8)], model=tiny), range(8)),
        (clip.videoinr.Query(times=tenths[::10], model=tiny), range(8)),
        (clip.videoinr.Query(times=[7.0000001, 3.9999991, 4.0000009, -1e-7], model=tiny), [7, 4, 4, 0]),
    ]
    for out, frames in asked:
        shown = pixels_of(out)
        assert [same(frame, source[k]) for frame, k in zip(shown, frames, strict=True)] == [True] * len(frames)
        assert [props["scene"] for props in props_of(out)] == [int(k >= 4) for k in frames]


@pytest.mark.parametrize("mode", ["hold", "switch"])
@pytest.mark.parametrize(
    ("fps", "out_fps", "factor"),
    [
        ((2997, 100), (30000, 1001), 1),
        ((30000, 1001), (2997, 100), 1),
        ((2997, 125), (48000, 1001), 2),
        ((23976, 1000), (24000, 1001), 1),
        ((23976, 1000), (60000, 1001), 2.5),
        ((5994, 100), (240000, 1001), 4),
    ],
)
def test_rates_that_are_nearly_the_same_lose_no_frame(
    two_scenes: Clips, tiny: str, fps: tuple[int, int], out_fps: tuple[int, int], factor: float, mode: str
) -> None:
    clip = two_scenes(fps)
    out = clip.videoinr.Upscale(fps_num=out_fps[0], fps_den=out_fps[1], sc_mode=mode, model=tiny)
    assert (len(out), out.fps) == (8 * factor, Fraction(*out_fps))
    source, shown, props = pixels_of(clip), pixels_of(out), props_of(out)
    for n, frame in enumerate(shown):
        position = n / Fraction(factor)
        if position.denominator == 1:
            assert same(frame, source[int(position)])
            assert props[n]["scene"] == (position >= 4)
        elif 3 < position < 4:
            assert same(frame, source[4 if mode == "switch" and position >= 3.5 else 3])
    assert sum(map(duration, props)) == 8 / Fraction(*fps)
    assert all(duration(one) == 1 / Fraction(*out_fps) for one in props[:-1])


@pytest.mark.parametrize("scale", [1, 2])
def test_private_properties_of_the_input_mean_nothing(core: Any, film: Any, tiny: str, scale: int) -> None:
    clip = core.std.CropAbs(film[26:30], 48, 32, left=80, top=30)
    marked = core.std.SetFrameProps(clip, _VideoINRCut=1, _VideoINRHeld=1, _VideoINRChroma=1, _VideoINRother="x")
    for arguments in ({"sc": False}, {"sc_threshold": 1.0}, {"sc_mode": "switch"}):
        plain = clip.videoinr.Upscale(scale=scale, factor_num=2, model=tiny, **arguments)
        out = marked.videoinr.Upscale(scale=scale, factor_num=2, model=tiny, **arguments)
        assert all(same(a, b) for a, b in zip(pixels_of(plain), pixels_of(out), strict=True))
        assert {name for props in props_of(out) for name in props if name.startswith("_VideoINR")} == {"_VideoINRPair"}
