"""The model in the box: it is the default, light, and better than resizing and blending."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from torch.utils.flop_counter import FlopCounterMode

from tests.frames import grainy, pixels_of, rgb, same
from vs_videoinr import load
from vs_videoinr.networks import kernels
from vs_videoinr.networks.videoinr.network import VideoINR as Published
from vs_videoinr.networks.videoinr.network import VideoINRConfig
from vs_videoinr.networks.warpinr.network import WarpINR
from vs_videoinr.networks.warpinr.stages import Stage

pytestmark = pytest.mark.vpy("initial-core")

BUNNY = "tests/data/bunny.mp4"


def luma_psnr(ours: vs.VideoNode, truth: vs.VideoNode) -> float:
    """PSNR in dB of all frames' first planes together."""
    errors = [
        float(np.square(np.asarray(a[0]).astype(np.float64) - np.asarray(b[0])).mean())
        for a, b in zip(ours.frames(close=True), truth.frames(close=True), strict=True)
    ]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def test_it_beats_resizing_and_blending_on_a_real_clip(core: Any, request: pytest.FixtureRequest) -> None:
    clip = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[10:31]
    low = clip[::2].resize.Bicubic(clip.width // 2, clip.height // 2, filter_param_a=0, filter_param_b=0.5)
    truth = clip[1:-1:2]
    ours = core.videoinr.Upscale(low, scale=2, factor_num=2)[1:-1:2]
    blend = core.std.Merge(low[:-1], low[1:]).resize.Spline36(clip.width, clip.height)
    assert len(ours) == len(truth) == len(blend) == 10
    assert luma_psnr(ours, truth) > luma_psnr(blend, truth) + 1.0

    sources = core.videoinr.Upscale(low, scale=2)
    enlarged = low.resize.Spline36(clip.width, clip.height)
    assert luma_psnr(sources, clip[::2]) > luma_psnr(enlarged, clip[::2])


@pytest.mark.parametrize(("model", "most"), [("lite", 12), ("standard", 15), ("ensemble", 8)])
def test_a_picture_one_pixel_wide_or_high_is_enlarged(core: Any, model: str, most: int) -> None:
    """As resize does it, but for what a network adds; a column, and the same as a row, also between frames."""
    cells = [core.std.BlankClip(width=1, height=1, format=vs.GRAY8, color=c, length=1) for c in range(20, 161, 20)]
    columns = core.std.StackVertical(cells) + core.std.StackVertical(cells).std.Expr("x 10 +")
    for picture in (columns, columns.std.Transpose(), cells[4] + cells[4].std.Expr("x 10 +")):
        high, wide = picture.height > 1, picture.width > 1
        for width, height in ((1 + 15 * wide, 1 + 15 * high), (3 + 9 * wide, 3 + 9 * high)):
            larger = picture.videoinr.Upscale(width=width, height=height, factor_num=2, model=model)
            truth = picture.resize.Bicubic(width, height, filter_param_a=0, filter_param_b=0.5)
            first, between, second = (pixels[0].astype(int) for pixels in pixels_of(larger, [0, 1, 2]))
            for made, resized in zip((first, second), pixels_of(truth), strict=True):
                assert np.abs(made - resized[0]).max() <= most
            assert np.abs(2 * between - first - second).max() <= 12


def test_what_is_still_stays_still(core: Any, request: pytest.FixtureRequest) -> None:
    """No breathing: where nothing changes, no pixel moves by more than one level of 8 bit, whatever the time.

    Something does change, far away in a corner, so that the frames are not simply taken for repeated.
    """
    clip = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)
    still = clip[20].resize.Bicubic(format=vs.RGBS)
    spot = core.std.AddBorders(
        core.std.BlankClip(still, width=16, height=16, color=[1.0] * 3),
        right=still.width - 16,
        bottom=still.height - 16,
    )
    pair = still + core.std.Expr([still, spot], "y 0 > y x ?")
    moments = core.videoinr.Query(pair, times=[0, 0.25, 0.5, 0.75, 1], scale=2, sc=False)
    frames = [np.stack([np.array(f[p]) for p in range(3)])[:, 160:, 160:] for f in moments.frames(close=True)]
    for frame in frames[1:]:
        assert np.abs(frame - frames[0]).max() * 255 <= 1


