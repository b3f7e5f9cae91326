"""Zooming Slow-Mo through the plugin: whatever it knows is made, and all else is refused when the filter is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from torch import Tensor

from tests.conftest import Clips
from tests.frames import Pixels, duration, pixels_of, props_of, same
from vs_videoinr import load

pytestmark = pytest.mark.vpy("initial-core")

SIZE = 64, 48  # four times that of the clips


def tensors_of(clip: Any) -> list[Tensor]:
    return [torch.from_numpy(np.stack(planes))[None] for planes in pixels_of(clip.resize.Bicubic(format=vs.RGBS))]


def expected(
    model: str, frames: Sequence[Tensor], before: int | None, left: int, after: int | None, t: float
) -> Pixels:
    """What the network makes of frames `left` and `left` + 1 at `t`, in a window with others."""
    network = load(model)
    field = network.encode(frames[left], frames[left + 1]).with_neighbours(
        None if before is None else network.encode(frames[before], frames[left]).pair_motion,
        None if after is None else network.encode(frames[left + 1], frames[after]).pair_motion,
    )
    with torch.inference_mode():
        return tuple(field.sample(t, SIZE[::-1])[0].clamp(0, 1).numpy())


@pytest.fixture
def scenes(moving: Clips) -> Any:
    """Two scenes, of four frames and of two; single precision, so that nothing is rounded."""
    first = moving(vs.RGBS, length=4)
    second = moving(vs.RGBS, length=2).std.FlipVertical().std.Invert()
    return first[:3] + first[3].std.SetFrameProps(_SceneChangeNext=1) + second


def test_every_frame_is_made_of_the_window_around_its_pair(scenes: Any, zooming: str) -> None:
    """Up to a frame before and one after; not over cuts. The last frame of a scene is the end of its last pair."""
    frames = tensors_of(scenes)
    windows = [
        *((None, 0, 2, t) for t in (0, 0.5)),
        *((0, 1, 3, t) for t in (0, 0.5)),
        *((1, 2, None, t) for t in (0, 0.5, 1, 1)),  # the last one is held
        *((None, 4, None, t) for t in (0, 0.5, 1, 1)),
    ]
    shown = pixels_of(scenes.videoinr.Upscale(scale=4, factor_num=2, model=zooming))
    assert len(shown) == len(windows)
    for n, (window, frame) in enumerate(zip(windows, shown, strict=True)):
        assert same(frame, expected(zooming, frames, *window)), n
    switched = pixels_of(scenes.videoinr.Upscale(scale=4, factor_num=2, sc_mode="switch", model=zooming))
    alike = [same(*both) for both in zip(shown, switched, strict=True)]
    assert alike == [n != 7 for n in range(12)]


def test_frames_are_the_same_in_any_order(scenes: Any, zooming: str) -> None:
    order = list(range(12))
    arguments = {"scale": 4, "factor_num": 2, "model": zooming}
    forward = pixels_of(scenes.videoinr.Upscale(**arguments), order)
    back = pixels_of(scenes.videoinr.Upscale(**arguments), order[::-1])[::-1]
    leaps = [n * 7 % 12 for n in order]
    there = dict(zip(leaps, pixels_of(scenes.videoinr.Upscale(**arguments), leaps), strict=True))
    alone = [pixels_of(scenes.videoinr.Upscale(**arguments), [n])[0] for n in order]
    for n in order:
        assert same(forward[n], back[n])
        assert same(forward[n], there[n])
        assert same(forward[n], alone[n])


def test_repeated_frames_look_alike_and_are_no_neighbours(moving: Clips, zooming: str) -> None:
    clip = moving(vs.RGBS, length=4)
    held = clip[:2] + clip[1] + clip[2:]
    shown = pixels_of(held.videoinr.Upscale(scale=4, factor_num=2, model=zooming))
    assert same(shown[2], shown[3])
    assert same(shown[3], shown[4])
    assert same(shown[5], expected(zooming, tensors_of(held), None, 2, 4, 0.5))


def variable_rate(clip: Any) -> Any:
    return vs.core.std.ModifyFrame(clip.std.BlankClip(varsize=0, fpsnum=0), clip, lambda n, f: f)  # noqa: ARG005


def at_rate(num: int, den: int) -> Callable[[Any], Any]:
    return lambda clip: clip.std.AssumeFPS(fpsnum=num, fpsden=den)


@pytest.mark.parametrize(
    ("prepare", "arguments", "positions"),
    [
        (None, {"scale": 4}, [0, 1, 2, 3, 4]),
        (None, {"width": 64, "height": 48}, [0, 1, 2, 3, 4]),
        (None, {"width": 64}, [0, 1, 2, 3, 4]),
        (None, {"scale": 3.98}, [0, 1, 2, 3, 4]),  # which is rounded to the same
        (None, {"scale": 4, "factor_num": 4, "factor_den": 2}, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4]),
        (None, {"scale": 4, "factor_num": 1, "factor_den": 2}, [0, 2]),
        (None, {"scale": 4, "factor_num": 2, "factor_den": 3}, [0, 1.5, 3]),
        (None, {"scale": 4, "fps_num": 24}, [0, 1, 2, 3, 4]),
        (at_rate(24000, 1001), {"scale": 4, "fps_num": 48000, "fps_den": 1001}, [n / 2 for n in range(9)] + [4]),
        (at_rate(2997, 100), {"scale": 4, "fps_num": 60000, "fps_den": 1001}, [n / 2 for n in range(9)] + [4]),
        (at_rate(60, 1), {"scale": 4, "fps_num": 24}, [0, 2.5]),
        (variable_rate, {"scale": 4, "factor_num": 2}, [n / 2 for n in range(9)] + [4]),
    ],
)
def test_all_that_needs_no_other_times_is_made(
    moving: Clips,
    zooming: str,
    prepare: Callable[[Any], Any] | None,
    arguments: dict[str, Any],
    positions: list[float],
) -> None:
    clip = moving(vs.RGBS)
    all_times = clip.videoinr.Query(times=[n / 2 for n in range(9)], scale=4, model=zooming)
    wanted = pixels_of(all_times)
    out = (clip if prepare is None else prepare(clip)).videoinr.Upscale(model=zooming, **arguments)
    assert (out.width, out.height) == SIZE
    shown = pixels_of(out)
    assert len(shown) == len(positions)
    assert all(same(frame, wanted[round(2 * at)]) for frame, at in zip(shown, positions, strict=True))


def test_moments_are_asked_for_as_floats_have_them(moving: Clips, zooming: str) -> None:
    clip = moving(vs.RGBS)
    wanted = pixels_of(clip.videoinr.Query(times=[3.5, 0, 1.5, 4], scale=4, model=zooming))
    for asked in (
        {"times": [3.5000000000000004, 0.0000001, 1.4999999999, 4]},
        {"seconds": [7 / 48, 0, 1 / 16, 4 / 24]},  # at 24 fps
    ):
        shown = pixels_of(clip.videoinr.Query(scale=4, model=zooming, **asked))
        assert all(map(same, shown, wanted))


def test_a_clip_of_variable_rate(core: Any, moving: Clips, zooming: str, tmp_path: Path) -> None:
    """Its durations are halved; a frame that lies unevenly is none of the window."""
    lengths = 40, 40, 80, 80, 80
    clip = moving(vs.RGBS)
    frames = [one.std.SetFrameProps(_DurationNum=k, _DurationDen=1000) for one, k in zip(clip, lengths, strict=True)]
    uneven = variable_rate(core.std.Splice(frames))
    out = uneven.videoinr.Upscale(scale=4, factor_num=2, model=zooming)
    assert [duration(props) * 2000 for props in props_of(out)] == [k for k in lengths for _ in range(2)]
    shown, tensors = pixels_of(out), tensors_of(clip)
    assert same(shown[1], expected(zooming, tensors, None, 0, 2, 0.5))
    assert same(shown[3], expected(zooming, tensors, 0, 1, None, 0.5))
    assert same(shown[5], expected(zooming, tensors, None, 2, 4, 0.5))
    codes = tmp_path / "times.txt"
    codes.write_text("# timecode format v2\n0\n40\n80\n160\n240\n320\n")
    steady = uneven.videoinr.Upscale(scale=4, fps_num=25, timecodes=str(codes), model=zooming)
    assert [same(one, shown[n]) for one, n in zip(pixels_of(steady), (0, 2, 4, 5, 6, 7, 8, 8), strict=True)] == [
        True
    ] * 8


@pytest.mark.parametrize("format", [vs.YUV420P8, vs.YUV444P16, vs.GRAY8, vs.GRAYS, vs.RGB48])
def test_formats_and_transparency(moving: Clips, zooming: str, format: int) -> None:  # noqa: A002
    clip = moving(format, length=3)
    clip = clip.std.ClipToProp(moving(length=3).resize.Bicubic(format=vs.GRAY8, matrix=1), prop="_Alpha")
    out = clip.videoinr.Upscale(scale=4, factor_num=2, model=zooming)
    for frame in out.frames(close=True):
        assert (frame.width, frame.height, frame.format.id) == (*SIZE, format)
        alpha = frame.props["_Alpha"]
        assert (alpha.width, alpha.height) == SIZE
        alpha.close()


def test_light_beyond_white_is_blended_for_no_motion_is_known(moving: Clips, zooming: str) -> None:
    clip = moving(vs.RGBS, length=2)
    white, bright = (
        clip[0].std.Expr(f"x 0.9 > {first} x ?") + clip[1].std.Expr(f"x 0.9 > {second} x ?")
        for first, second in ((1, 1), (3, 5))
    )
    plain, lit = (pixels_of(one.videoinr.Upscale(scale=4, factor_num=2, model=zooming)) for one in (white, bright))
    beyond = [np.stack(planes) - np.stack(other) for planes, other in zip(lit, plain, strict=True)]
    assert [beyond[n].max() for n in (0, 2)] == pytest.approx([2, 4], abs=0.01)
    assert np.abs(beyond[1] - (beyond[0] + beyond[2]) / 2).max() < 1e-5


# What it does not know

ENLARGES = "Zooming Slow-Mo enlarges 4 times only, as scale=4 does: 16x12 to 64x48 and not to {}; "
TIMES = "Zooming Slow-Mo knows the times 0, 0.5 and 1 between two frames only, as factor_num=2 has them, and not {}; "
MOTION = 'Zooming Slow-Mo knows no motion that could be shown; the model "lite" does'
ANY_SIZE, ANY_TIME = 'the model "lite" knows any size', 'the model "lite" knows any time'
CODES = "# timecode format v2\n0\n42\n83\n125\n167\n208\n"  # 24 fps in whole milliseconds


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("Upscale", {"scale": 2}, ENLARGES.format("32x24") + ANY_SIZE),
        ("Upscale", {"scale": 3.5}, ENLARGES.format("56x42") + ANY_SIZE),
        ("Upscale", {"scale": 4.1}, ENLARGES.format("66x49") + ANY_SIZE),
        ("Upscale", {"width": 64, "height": 64}, ENLARGES.format("64x64") + ANY_SIZE),
        ("Upscale", {"factor_num": 2}, ENLARGES.format("16x12") + ANY_SIZE),
        ("Query", {"times": [0.5]}, ENLARGES.format("16x12") + ANY_SIZE),
        ("Upscale", {"scale": 4, "factor_num": 4}, TIMES.format("0.25") + ANY_TIME),
        ("Upscale", {"scale": 4, "factor_num": 3}, TIMES.format("0.333333333") + ANY_TIME),
        ("Upscale", {"scale": 4, "factor_num": 3, "factor_den": 2}, TIMES.format("0.666666667") + ANY_TIME),
        ("Upscale", {"scale": 4, "fps_num": 60}, TIMES.format("0.4") + ANY_TIME),
        ("Upscale", {"scale": 4, "fps_num": 48000, "fps_den": 1001}, TIMES.format("0.5005") + ANY_TIME),
        ("Upscale", {"scale": 4, "fps_num": 18}, TIMES.format("0.333333333") + ANY_TIME),
        ("Upscale", {"scale": 4, "fps_num": 48, "timecodes": CODES}, TIMES.format("0.496031746") + ANY_TIME),
        ("Query", {"scale": 4, "times": [0, 1, 3.75, 2]}, TIMES.format("0.75") + ANY_TIME),
        ("Query", {"scale": 4, "times": [0.50001]}, TIMES.format("0.50001") + ANY_TIME),
        ("Query", {"scale": 4, "seconds": [0.01]}, TIMES.format("0.24") + ANY_TIME),
        ("Flow", {}, MOTION),
        (
            "Flow",
            {"scale": 4, "factor_num": 2},
            'Zooming Slow-Mo knows no motion that could be shown; the model "lite" does',
        ),
    ],
)
def test_what_it_cannot_do_is_said_when_the_filter_is_made(
    moving: Clips, zooming: str, tmp_path: Path, function: str, arguments: dict[str, Any], message: str
) -> None:
    if "timecodes" in arguments:
        codes = tmp_path / "times.txt"
        codes.write_text(CODES)
        arguments = {**arguments, "timecodes": str(codes)}
    with pytest.raises(vs.Error) as caught:
        getattr(moving().videoinr, function)(model=zooming, **arguments)
    assert str(caught.value) == f"{function}: {message}"
