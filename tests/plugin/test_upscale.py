from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from numpy.typing import NDArray

from tests.frames import duration, pixels, pixels_of, props_of, same
from vs_videoinr.plugin.arguments import choose_device
from vs_videoinr.rendering import accelerator
from vs_videoinr.weights import library

pytestmark = pytest.mark.vpy


def reference(clip: Any, model: str, left: int, right: int, t: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """What the network itself says, as (3, height, width), on the device that is taken where none is named."""
    device = choose_device(None, accelerator.devices())
    network = library.load(model, device)
    frames = [torch.from_numpy(np.stack(pixels_of(clip, [n])[0]))[None].to(device) for n in (left, right)]
    with torch.inference_mode():
        result: NDArray[np.float32] = network.encode(*frames).sample(t, size[::-1])[0].clamp(0, 1).cpu().numpy()
    return result


def test_version(core: Any) -> None:
    said = core.videoinr.Version()
    assert said["version"] == "0.1.0"
    assert said["torch"] == torch.__version__
    assert "cpu" in said["devices"]
    assert "models" in said


def test_what_the_signatures_promise(core: Any) -> None:
    signatures = {f.name: (f.signature, f.return_signature) for f in core.videoinr.functions()}
    assert signatures["Upscale"] == (
        "clip:vnode;scale:float:opt;width:int:opt;height:int:opt;fps_num:int:opt;fps_den:int:opt;factor_num:int:opt;"
        "factor_den:int:opt;timecodes:data:opt;sc:int:opt;sc_threshold:float:opt;sc_mode:data:opt;model:data:opt;"
        "device:data:opt;fp16:int:opt;",
        "clip:vnode;",
    )
    assert signatures["Query"] == (
        "clip:vnode;times:float[]:opt;seconds:float[]:opt;scale:float:opt;width:int:opt;height:int:opt;"
        "timecodes:data:opt;sc:int:opt;sc_threshold:float:opt;sc_mode:data:opt;model:data:opt;device:data:opt;"
        "fp16:int:opt;",
        "clip:vnode;",
    )
    assert signatures["Version"][1] == "version:data;torch:data;devices:data[];models:data[]:empty;"


def test_larger_and_smoother_at_once(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.RGBS, fps=(24000, 1001))
    out = core.videoinr.Upscale(clip, scale=3.5, fps_num=240, model=tiny)
    assert (out.width, out.height, len(out), out.fps, out.format.id) == (56, 42, 50, 240, vs.RGBS)
    for n in (0, 1, 12, 37):
        left, rest = divmod(n * 100, 1001)
        with out.get_frame(n) as frame:
            expected = reference(clip, tiny, left, left + 1, rest / 1001, (56, 42))
            assert np.array_equal(np.stack(pixels(frame)), expected)


def test_only_larger(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.RGBS)
    out = core.videoinr.Upscale(clip, width=20, height=32, model=tiny)
    assert (out.width, out.height, len(out), out.fps) == (20, 32, 5, 24)
    for n in range(5):
        expected = reference(clip, tiny, n, min(n + 1, 4), 0, (20, 32))
        assert np.array_equal(np.stack(pixels_of(out, [n])[0]), expected)


@pytest.mark.parametrize("format_", [vs.RGB24, vs.RGBS, vs.YUV420P8, vs.GRAY16])
def test_only_smoother_lets_source_frames_through(core: Any, moving: Any, tiny: str, format_: int) -> None:
    clip = moving(format_)
    out = core.videoinr.Upscale(clip, factor_num=5, factor_den=2, model=tiny)
    assert (out.width, out.height, len(out), out.fps) == (16, 12, 12, 60)
    source, result = pixels_of(clip), pixels_of(out)
    for n in range(12):
        left, rest = divmod(n * 2, 5)
        assert same(result[n], source[left]) == (rest == 0 or left == 4)


def test_fewer_frames(core: Any, moving: Any, tiny: str) -> None:
    out = core.videoinr.Upscale(moving(), fps_num=12, model=tiny)
    assert (len(out), out.fps) == (2, 12)
    source = pixels_of(moving())
    assert [same(frame, source[2 * n]) for n, frame in enumerate(pixels_of(out))] == [True, True]
    assert sum(map(duration, props_of(out))) == Fraction(5, 24)


def test_the_tail_holds_the_last_frame(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.RGBS)
    out = pixels_of(core.videoinr.Upscale(clip, scale=2, factor_num=3, model=tiny))
    assert same(out[12], out[13])
    assert same(out[12], out[14])
    assert not same(out[11], out[12])


@pytest.mark.parametrize("size", [{}, {"scale": 2}])
def test_one_frame_becomes_a_still(core: Any, moving: Any, tiny: str, size: dict[str, float]) -> None:
    out = core.videoinr.Upscale(moving(length=1), factor_num=3, model=tiny, **size)
    frames = pixels_of(out)
    assert len(frames) == 3
    assert same(frames[0], frames[1])
    assert same(frames[0], frames[2])
    if not size:
        assert same(frames[0], pixels_of(moving(length=1))[0])


def test_query_shows_the_times_asked_for(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.RGBS)
    times = [4, 0.5, 2, 0.5, 3.999, 3.25]
    out = core.videoinr.Query(clip, times=times, scale=1.5, model=tiny)
    assert (out.width, out.height, len(out), out.fps) == (24, 18, 6, 24)
    for frame, moment in zip(pixels_of(out), times, strict=True):
        left = int(moment)
        expected = reference(clip, tiny, left, min(left + 1, 4), moment - left, (24, 18))
        assert np.array_equal(np.stack(frame), expected)


def test_query_at_the_clips_size_lets_source_frames_through(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.YUV420P8)
    source = pixels_of(clip)
    out = pixels_of(core.videoinr.Query(clip, times=[3, 1.5, 0], model=tiny))
    assert same(out[0], source[3])
    assert not same(out[1], source[1])
    assert same(out[2], source[0])


def test_any_order_gives_the_same_bits(core: Any, moving: Any, tiny: str) -> None:
    out = core.videoinr.Upscale(moving(vs.YUV420P8, length=12), scale=1.5, fps_num=60, model=tiny)
    straight = pixels_of(out)
    order = np.random.default_rng(7).permutation(len(out)).tolist()
    for requests in (1, 3, 8):
        core.clear_cache()
        again = core.videoinr.Upscale(moving(vs.YUV420P8, length=12), scale=1.5, fps_num=60, model=tiny)
        waiting: list[tuple[int, Any]] = []
        for n in order:
            waiting.append((n, again.get_frame_async(n)))
            if len(waiting) >= requests:
                done, future = waiting.pop(0)
                with future.result() as frame:
                    assert same(pixels(frame), straight[done])
        for done, future in waiting:
            with future.result() as frame:
                assert same(pixels(frame), straight[done])


def test_nothing_is_blended_over_a_cut(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.RGBS)
    cut = clip[:2] + core.std.SetFrameProps(clip[2], _SceneChangeNext=1)
    cut += core.std.SetFrameProps(clip[3], _SceneChangePrev=1) + clip[4]
    out = core.videoinr.Upscale(cut, scale=2, factor_num=3, model=tiny)
    frames = pixels_of(out)
    held = pixels_of(core.videoinr.Upscale(clip[2], scale=2, model=tiny))[0]
    assert [same(frame, held) for frame in frames] == [6 <= n < 9 for n in range(15)]
    props = props_of(out)
    assert [n for n in range(15) if "_SceneChangeNext" in props[n]] == [8]
    assert [n for n in range(15) if "_SceneChangePrev" in props[n]] == [9]

    same_size = core.videoinr.Upscale(cut, factor_num=3, model=tiny)
    frames, source = pixels_of(same_size), pixels_of(clip)
    assert [same(frame, source[2]) for frame in frames] == [6 <= n < 9 for n in range(15)]
    assert [n for n, p in enumerate(props_of(same_size)) if "_SceneChangeNext" in p] == [8]


def test_properties_are_carried_corrected_or_gone(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.YUV420P10)
    clip = core.std.SetFrameProps(
        clip, _PictType="I", _AbsoluteTime=1.5, _SARNum=8, _SARDen=9, _Primaries=9, _Transfer=16, Note="kept", _Field=1
    )
    clip = core.std.ModifyFrame(clip, clip, numbered)
    out = core.videoinr.Upscale(clip, width=64, height=24, factor_num=2, model=tiny)
    for n, props in enumerate(props_of(out)):
        assert props["number"] == n // 2
        assert props["Note"] == "kept"
        assert (props["_Primaries"], props["_Transfer"], props["_Matrix"]) == (9, 16, 1)
        assert ("_PictType" in props) == ("_AbsoluteTime" in props) == (n % 2 == 0)
        assert Fraction(props["_SARNum"], props["_SARDen"]) == Fraction(8, 9) * Fraction(16, 64) / Fraction(12, 24)
        assert "_Field" not in props
        assert duration(props) == Fraction(1, 48)


@pytest.mark.parametrize("size", [16, 32])
def test_frames_name_the_pair_that_they_are_made_of(core: Any, moving: Any, tiny: str, size: int) -> None:
    """Also those that are made by two calls, one behind the other: the last one counts."""
    once = core.videoinr.Upscale(moving(), factor_num=5, factor_den=2, width=size, height=size * 3 // 4, model=tiny)
    assert [props["_VideoINRPair"] for props in props_of(once)] == [2 * n // 5 for n in range(12)]
    twice = core.videoinr.Query(once, times=[7.5, 2, 2.25], model=tiny)
    assert [props["_VideoINRPair"] for props in props_of(twice)] == [7, 2, 2]


def numbered(n: int, f: Any) -> Any:
    f = f.copy()
    f.props["number"] = n
    return f


@pytest.mark.parametrize("fps", [(24, 1), (24000, 1001), (30000, 1001)])
@pytest.mark.parametrize(
    "rate", [{"fps_num": 240}, {"fps_num": 60000, "fps_den": 1001}, {"factor_num": 7, "factor_den": 3}]
)
def test_durations_add_up(core: Any, moving: Any, tiny: str, fps: tuple[int, int], rate: dict[str, int]) -> None:
    out = core.videoinr.Upscale(moving(fps=fps, length=4), model=tiny, **rate)
    durations = [duration(props) for props in props_of(out)]
    assert sum(durations) == 4 / Fraction(*fps)
    assert all(d == 1 / out.fps for d in durations[:-1])


def test_a_variable_rate_is_divided(core: Any, moving: Any, tiny: str) -> None:
    clip = (
        moving(fps=(24, 1))[:2]
        + core.std.AssumeFPS(moving()[2:4], fpsnum=30)
        + core.std.AssumeFPS(moving()[4], fpsnum=7)
    )
    assert clip.fps == 0
    out = core.videoinr.Upscale(clip, factor_num=2, model=tiny)
    assert out.fps == 0
    assert [duration(p) for p in props_of(out)] == [Fraction(1, 2 * d) for d in (24, 24, 30, 30, 7) for _ in range(2)]
    uneven = core.videoinr.Upscale(clip, scale=2, factor_num=7, factor_den=5, model=tiny)
    assert sum(map(duration, props_of(uneven))) == Fraction(2, 24) + Fraction(2, 30) + Fraction(1, 7)
    larger = core.videoinr.Upscale(clip, scale=2, model=tiny)
    assert [duration(p) for p in props_of(larger)] == [Fraction(1, d) for d in (24, 24, 30, 30, 7)]
    times = core.videoinr.Query(clip, times=[4, 0.5], model=tiny)
    assert [duration(p) for p in props_of(times)] == [Fraction(1, 7), Fraction(1, 24)]


def test_frames_without_duration_stay_without(core: Any, moving: Any, tiny: str) -> None:
    clip = core.std.RemoveFrameProps(moving(), ["_DurationNum", "_DurationDen"])
    assert all(duration(p) == Fraction(1, 48) for p in props_of(core.videoinr.Upscale(clip, factor_num=2, model=tiny)))
    clip = clip[:2] + core.std.AssumeFPS(clip[2:], fpsnum=30)
    clip = core.std.RemoveFrameProps(clip, ["_DurationNum", "_DurationDen"])
    assert not any("_DurationNum" in p for p in props_of(core.videoinr.Upscale(clip, factor_num=2, model=tiny)))


@pytest.mark.parametrize(("num", "den"), [(2**62, 1), (2**63 - 1, 1), (2**63 - 1, 2**62 + 1), (1, 2**63 - 1), (-5, 1)])
@pytest.mark.parametrize("factor", [(3, 2), (1, 1), (7, 1)])
def test_durations_that_no_property_can_hold(
    core: Any, moving: Any, tiny: str, num: int, den: int, factor: tuple[int, int]
) -> None:
    """Of a clip of variable rate: exact where that can be said, to a nanosecond where not, or none."""
    clip = core.std.Splice([moving(length=2), moving(length=2, fps=(30, 1))])
    clip = core.std.SetFrameProps(clip, _DurationNum=num, _DurationDen=den)
    out = core.videoinr.Upscale(clip, factor_num=factor[0], factor_den=factor[1], model=tiny)
    exact = Fraction(num, den) * factor[1] / factor[0]
    for props in props_of(out)[:-1]:
        if "_DurationNum" in props:
            assert abs(duration(props) - exact) <= Fraction(1, 10**9)
        else:
            assert num < 0 or exact * 10**9 > 2**62 or exact < Fraction(1, 10**9)


def test_creation_does_not_depend_on_the_length(core: Any, tiny: str) -> None:
    def seconds(length: int) -> float:
        clip = core.std.BlankClip(width=16, height=12, format=vs.RGBS, length=length, fpsnum=24, keep=True)
        start = time.perf_counter()
        out = core.videoinr.Upscale(clip, scale=2, fps_num=25, model=tiny)
        took = time.perf_counter() - start
        out.get_frame(len(out) - 1).close()
        return took

    seconds(10)
    short, long = (min(seconds(length) for _ in range(5)) for length in (10, 2_000_000_000))
    assert long < short + 0.02


def test_two_filters_share_their_weights(core: Any, moving: Any, tiny: str) -> None:
    network = library.load(tiny)
    first = core.videoinr.Upscale(moving(), scale=2, model=tiny)
    second = core.videoinr.Upscale(moving(), factor_num=2, model=tiny)
    assert library.load(tiny) is network
    assert (len(first), len(second)) == (5, 10)


@pytest.mark.parametrize("format_", [vs.RGBS, vs.YUV420P8, vs.GRAY16])
def test_source_frames_that_pass_are_not_copied(core: Any, tiny: str, format_: int) -> None:
    levels = [
        core.std.BlankClip(format=format_, width=16, height=12, length=2, color=None, keep=True) for _ in range(3)
    ]
    clip = core.std.SetFrameProps(core.std.Interleave(levels), _Matrix=0 if format_ == vs.RGBS else 1)
    out = core.videoinr.Upscale(clip, factor_num=2, model=tiny)
    for n in range(len(clip)):
        with clip.get_frame(n) as source, out.get_frame(2 * n) as passed:
            for plane in range(source.format.num_planes):
                assert passed.get_read_ptr(plane).value == source.get_read_ptr(plane).value


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fp16", [False, True, None])
def test_gpu_agrees_with_the_cpu(core: Any, moving: Any, tiny: str, fp16: bool) -> None:
    gpu = str(accelerator.devices()[0])
    cpu = pixels_of(core.videoinr.Upscale(moving(vs.RGBS), scale=2, model=tiny, device="cpu"))
    found = pixels_of(core.videoinr.Upscale(moving(vs.RGBS), scale=2, model=tiny, device=gpu, fp16=fp16))
    for one, other in zip(cpu, found, strict=True):
        np.testing.assert_allclose(np.stack(one), np.stack(other), atol=1e-3 if fp16 is False else 0.1)