def test_fades_of_empty_pictures_stay_empty(core: Any) -> None:
    """Where nothing can be seen no motion can be found, and what is found instead must not show."""
    for first, last in ((0, 2), (0, 40), (128, 136), (255, 200)):
        frames = [core.std.BlankClip(width=256, height=144, format=vs.GRAY8, color=c, length=1) for c in (first, last)]
        times = [0, 0.3, 0.5, 0.8, 1]
        moments = core.videoinr.Query(frames[0] + frames[1], times=times, scale=2, sc=False)
        for t, frame in zip(times, moments.frames(close=True), strict=True):
            assert np.abs(np.asarray(frame[0]) - (first + (last - first) * t)).max() <= 1


def test_a_picture_comes_out_of_black_where_it_is(core: Any, request: pytest.FixtureRequest) -> None:
    """With nothing to be seen in the first frame, what lies between is the second one, darker."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20]
    picture = film.resize.Bicubic(format=vs.RGBS).std.Expr("x 0.1 *")
    black = picture.std.BlankClip()
    for pair, shares in ((black + picture, (0.25, 0.5)), (picture + black, (0.75, 0.5))):
        moments = pair.videoinr.Query(times=[0.25, 0.5, 0, 1], sc=False).frames(close=True)
        *between, start, end = (np.stack([np.array(frame[p]) for p in range(3)]) for frame in moments)
        for seen, share in zip(between, shares, strict=True):
            assert np.abs(seen - share * (start + end)).max() * 255 < 0.5


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize("barred", [False, True])
@pytest.mark.parametrize("grain", [0.0, 0.015])
@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_a_fade_goes_on_to_its_end(
    core: Any, request: pytest.FixtureRequest, barred: bool, grain: float, colour: float
) -> None:
    """From a faint frame to one of a single colour all is even: nothing is held, nothing wanders about.

    Also where the fade begins, and with no frames around these two.
    """
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[10:15].resize.Bicubic(format=vs.RGBS)
    shares = (0.75, 0.5, 0.25, 0, 0)
    clip = core.std.Splice(
        [film[n].std.Expr(f"x {colour} - {share} * {colour} +") for n, share in enumerate(shares)]
    ).std.CropAbs(96, 64, left=40, top=30)
    clip = grainy(clip, grain)
    if barred:
        clip = clip.std.Crop(top=8, bottom=8).std.AddBorders(top=8, bottom=8)
    moments = (0, 0.2, 0.5, 1)
    for source, first in ((clip, 2), (clip.std.Reverse(), 1), (clip[2:4], 0)):
        for scale in (1, 2):
            times = [first + time for time in moments]
            shown = source.videoinr.Query(times=times, scale=scale, sc=len(source) > 2, model="lite")
            start, *between, end = (
                torch.nn.functional.avg_pool2d(torch.from_numpy(rgb(shown, n)), 8) for n in range(len(times))
            )
            assert float((end - start).abs().mean()) > 0.05
            for time, frame in zip(moments[1:-1], between, strict=True):
                ghosts = frame - (start + time * (end - start))
                assert float(ghosts.abs().max()) * 255 < (0.5 if scale == 1 else 6)


def test_bars_above_and_below_stay_as_they_are(core: Any, request: pytest.FixtureRequest) -> None:
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20:22]
    barred = film.std.AddBorders(top=32, bottom=32, color=[16, 128, 128])
    for frame in barred.videoinr.Upscale(scale=2, factor_num=2).frames(close=True):
        for plane, colour, bar in ((0, 16, 48), (1, 128, 24), (2, 128, 24)):
            picture = np.asarray(frame[plane])
            assert (picture[:bar] == colour).all()
            assert (picture[-bar:] == colour).all()
            assert picture[bar:-bar].std() > 1


@pytest.mark.parametrize(("model", "least"), [("lite", (2.6, 2.6, 2.6, 2.6)), ("standard", (3.8, 4, 4, 4))])
def test_edges_of_bars_are_sharp_and_do_not_ring(
    core: Any, request: pytest.FixtureRequest, model: str, least: tuple[float, ...]
) -> None:
    """Wherever they lie between low-resolution pixels, as long as one at least is left of the bar."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20].std.CropAbs(248, 144)
    film = film.resize.Bicubic(format=vs.RGBS)
    for bar, wanted in zip((5, 14, 15, 17), least, strict=True):
        barred = film.std.Crop(bottom=bar).std.AddBorders(bottom=bar)
        low = barred.resize.Bicubic(62, 36, filter_param_a=0, filter_param_b=0.5)
        truth, ours, resized = (
            rgb(clip).clip(0, 1)[:, 144 - bar - 12 : 144 - bar + 12]
            for clip in (barred, low.videoinr.Upscale(scale=4, model=model), low.resize.Spline36(248, 144))
        )
        gain = 10 * np.log10(np.square(resized - truth).mean() / np.square(ours - truth).mean())
        assert gain > wanted


