"""Every kind of format goes in and comes out again with its own colours, tags and size."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from numpy.typing import NDArray

from tests.frames import pixels_of, rgb, same
from vs_videoinr.networks.warpinr.frame_detail import FrameDetailConfig
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
from vs_videoinr.weights import library

pytestmark = pytest.mark.vpy("unique-core")

INTEGER, FLOAT = vs.INTEGER, vs.FLOAT
FORMATS = [
    *((vs.RGB, INTEGER, bits, 0, 0) for bits in (8, 10, 16)),
    *((vs.RGB, FLOAT, bits, 0, 0) for bits in (16, 32)),
    *((vs.GRAY, INTEGER, bits, 0, 0) for bits in (8, 12, 16)),
    *((vs.GRAY, FLOAT, bits, 0, 0) for bits in (16, 32)),
    *((vs.YUV, INTEGER, bits, 1, 1) for bits in (8, 9, 10, 12, 14, 16)),
    *((vs.YUV, INTEGER, 8, w, h) for w, h in ((0, 0), (1, 0), (0, 1), (2, 0), (2, 2))),
    *((vs.YUV, FLOAT, bits, w, h) for bits in (16, 32) for w, h in ((0, 0), (1, 1))),
]


def colour_props(clip: Any, n: int) -> dict[str, int]:
    names = ("_Matrix", "_Range", "_ChromaLocation", "_Primaries", "_Transfer")
    with clip.get_frame(n) as frame:
        return {name: int(frame.props[name]) for name in names if name in frame.props}


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: f"{kind[0].name}-{kind[1].name}{kind[2]}-{kind[3]}{kind[4]}")
def test_every_format_gives_the_same_picture(core: Any, moving: Any, tiny: str, kind: tuple[Any, ...]) -> None:
    format_ = core.query_video_format(*kind)
    clip = moving(format_.id, width=16, height=16)
    out = core.videoinr.Upscale(clip, scale=2, factor_num=2, model=tiny)
    assert (out.format.id, out.width, out.height, len(out)) == (format_.id, 32, 32, 10)

    # The same picture, given to the network in its own format: what is left is the rounding of the way back.
    direct_in = clip.resize.Bicubic(format=vs.GRAYS if kind[0] == vs.GRAY else vs.RGBS)
    direct = core.videoinr.Upscale(direct_in, scale=2, factor_num=2, model=tiny)
    back = direct.resize.Bicubic(format=format_.id, **({"matrix": 1} if kind[0] == vs.YUV else {}))
    step = 2 / (1 << min(kind[2], 10)) if kind[1] == INTEGER else 2e-3
    for n in (0, 3):
        assert np.abs(rgb(out, n) - rgb(back, n)).mean() < step


def test_gray_is_shown_to_the_network_three_times(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.GRAYS)
    three = core.std.ShufflePlanes([clip, clip, clip], [0, 0, 0], vs.RGB)
    three = core.std.RemoveFrameProps(three, "_Matrix")
    gray = core.videoinr.Upscale(clip, scale=2, model=tiny)
    expected = rgb(core.videoinr.Upscale(three, scale=2, model=tiny)).mean(0)
    np.testing.assert_allclose(rgb(gray)[0], expected, atol=1e-6)


@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("full", [0, 1])
def test_colours_survive(core: Any, tiny: str, moving: Any, matrix: int, full: int) -> None:
    clip = moving(vs.YUV444P16, matrix=matrix, range=full)
    other = moving(vs.RGBS)
    out = core.videoinr.Upscale(clip, scale=2, model=tiny)
    assert colour_props(out, 0)["_Matrix"] == matrix
    assert colour_props(out, 0)["_Range"] == full
    # From the same RGB the network makes the same picture, so that it must come out of the YUV again.
    np.testing.assert_allclose(rgb(out), rgb(core.videoinr.Upscale(other, scale=2, model=tiny)), atol=4e-3)


@pytest.mark.parametrize("location", range(6))
def test_chroma_stays_where_it_is(core: Any, moving: Any, tiny: str, location: int) -> None:
    clip = moving(vs.YUV420P16, chromaloc=location)
    out = core.videoinr.Upscale(clip, scale=2, model=tiny)
    assert colour_props(out, 0)["_ChromaLocation"] == location
    planes = clip.resize.Bicubic(format=vs.RGBS)
    expected = core.videoinr.Upscale(planes, scale=2, model=tiny).resize.Bicubic(
        format=vs.YUV420P16, matrix=1, chromaloc=location, dither_type="error_diffusion"
    )
    with out.get_frame(2) as one, expected.get_frame(2) as other:
        for plane in range(3):
            assert np.array_equal(np.asarray(one[plane]), np.asarray(other[plane]))


def test_tags_that_are_missing_stay_missing_and_others_are_kept(core: Any, moving: Any, tiny: str) -> None:
    clip = core.std.RemoveFrameProps(
        moving(vs.YUV420P8), ["_Range", "_ChromaLocation", "_Primaries", "_Transfer", "_ColorRange"]
    )
    assert colour_props(core.videoinr.Upscale(clip, scale=2, model=tiny), 1) == {"_Matrix": 1}
    tagged = core.std.SetFrameProps(clip, _Primaries=9, _Transfer=18, _Range=1)
    assert colour_props(core.videoinr.Upscale(tagged, scale=2, model=tiny), 1) == {
        "_Matrix": 1,
        "_Range": 1,
        "_Primaries": 9,
        "_Transfer": 18,
    }


def test_tags_that_change_within_the_clip(core: Any, moving: Any, tiny: str) -> None:
    """Each frame is read by its own tags; what is rendered comes out with the first frame's, and says so."""
    first, later = moving(vs.YUV444P16, matrix=1), moving(vs.YUV444P16, matrix=6, range=1)
    clip = first[:2] + later[2:]
    out = core.videoinr.Upscale(clip, scale=2, model=tiny)
    assert [colour_props(out, n)["_Matrix"] for n in range(5)] == [1] * 5
    assert [colour_props(out, n)["_Range"] for n in range(5)] == [0] * 5
    expected = core.videoinr.Upscale(moving(vs.RGBS), scale=2, model=tiny)
    for n in range(5):
        np.testing.assert_allclose(rgb(out, n), rgb(expected, n), atol=4e-3)


