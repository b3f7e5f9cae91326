"""Transparency that a clip carries in `_Alpha` goes the way of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

from tests.frames import pixels_of, props_of, same

pytestmark = pytest.mark.vpy("initial-core", "reloaded-core")


@pytest.fixture
def alpha(moving: Any) -> Any:
    return moving(vs.GRAY8, range=1)


@pytest.fixture
def clip(core: Any, moving: Any, alpha: Any) -> Any:
    return core.std.ClipToProp(moving(vs.YUV420P8), alpha, prop="_Alpha")


def alpha_of(clip: Any) -> Any:
    return vs.core.std.PropToClip(clip, prop="_Alpha")


def test_it_is_enlarged_and_interpolated(clip: Any, alpha: Any, tiny: str) -> None:
    out = clip.videoinr.Upscale(scale=2, factor_num=2, model=tiny)
    found = alpha_of(out)
    assert (found.width, found.height, found.format.id, len(found)) == (32, 24, vs.GRAY8, 10)
    full = vs.core.std.SetFrameProps(alpha, _Range=1)
    expected = pixels_of(full.videoinr.Upscale(scale=2, factor_num=2, model=tiny))
    for n, (one, other) in enumerate(zip(pixels_of(found), expected, strict=True)):
        assert np.abs(one[0].astype(int) - other[0]).max() <= 1, n  # the way back is dithered there
    with out.get_frame(3) as frame, frame.props["_Alpha"] as transparency:
        assert transparency.props["_Range"] == 1


def test_source_frames_keep_theirs(clip: Any, alpha: Any, tiny: str) -> None:
    found = pixels_of(alpha_of(clip.videoinr.Upscale(factor_num=2, model=tiny)))
    source = pixels_of(alpha)
    assert all(same(found[2 * n], source[n]) for n in range(5))
    assert not any(same(found[n], source[n // 2]) for n in (1, 3))


@pytest.mark.parametrize("scale", [1, 2])
def test_cuts_are_those_of_the_picture(core: Any, clip: Any, tiny: str, scale: int) -> None:
    cut = clip[:2] + core.std.SetFrameProps(clip[2], _SceneChangeNext=1) + clip[3:]
    found = pixels_of(alpha_of(cut.videoinr.Upscale(scale=scale, factor_num=2, model=tiny)))
    assert [same(found[n], found[n + 1]) for n in range(0, 8, 2)] == [False, False, True, False]


def test_alpha_of_another_size_is_left_out(core: Any, moving: Any, tiny: str) -> None:
    clip = core.std.ClipToProp(moving(), moving(vs.GRAY8, width=20), prop="_Alpha")
    with clip.videoinr.Upscale(scale=2, model=tiny).get_frame(1) as frame:
        assert "_Alpha" not in frame.props


def test_alpha_that_ends_is_said_so(core: Any, clip: Any, moving: Any, tiny: str) -> None:
    other = core.std.ClipToProp(moving(vs.YUV420P8), moving(vs.GRAY16, range=1), prop="_Alpha")
    for later in (moving(vs.YUV420P8), other):
        out = (clip[:3] + later[3:]).videoinr.Upscale(scale=2, model=tiny)
        out.get_frame(1).close()
        with pytest.raises(vs.Error) as raised:
            out.get_frame(3)
        assert str(raised.value) == (
            "Upscale: frame 3 has no _Alpha like that of the clip's first frame; give it one, or remove all: "
            'clip = core.std.RemoveFrameProps(clip, "_Alpha")'
        )
    assert len(list((clip[:3] + other[3:]).videoinr.Flow(model=tiny).frames(close=True))) == 5


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("factor", [2, 3])
def test_it_fades_over_a_picture_that_rests(core: Any, moving: Any, scale: int, factor: int) -> None:
    still = moving(vs.RGB24)[0] * 4
    levels = core.std.Splice(
        [core.std.BlankClip(format=vs.GRAY8, width=16, height=12, length=1, color=60 * n) for n in range(4)]
    )
    clip = core.std.ClipToProp(still, levels, prop="_Alpha")
    out = clip.videoinr.Upscale(scale=scale, factor_num=factor)
    found = [float(planes[0].mean()) for planes in pixels_of(alpha_of(out))]
    expected = [min(60 * n / factor, 180) for n in range(4 * factor)]
    np.testing.assert_allclose(found, expected, atol=1)
    picture = pixels_of(out)
    assert all(same(frame, picture[0]) for frame in picture)


@pytest.mark.parametrize("scale", [1, 2])
def test_no_frame_has_any_if_the_first_has_none(clip: Any, moving: Any, tiny: str, scale: int) -> None:
    mixed = moving(vs.YUV420P8)[:2] + clip[2:]
    other_size = vs.core.std.ClipToProp(clip, moving(vs.GRAY8, width=20), prop="_Alpha")
    for source in (mixed, other_size):
        out = source.videoinr.Upscale(scale=scale, factor_num=2, model=tiny)
        assert not any("_Alpha" in props for props in props_of(out))