@pytest.mark.parametrize(("model", "least"), [("lite", 1), ("standard", 2)])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_line_along_a_border_is_not_taken_for_a_bar(
    core: Any, request: pytest.FixtureRequest, side: str, model: str, least: float
) -> None:
    """Captures leave black lines narrower than a low-resolution pixel, of which it shows no more than a grey one."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20].std.CropAbs(248, 144)
    film = film.resize.Bicubic(format=vs.RGBS)
    axis, start = {"left": (2, 0), "right": (2, -8), "top": (1, 0), "bottom": (1, -8)}[side]
    for line in (2, 3):
        lined = film.std.Crop(**{side: line}).std.AddBorders(**{side: line})
        low = lined.resize.Bicubic(62, 36, filter_param_a=0, filter_param_b=0.5)
        truth, ours, resized = (
            np.take(rgb(clip).clip(0, 1), range(start, start + 8), axis)
            for clip in (lined, low.videoinr.Upscale(scale=4, model=model), low.resize.Spline36(248, 144))
        )
        gain = 10 * np.log10(np.square(resized - truth).mean() / np.square(ours - truth).mean())
        assert gain > least


def test_a_fade_is_not_taken_for_motion(core: Any, request: pytest.FixtureRequest) -> None:
    """Fading costs what is between frames little: far less than going back to blending would."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[10:15]
    film = film.resize.Bicubic(format=vs.GRAY8)

    def faded(shares: list[float], colour: int = 0, **bars: int) -> vs.VideoNode:
        frames = [film[n].std.Expr(f"x {colour} - {share} * {colour} +") for n, share in enumerate(shares)]
        clip = core.std.Splice(frames)
        return clip.std.Crop(**bars).std.AddBorders(**bars) if bars else clip

    def gain(truth: vs.VideoNode) -> float:
        low = truth[::2].resize.Bicubic(truth.width // 2, truth.height // 2, filter_param_a=0, filter_param_b=0.5)
        ours = low.videoinr.Upscale(scale=2, factor_num=2)[1:-1:2]
        blend = core.std.Merge(low[:-1], low[1:]).resize.Spline36(truth.width, truth.height)
        return luma_psnr(ours, truth[1::2]) - luma_psnr(blend, truth[1::2])

    steady = gain(faded([1.0] * 5))
    assert steady > 2
    for shares in ([1.0, 0.9, 0.8, 0.7, 0.6], [0.2, 0.35, 0.5, 0.65, 0.8]):
        assert gain(faded(shares)) > 0.7 * steady
        assert gain(faded(shares, 255)) > 0.7 * steady
    barred = {"top": 16, "bottom": 16}  # these stay black, whatever becomes of the picture
    assert gain(faded([1.0, 0.9, 0.8, 0.7, 0.6], 255, **barred)) > 0.7 * gain(faded([1.0] * 5, 0, **barred))


def test_a_pan_stays_rigid(core: Any, request: pytest.FixtureRequest) -> None:
    """Of a picture that only moves as a whole, hardly a place moves otherwise, by half a pixel at most."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)
    still = film[5].resize.Bicubic(format=vs.RGBS)
    for x, y in ((4, 2), (8, 0), (12, 6), (1, 0)):
        pair = core.std.CropAbs(still, 160, 104, left=40, top=20) + core.std.CropAbs(
            still, 160, 104, left=40 + x, top=20 + y
        )
        with pair.videoinr.Flow(times=[0.5], data=True).get_frame(0) as frame:
            for plane, truth in ((0, -x / 2), (1, -y / 2)):
                flow = np.asarray(frame[plane])[16:-16, 16:-16]
                low, middle, high = np.quantile(flow, (0.01, 0.5, 0.99))
                assert abs(middle - truth) < 0.25
                assert high - low < 1


@pytest.mark.parametrize(("x", "y", "least"), [(1, 0, 0.88), (3, 1, 0.73), (2, 1, 0.86)])
def test_frames_between_others_are_nearly_as_sharp(
    core: Any, request: pytest.FixtureRequest, x: int, y: int, least: float
) -> None:
    """Half-way through a pan by odd numbers of pixels everything lies between them; that is not to show as a pulse."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20].resize.Bicubic(format=vs.RGBS)
    pan = core.std.Splice([film.std.CropAbs(160, 96, left=40 + x * k, top=20 + y * k) for k in range(2)])
    shown = pan.videoinr.Upscale(factor_num=2, model="lite")

    def energy(n: int) -> float:
        gray = rgb(shown, n).mean(0)
        around = sum(np.roll(gray, step, axis) for axis in (0, 1) for step in (1, -1))
        return float(np.square(4 * gray - around)[8:-8, 8:-8].mean())

    assert 2 * energy(1) > least * (energy(0) + energy(2))


def cost(net: Any, scale: int) -> tuple[float, float]:
    """Multiply-adds per low-resolution pixel to encode and per output pixel, counted by torch, when a clip is played.

    Whatever is done once for a pair, and not for every time between its frames, is counted with the former. What the
    pair before has left behind need not be done again.
    """
    first, second, third = torch.rand(3, 1, 3, 32, 32)
    size = (32 * scale, 32 * scale)
    with torch.no_grad():
        before, own = net.encode(first, second), net.encode(second, third)
        before.with_neighbours(None, own.pair_motion).sample(0.3, size)
        with FlopCounterMode(display=False) as motion:
            net.encode(second, third, previous=before)
        field = own.with_neighbours(before.pair_motion, None)
        with FlopCounterMode(display=False) as encoding:
            field.sample(0.3, size)
        with FlopCounterMode(display=False) as sampling:
            field.sample(0.4, size)
    each = sampling.get_total_flops()
    return (motion.get_total_flops() + encoding.get_total_flops() - each) / 32**2, each / (32 * scale) ** 2


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize(("model", "times"), [("lite", 18), ("standard", 2)])
def test_the_published_size_costs_so_many_times_as_much_or_more(
    model: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To encode; further frames cost it as much again, and our own models nothing but warps."""
    monkeypatch.setattr(kernels, "best", lambda: None)  # nobody counts what these do
    published, network = Published(VideoINRConfig()), load(model)
    for scale in (2, 4):
        theirs, ours = cost(published, scale), cost(network, scale)
        assert ours[0] * times <= theirs[0]
        assert ours[1] == 0 < theirs[1]


@pytest.mark.parametrize(("model", "least"), [("lite", 0.2), ("standard", 1)])
def test_what_is_small_is_followed(core: Any, request: pytest.FixtureRequest, model: str, least: float) -> None:
    """Pieces of a picture, ten by twenty pixels, that go over another part of it are half-way at half time.

    Blended, they would be seen twice; where the flow is not looked for at half size, parts of them are.
    """
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20].resize.Bicubic(format=vs.RGBS)
    back = film.std.CropAbs(160, 96, left=20, top=10)

    def scene(piece: vs.VideoNode, left: int, top: int) -> torch.Tensor:
        around = {"left": left, "top": top, "right": 150 - left, "bottom": 76 - top}
        mask = core.std.BlankClip(piece, format=vs.GRAYS, color=1.0, length=1).std.AddBorders(**around)
        return torch.from_numpy(rgb(core.std.MaskedMerge(back, piece.std.AddBorders(**around), mask)))[None]

    def psnr(made: torch.Tensor, truth: torch.Tensor) -> float:
        return float(-10 * (made - truth)[..., 30:75, 50:95].square().mean().log10())

    network = load(model)
    assert isinstance(network, WarpINR)
    rough = WarpINR(replace(network.config, without=frozenset({Stage.FINE_FLOW}))).requires_grad_(False)
    rough.load_state_dict(network.state_dict())
    gains = []
    for left, top in ((200, 60), (180, 100), (100, 60)):
        piece = film.std.CropAbs(10, 20, left=left, top=top)
        for x, y in ((6, 4), (4, 6)):
            first, truth, last = (scene(piece, 60 + x * k // 2, 40 + y * k // 2) for k in range(3))
            ours, without = (psnr(net.encode(first, last).sample(0.5, (96, 160)), truth) for net in (network, rough))
            gains.append((ours - psnr((first + last) / 2, truth), ours - without))
    over_blend, over_rough = np.mean(gains, 0)
    assert over_blend > 4.5
    assert over_rough > least


def gathering_speed(core: Any, request: pytest.FixtureRequest) -> tuple[vs.VideoNode, vs.VideoNode]:
    """Frames of a picture that has come 0, 4, 16 and 36 pixels; and it, half-way in time between the middle two."""
    film = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20]
    film = film.resize.Bicubic(320, 144, format=vs.RGB24)
    at = {way: film.std.CropAbs(284, 144, left=way) for way in (0, 4, 9, 16, 36)}
    return at[0] + at[4] + at[16] + at[36], at[9]


def test_what_gathers_speed_is_not_half_way_at_half_time(core: Any, request: pytest.FixtureRequest) -> None:
    clip, truth = gathering_speed(core, request)
    alone = luma_psnr(clip[1:3].videoinr.Upscale(factor_num=2)[1], truth)
    assert luma_psnr(clip.videoinr.Upscale(factor_num=2)[3], truth) > alone + 2
    for some, n in ((clip[:3], 3), (clip[1:], 1)):  # at the clip's ends one neighbour has to do
        assert luma_psnr(some.videoinr.Upscale(factor_num=2)[n], truth) > alone
    flow = clip.videoinr.Flow(factor_num=2, data=1, to=0)[3]
    with flow.get_frame(0) as frame:
        assert float(np.median(np.asarray(frame[0]))) == pytest.approx(5, abs=0.5)  # 6 were its motion even


def test_what_is_no_neighbour_says_nothing_of_motion(core: Any, request: pytest.FixtureRequest) -> None:
    """Frames of another scene, and repeated ones."""
    clip, _ = gathering_speed(core, request)
    other = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20]
    other = other.resize.Bicubic(clip.width, clip.height, format=clip.format).std.FlipVertical().std.Invert()
    pair = clip[1:3]
    alone = pixels_of(pair.videoinr.Upscale(factor_num=2), [1])[0]
    for first, last in ((other, other), (pair[0], pair[1])):
        assert same(pixels_of((first + pair + last).videoinr.Upscale(factor_num=2), [3])[0], alone)
    assert not same(pixels_of(clip.videoinr.Upscale(factor_num=2), [3])[0], alone)


def test_what_is_no_neighbour_shows_no_detail(core: Any, request: pytest.FixtureRequest) -> None:
    """Frames of another scene say nothing of a frame that is enlarged, at its own time nor near it."""
    clip, _ = gathering_speed(core, request)
    other = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20]
    other = other.resize.Bicubic(clip.width, clip.height, format=clip.format).std.FlipVertical().std.Invert()
    pair = clip[1:3]
    alone = pixels_of(pair.videoinr.Upscale(scale=1.5, factor_num=2), [0, 1])
    beside = pixels_of((other + pair + other).videoinr.Upscale(scale=1.5, factor_num=2), [2, 3])
    assert all(map(same, beside, alone))
    among = pixels_of(clip.videoinr.Upscale(scale=1.5, factor_num=2), [2, 3])
    assert not any(map(same, among, alone))


def test_neighbours_show_detail_of_a_frame(core: Any, request: pytest.FixtureRequest) -> None:
    """The next, the previous, and most of all both; what lies beyond tells nothing more."""
    clip = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[10:22]
    low = clip.resize.Bicubic(clip.width // 2, clip.height // 2, filter_param_a=0, filter_param_b=0.5)
    inside = range(1, 11, 2)
    truth = core.std.Splice([clip[n] for n in inside])
    three = core.std.Splice([low[n - 1 : n + 3].videoinr.Upscale(scale=2)[1] for n in inside])
    both = core.std.Splice([low[n - 1 : n + 2].videoinr.Upscale(scale=2)[1] for n in inside])
    one = core.std.Splice([low[n : n + 2].videoinr.Upscale(scale=2)[0] for n in inside])
    last = core.std.Splice([low[n - 1 : n + 1].videoinr.Upscale(scale=2)[1] for n in inside])
    none = core.std.Splice([low[n].videoinr.Upscale(scale=2) for n in inside])
    alone, with_next, with_last, with_both, with_three = (
        luma_psnr(some, truth) for some in (none, one, last, both, three)
    )
    assert min(with_next, with_last) > alone + 0.1
    assert with_both > max(with_next, with_last) + 0.1
    assert with_three == with_both


def test_frames_at_uneven_distances_say_nothing_of_motion(
    core: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clip, _ = gathering_speed(core, request)
    alone = pixels_of(clip[1:3].videoinr.Upscale(factor_num=2), [1])[0]
    uneven = [one.std.SetFrameProps(_DurationNum=k, _DurationDen=60) for one, k in zip(clip, (1, 2, 4, 4), strict=True)]
    assert same(pixels_of(core.std.Splice(uneven).videoinr.Upscale(factor_num=2), [3])[0], alone)
    times = tmp_path / "times.txt"
    times.write_text("# timecode format v2\n0\n20\n60\n140\n220\n")
    assert same(pixels_of(clip.videoinr.Query(seconds=[0.04], timecodes=str(times)))[0], alone)


def test_frames_are_the_same_in_any_order(core: Any, request: pytest.FixtureRequest) -> None:
    clip = core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[20:26]
    clip = clip.resize.Bicubic(160, 90)
    order = list(range(12))
    for scale in (1, 1.5):
        forward = pixels_of(clip.videoinr.Upscale(scale=scale, factor_num=2), order)
        back = pixels_of(clip.videoinr.Upscale(scale=scale, factor_num=2), order[::-1])[::-1]
        alone = [pixels_of(clip.videoinr.Upscale(scale=scale, factor_num=2), [n])[0] for n in order]
        assert all(map(same, forward, back))
        assert all(map(same, forward, alone))