def test_limited_rgb_and_gray(core: Any, moving: Any, tiny: str) -> None:
    for format_ in (vs.RGB48, vs.GRAY16):
        full = moving(format_, **({} if format_ == vs.RGB48 else {"range": 1}))
        limited = (
            full.resize.Bicubic(range=0) if format_ == vs.GRAY16 else full.resize.Bicubic(format=vs.RGB48, range=0)
        )
        one = core.videoinr.Upscale(full, scale=2, model=tiny)
        other = core.videoinr.Upscale(limited, scale=2, model=tiny)
        assert (colour_props(one, 0)["_Range"], colour_props(other, 0)["_Range"]) == (1, 0)
        np.testing.assert_allclose(rgb(one), rgb(other), atol=1e-3)


def test_gray_with_any_matrix(core: Any, moving: Any, tiny: str) -> None:
    for matrix in (0, 1, 2):
        clip = core.std.SetFrameProps(moving(vs.GRAY8), _Matrix=matrix)
        out = core.videoinr.Upscale(clip, scale=2, model=tiny)
        assert colour_props(out, 4)["_Matrix"] == matrix


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (3, 7), (17, 5), (4, 33)])
def test_odd_sizes(core: Any, tiny: str, width: int, height: int) -> None:
    clip = core.std.BlankClip(width=width, height=height, format=vs.RGB24, length=2, color=[90, 120, 30])
    out = core.videoinr.Upscale(clip, scale=1.7, factor_num=2, model=tiny)
    assert (out.width, out.height) == (int(width * 17 + 5) // 10, int(height * 17 + 5) // 10)
    for frame in out.frames(close=True):
        assert frame.width == out.width


def test_integers_are_dithered(core: Any, tiny: str) -> None:
    """A ramp finer than 8 bits keeps its mean: error diffusion, not rounding."""
    clip = core.std.BlankClip(width=32, height=32, format=vs.RGB48, length=1, color=[20000, 20000, 20000])
    eight = clip.resize.Bicubic(format=vs.RGB24, dither_type="error_diffusion")
    with eight.get_frame(0) as frame:
        assert len(np.unique(np.asarray(frame[0]))) > 1
    out = core.videoinr.Upscale(eight, scale=2, model=tiny)
    exact = core.videoinr.Upscale(eight.resize.Bicubic(format=vs.RGBS), scale=2, model=tiny)
    with out.get_frame(0) as frame:
        dithered = np.asarray(frame[0], dtype=np.float64).mean() / 255
    assert abs(dithered - rgb(exact)[0].mean()) < 2e-4


@pytest.fixture(scope="module")
def neutral(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that adds nothing: at scale 1 every frame comes out as it went in, but for the formats' rounding."""
    with torch.random.fork_rng(devices=[]):  # flows at random, but the same every time
        torch.manual_seed(3)
        detail = FrameDetailConfig(width=8, blocks=1)
        network = WarpINR(WarpINRConfig(levels=(8, 8), hidden=8, radius=1, detail=detail))
    with torch.no_grad():
        for parameter in network.detail.parameters():
            parameter.zero_()
    return str(library.save(network, tmp_path_factory.mktemp("models"), "neutral").weights)


#: Frames: so little after a source frame that nothing shows it, and far enough for the network to make the frame.
JUST_AFTER = 2**-18


def integers_or_floats(clip: Any, n: int) -> list[NDArray[np.float64]]:
    with clip.get_frame(n) as frame:
        return [np.asarray(frame[plane]).astype(np.float64) for plane in range(frame.format.num_planes)]


@pytest.mark.parametrize(
    ("kind", "full"),
    [(kind, full) for kind in FORMATS for full in (0, 1) if full or kind[0] != vs.RGB],  # RGB has the full range
    ids=lambda of: f"{of[0].name}-{of[1].name}{of[2]}-{of[3]}{of[4]}" if isinstance(of, tuple) else f"range{of}",
)
def test_the_way_through_rgb_costs_no_more_than_rounding(
    core: Any, moving: Any, neutral: str, kind: tuple[Any, ...], full: int
) -> None:
    format_ = core.query_video_format(*kind)
    clip = moving(format_.id, **({} if kind[0] == vs.RGB else {"range": full}))
    out = core.videoinr.Query(clip, times=[n + JUST_AFTER for n in range(4)], model=neutral)
    step = 1.0 if kind[1] == INTEGER else 1e-3 if kind[2] == 16 else 1e-5
    for n in range(4):
        for one, source in zip(integers_or_floats(out, n), integers_or_floats(clip, n), strict=True):
            assert np.abs(one - source).max() <= step


def in_columns(core: Any, format_: int, **props: int) -> Any:
    """Two frames of flat columns, 16 pixels wide: levels and colours of all kinds, many of which are none in RGB."""
    whole = core.get_video_format(format_)
    top, neutral = (1 << whole.bits_per_sample, 0) if whole.sample_type == INTEGER else (1, 0.5)
    columns = [
        core.std.BlankClip(
            format=format_, width=16, height=8, length=1,
            color=[luma * top, (u - neutral) * top, (v - neutral) * top],
        )
        for luma, u, v in itertools.product((0.01, 0.6, 0.98), (0.02, 0.5, 0.9), (0.05, 0.97))
    ]  # fmt: skip
    there, back = core.std.StackHorizontal(columns), core.std.StackHorizontal(columns[::-1])
    return core.std.SetFrameProps(there + back, **props)


def levels_of_columns(clip: Any, n: int) -> list[NDArray[np.float64]]:
    """What a frame of `in_columns` has in the middle of its columns: for every plane (rows, columns)."""
    columns = [plane.reshape(len(plane), 18, -1) for plane in integers_or_floats(clip, n)]
    return [column[:, :, column.shape[2] // 2] for column in columns]


@pytest.mark.parametrize("matrix", [10, 12, 13, 14])  # constant luminance, what is derived from primaries, ICtCp
@pytest.mark.parametrize(
    "format_",
    [vs.YUV444P8, vs.YUV420P10, vs.YUV444P16, vs.YUV420PS],
    ids=lambda of: vs.PresetVideoFormat(of).name,
)
def test_no_colour_is_lost_where_rgb_is_reached_through_light(
    core: Any, neutral: str, format_: int, matrix: int
) -> None:
    step = {INTEGER: 1.0, FLOAT: 1e-5}[core.get_video_format(format_).sample_type]
    for scale, props in ((1, {"_Primaries": 9, "_Transfer": 16}), (1, {}), (2, {"_Transfer": 14, "_Range": 1})):
        clip = in_columns(core, format_, _Matrix=matrix, **props)
        out = core.videoinr.Query(clip, times=[JUST_AFTER], scale=scale, sc=False, model=neutral)
        assert colour_props(out, 0) == {"_Matrix": matrix, **props}
        for shown, source in zip(levels_of_columns(out, 0), levels_of_columns(clip, 0), strict=True):
            assert np.abs(shown - source[:1]).max() <= step


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(
    ("matrix", "other", "transfer"), [(10, 9, 14), (9, 10, 14), (13, 10, 1), (1, 13, 1), (14, 9, 16), (9, 14, 16)]
)
def test_colours_stay_where_the_way_to_rgb_changes_within_the_clip(
    core: Any, neutral: str, matrix: int, other: int, transfer: int, scale: int
) -> None:
    colours = itertools.product((0.2, 0.5, 0.8), (0.3, 0.45, 0.7), (0.3, 0.6))
    columns = [core.std.BlankClip(format=vs.RGBS, width=16, height=8, length=4, color=[*colour]) for colour in colours]
    tags = {"_Primaries": 9, "_Transfer": transfer}
    flat = core.std.SetFrameProps(core.std.StackHorizontal(columns), **tags)
    clip, later = (flat.resize.Bicubic(format=vs.YUV444P16, matrix=one, range=one == 9) for one in (matrix, other))
    out = core.videoinr.Upscale(clip[:2] + later[2:], scale=scale, factor_num=2, model=neutral)
    for n in range(len(out)):
        assert colour_props(out, n) == colour_props(clip, 0)
        for shown, source in zip(levels_of_columns(out, n), levels_of_columns(clip, 0), strict=True):
            assert np.abs(shown - source[:1]).max() <= 64
    assert scale == 2 or same(*pixels_of(out, [2]), *pixels_of(clip, [1]))


def test_high_dynamic_range_keeps_levels_and_tags(core: Any, neutral: str) -> None:
    for transfer in (16, 18):  # PQ, HLG
        clip = core.std.BlankClip(format=vs.YUV420P10, width=32, height=16, length=2, color=[721, 480, 560])
        clip = core.std.SetFrameProps(clip, _Matrix=9, _Primaries=9, _Transfer=transfer, _Range=0, _ChromaLocation=2)
        clip = clip[0] + core.std.AddBorders(core.std.CropAbs(clip[1], 16, 16), left=16, color=[64, 512, 512])
        out = core.videoinr.Query(clip, times=[JUST_AFTER], scale=2, model=neutral)
        assert colour_props(out, 0) == {
            "_Matrix": 9, "_Primaries": 9, "_Transfer": transfer, "_Range": 0, "_ChromaLocation": 2,
        }  # fmt: skip
        for plane, level in zip(integers_or_floats(out, 0), (721, 480, 560), strict=True):
            assert np.abs(plane - level).max() <= 1


@pytest.mark.parametrize("at", ["a source time", "a time between"])
def test_what_is_whiter_than_white_survives(core: Any, neutral: str, at: str) -> None:
    flat = core.std.BlankClip(format=vs.YUV444P10, width=32, height=16, length=1, color=[400, 512, 512])
    clips = []
    for left in (8, 10):
        white = core.std.AddBorders(
            core.std.BlankClip(flat, width=8, height=16, color=[1015, 512, 512]), left=left, right=24 - left,
            color=[10, 512, 512],
        )  # fmt: skip
        clips.append(white)
    clip = core.std.SetFrameProps(clips[0] + clips[1], _Matrix=1, _Range=0)
    out = core.videoinr.Query(clip, times=[0 if at == "a source time" else JUST_AFTER], scale=2, model=neutral)
    luma = integers_or_floats(out, 0)[0]
    assert np.abs(luma[:, 20:28] - 1015).max() <= 2
    assert np.abs(luma[:, :8] - 10).max() <= 2
    assert np.abs(luma[:, 44:] - 10).max() <= 2


def test_light_beyond_one_moves_with_the_picture(core: Any, request: pytest.FixtureRequest) -> None:
    """Half way through a pan a bright lamp is in the middle of its way, once, and not at both ends."""
    film = core.bs.VideoSource(str(request.config.rootpath / "tests/data/bunny.mp4"), cachemode=0)
    still = film[5].resize.Bicubic(format=vs.RGBS)
    lamp = core.std.AddBorders(
        core.std.BlankClip(still, width=8, height=8, length=1, color=[5.0] * 3, keep=True),
        left=100, right=still.width - 108, top=60, bottom=still.height - 68,
    )  # fmt: skip
    lit = core.std.Expr([still, lamp], "y 1 > y x ?")
    clip = core.std.CropAbs(lit, 128, 96, left=60, top=20) + core.std.CropAbs(lit, 128, 96, left=56, top=20)
    middle = rgb(core.videoinr.Query(clip, times=[0.5]))[0]
    row = middle[42:46].mean(0)  # the lamp's
    assert row[43:49].min() > 4
    assert row[:40].max() < 1.5
    assert row[52:].max() < 1.5


def test_numbers_that_are_none_do_not_spread(core: Any, neutral: str) -> None:
    clip = core.std.BlankClip(format=vs.RGBS, width=16, height=16, length=1, color=[0.5] * 3)
    bad = core.std.Expr(clip, ["x 0 /", "0 0 /", ""])  # infinity and NaN
    spoilt = core.std.StackHorizontal([clip, core.std.CropAbs(bad, 2, 16), clip])
    out = rgb(core.videoinr.Upscale(spoilt, scale=2, model=neutral))
    assert np.isfinite(out).all()
    assert np.abs(out[:, :, :26] - 0.5).max() < 1e-3


SUBSAMPLED = [vs.YUV420P8, vs.YUV422P8, vs.YUV411P8, vs.YUV440P8, vs.YUV420P10, vs.YUV422P16, vs.YUV420PH, vs.YUV420PS]


def test_chroma_of_a_film_does_not_pulse(core: Any, request: pytest.FixtureRequest) -> None:
    """Next to a source frame a frame looks like that one, in which nothing has been through RGB."""
    film = core.bs.VideoSource(str(request.config.rootpath / "tests/data/bunny.mp4"), cachemode=0)
    for clip in (film, film.resize.Bicubic(format=vs.YUV422P10)):
        step = 1 << clip.format.bits_per_sample - 8
        for plane, source in zip(
            integers_or_floats(core.videoinr.Query(clip, times=[10.0001]), 0), integers_or_floats(clip, 10), strict=True
        ):
            assert np.abs(plane - source).max() <= step
            assert np.abs(plane - source).mean() < 0.02 * step


@pytest.mark.parametrize("location", [0, 2])
def test_chroma_moves_with_the_picture(core: Any, request: pytest.FixtureRequest, location: int) -> None:
    """Half way through a pan the picture is the same in a place between, down to the edges of its colours."""
    film = core.bs.VideoSource(str(request.config.rootpath / "tests/data/bunny.mp4"), cachemode=0)
    still = core.std.SetFrameProps(film[5], _ChromaLocation=location)
    pan = [core.std.CropAbs(still, 128, 96, left=left, top=20) for left in (60, 58, 56)]
    middle = core.videoinr.Query(pan[0] + pan[2], times=[0.5])
    for plane, truth in zip(integers_or_floats(middle, 0)[1:], integers_or_floats(pan[1], 0)[1:], strict=True):
        assert np.abs(plane - truth)[4:-4, 8:-8].max() <= 3


@pytest.mark.parametrize("model", ["lite", "standard"])
@pytest.mark.parametrize("format_", SUBSAMPLED, ids=lambda of: vs.PresetVideoFormat(of).name)
def test_what_rests_beside_what_moves_is_always_the_same(core: Any, format_: int, model: str) -> None:
    """To the bit; but `lite` finds a bit of motion where there is none, of less than half a level of 8 bit."""
    colours = [[230, 20, 20], [20, 20, 230], [20, 230, 20], [230, 230, 20], [200, 20, 200], [10, 10, 10]]
    bars = core.std.StackHorizontal(
        [core.std.BlankClip(format=vs.RGB24, width=16, height=64, length=1, color=colour) for colour in colours]
    )
    square = core.std.BlankClip(bars, width=16, height=16, color=[255, 120, 0])
    frames = [core.std.AddBorders(square, left=24 + 4 * n, right=56 - 4 * n, top=32, bottom=16) for n in range(3)]
    clip = core.std.Splice([core.std.Expr([bars, frame], "y 0 = x y ?") for frame in frames])
    clip = clip.resize.Bicubic(format=format_, matrix=1)
    out = core.videoinr.Upscale(clip, factor_num=3, model=model)
    most = 0.5 / 255 if model == "lite" and clip.format.sample_type == vs.FLOAT else 0
    source = integers_or_floats(clip, 0)
    moved = [np.abs(plane - other) > 0 for plane, other in zip(source, integers_or_floats(clip, 2), strict=True)]
    for n in range(7):
        for plane, (shown, still) in enumerate(zip(integers_or_floats(out, n), source, strict=True)):
            rows = np.flatnonzero(moved[plane].any(axis=1))
            height = 64 >> (clip.format.subsampling_h if plane else 0)
            margin = height // 8
            rests = np.ones_like(moved[plane])
            rests[rows.min() - margin : rows.max() + margin + 1] = False
            assert rests.any()
            assert np.abs(shown[rests] - still[rests]).max() <= most, (n, plane)


@pytest.mark.parametrize("kind", [vs.YUV444P16, vs.YUV420P16, vs.YUV444PS, vs.GRAY16])
def test_source_frames_of_another_coding_are_brought_to_the_first_frames(
    core: Any, moving: Any, neutral: str, kind: int
) -> None:
    """Only the rate changes, and source frames pass; but not those that would have to be read in another way."""
    gray = core.get_video_format(kind).color_family == vs.GRAY
    first = moving(kind, **({"range": 1} if gray else {"matrix": 1}))
    later = moving(kind, **({"range": 0} if gray else {"matrix": 6, "range": 1, "chromaloc": 2}))
    out = core.videoinr.Upscale(first[:2] + later[2:], factor_num=2, model=neutral)
    plain = core.videoinr.Upscale(first, factor_num=2, model=neutral)
    for n in range(len(out)):
        assert colour_props(out, n) == colour_props(plain, n)
        off = np.abs(rgb(out, n) - rgb(plain, n))
        assert off.mean() < (2e-2 if kind == vs.YUV420P16 else 4e-3)  # chroma brought to another place is softer
        assert kind == vs.YUV420P16 or off.max() < 4e-3
    for n in range(2):
        for one, source in zip(integers_or_floats(out, 2 * n), integers_or_floats(first, n), strict=True):
            assert np.array_equal(one, source)
