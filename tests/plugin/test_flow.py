"""Flow shows the motion that frames are made with, as colours or as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

from tests.frames import pixels_of, props_of
from vs_videoinr.rendering.flow_colours import FlowColours

pytestmark = pytest.mark.vpy("initial-core", "reloaded-core")


@pytest.fixture
def pan(core: Any, request: pytest.FixtureRequest) -> Any:
    """Two real frames of which the second is the first, three pixels further to the right and one up."""
    film = core.bs.VideoSource(str(request.config.rootpath / "tests/data/bunny.mp4"), cachemode=0)
    still = film[5].resize.Bicubic(format=vs.RGB24)
    first = core.std.CropAbs(still, 128, 96, left=60, top=20)
    second = core.std.CropAbs(still, 128, 96, left=57, top=21)
    return first + second


def test_numbers_are_output_pixels(pan: Any) -> None:
    there = pan.videoinr.Flow(scale=2, factor_num=2, data=True)
    assert (there.format.id, there.width, there.height, len(there)) == (vs.RGBS, 256, 192, 4)
    back = pan.videoinr.Flow(scale=2, factor_num=2, data=True, to=0)
    for n, t in ((0, 0.0), (1, 0.5)):
        for clip, share in ((there, 1 - t), (back, -t)):
            x, y, rest = pixels_of(clip, [n])[0]
            middle = slice(40, -40), slice(40, -40)
            assert np.median(x[middle]) == pytest.approx(6 * share, abs=0.5)
            assert np.median(y[middle]) == pytest.approx(-2 * share, abs=0.5)
            assert not rest.any()
    assert not np.any(pixels_of(there, [2]))  # after the last frame nothing moves


def test_colours(pan: Any) -> None:
    clip = pan.videoinr.Flow(reach=6)
    assert (clip.format.id, clip.width, clip.height) == (vs.RGB24, 128, 96)
    red, green, blue = (np.median(plane[20:-20, 20:-20]) for plane in pixels_of(clip, [0])[0])
    assert red == 255  # to the right and a little up: between red and violet, at half strength
    assert 100 < green < 150 < blue < 200
    assert np.min(pixels_of(clip, [1])[0]) == 255  # rest is white
    props = props_of(clip)[0]
    assert (props["_Matrix"], props["_Range"], props["_Transfer"], props["_Primaries"]) == (0, 1, 13, 1)


@pytest.mark.vpy("initial-core")
def test_the_wheel() -> None:
    colours = FlowColours(10)
    motion = torch.tensor([[10.0, 0, -10, 0, 0, 20], [0.0, 0, 0, 10, -10, 0]])[:, None]
    right, rest, left, down, up, far = colours(motion)[:, 0].T.tolist()
    assert right == far == [1, 0, 0]
    assert rest == [1, 1, 1]
    assert left == [0, 1, 1]
    assert down == pytest.approx([0.5, 1, 0])
    assert up == pytest.approx([0.5, 0, 1])


def test_any_clip_has_motion(moving: Any, tiny: str) -> None:
    for format_ in (vs.GRAY8, vs.YUV420P10, vs.RGBS):
        clip = moving(format_)
        out = clip.videoinr.Flow(times=[0, 0.5, 3.25], scale=3, model=tiny)
        assert (out.format.id, out.width, len(out)) == (vs.RGB24, 48, 3)
        out.get_frame(1).close()
        assert np.isfinite(pixels_of(clip.videoinr.Flow(data=True, model=tiny), [1])).all()


def test_nothing_moves_over_a_cut(core: Any, request: pytest.FixtureRequest) -> None:
    film = core.bs.VideoSource(str(request.config.rootpath / "tests/data/cuts.mp4"), cachemode=0)
    out = film[22:25].videoinr.Flow(data=True)
    assert np.any(pixels_of(out, [0]))
    assert not np.any(pixels_of(out, [1]))
