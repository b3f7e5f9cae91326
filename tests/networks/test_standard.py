"""The stronger models in the box: they show more detail than the light one, one of them however a picture is turned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

from tests.networks.test_lite import BUNNY, luma_psnr
from vs_videoinr.weights import catalogue

pytestmark = pytest.mark.vpy("initial-core")


@pytest.fixture
def film(core: Any, request: pytest.FixtureRequest) -> Any:
    return core.bs.VideoSource(str(request.config.rootpath / BUNNY), cachemode=0)[10:17]


def test_each_shows_more_than_the_cheaper_one_at_every_time(core: Any, film: Any) -> None:
    low = film[::2].resize.Bicubic(film.width // 2, film.height // 2, filter_param_a=0, filter_param_b=0.5)

    def score(model: str) -> tuple[float, float]:
        made = core.videoinr.Upscale(low, scale=2, factor_num=2, model=model)[:7]
        return luma_psnr(made[::2], film[::2]), luma_psnr(made[1::2], film[1::2])

    lite, standard, ensemble = score("lite"), score("standard"), score("ensemble")
    assert lite[0] + 0.05 < standard[0] < ensemble[0]
    assert lite[1] < standard[1] < ensemble[1]


def test_a_turned_picture_is_enlarged_to_the_turned_picture(film: Any) -> None:
    """Which only what looks at all eight of them can do."""
    still = film[0].resize.Bicubic(91, 50, format=vs.RGBS)
    ways: list[Callable[[Any], Any]] = [
        lambda clip: clip.std.FlipHorizontal(),
        lambda clip: clip.std.FlipVertical(),
        lambda clip: clip.std.Transpose(),
    ]
    straight = still.videoinr.Upscale(scale=2.5, model="ensemble")
    for way in ways:
        turned = way(still).videoinr.Upscale(scale=2.5, model="ensemble")
        with turned.get_frame(0) as a, way(straight).get_frame(0) as b:
            for plane in range(3):
                assert np.abs(np.asarray(a[plane]) - np.asarray(b[plane])).max() < 1e-3


def test_every_device_has_a_model_of_its_own() -> None:
    assert catalogue.default("cpu") == "lite"
    assert catalogue.default("cuda") == "standard"
    bundled = {model.name: model for model in catalogue.models() if model.origin == "bundled"}
    assert list(bundled) == ["ensemble", "lite", "standard"]
    assert all(model.card().attribution for model in bundled.values())
    # one file of weights for both
    assert bundled["ensemble"].card().weights == "standard"
    assert bundled["ensemble"].card().sha256 == bundled["standard"].card().sha256
    folder = bundled["lite"].folder
    assert {path.name for path in folder.glob("*.safetensors")} == {"lite.safetensors", "standard.safetensors"}
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 6 << 20
