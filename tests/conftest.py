"""What the tests share: a real network of the smallest size, and clips in which something moves.

Every test that touches a core carries `pytest.mark.vpy`, so that vsengine gives it an environment of its own and fails
the run if a node, a frame or the core outlives it; the `core` fixture insists on that.
"""

from __future__ import annotations

import os

# Before torch is imported. Tests are many small calls, often beside other work: teams of threads would only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vapoursynth as vs
from hypothesis import settings

import vs_videoinr
from vs_videoinr.networks.videoinr.network import VideoINR, VideoINRConfig
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo, ZoomingSlowMoConfig
from vs_videoinr.weights import library

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

Clips = Callable[..., Any]


def pytest_report_header() -> str:
    """Say what is tested: `pytest` takes the installed package, `python -m pytest` the checkout's Python."""
    return f"vs_videoinr: {Path(vs_videoinr.__file__).parent}"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a checkpoint: VideoINR as published, but of the smallest size and untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20221123)
        network = VideoINR(
            VideoINRConfig(
                channels=4,
                groups=2,
                front_blocks=1,
                back_blocks=1,
                continuous_channels=4,
                spatial_hidden=(8,),
                temporal_hidden=(8,),
                colour_hidden=(8,),
            )
        )
    folder = tmp_path_factory.mktemp("models")
    return str(library.save(network, folder, "tiny").weights)


@pytest.fixture(scope="session")
def zooming(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a checkpoint: Zooming Slow-Mo as published, but of the smallest size and untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20200331)
        network = ZoomingSlowMo(ZoomingSlowMoConfig(channels=4, groups=2, front_blocks=1, back_blocks=1))
    torch.nn.init.constant_(network.conv_last.bias, 0.5)  # type: ignore[arg-type]
    return str(library.save(network, tmp_path_factory.mktemp("models"), "zooming").weights)


@pytest.fixture(scope="session")
def zig_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Zig keeps the parts of the C libraries that it has compiled: ZIG_GLOBAL_CACHE_DIR.

    One for all of pytest-xdist's workers, whose folders lie side by side: those parts take a minute.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return os.environ.get("ZIG_GLOBAL_CACHE_DIR") or str(folder / "zig")


@pytest.fixture
def core(request: pytest.FixtureRequest) -> Any:
    """VapourSynth's core of this test's environment."""
    assert request.node.get_closest_marker("vpy"), "a test that uses a core needs pytest.mark.vpy"
    return vs.core.core


@pytest.fixture
def moving(core: Any) -> Clips:
    """Make a clip: a square that walks over stripes. RGB24 unless a format is given; YUV is BT.709."""

    def make(
        format: int = vs.RGB24,  # noqa: A002
        length: int = 5,
        width: int = 16,
        height: int = 12,
        fps: tuple[int, int] = (24, 1),
        **conversion: Any,
    ) -> Any:
        rate = {"length": length, "fpsnum": fps[0], "fpsden": fps[1]}
        left = core.std.BlankClip(format=vs.RGB24, width=width // 2, height=height, color=[40, 90, 160], **rate)
        right = core.std.BlankClip(left, width=width - width // 2, color=[200, 120, 60])
        square = core.std.BlankClip(left, width=4, height=4, length=1, color=[250, 240, 20])
        above = height // 2 - 2
        below = height - 4 - above
        steps = [n % (width - 3) for n in range(length)]
        walk = core.std.Splice(
            [core.std.AddBorders(square, left=x, right=width - 4 - x, top=above, bottom=below) for x in steps]
        )
        clip = core.std.Expr([core.std.StackHorizontal([left, right]), walk], "y 0 = x y ?")
        if format != vs.RGB24:
            if core.get_video_format(format).color_family != vs.RGB:
                conversion.setdefault("matrix", 1)
            clip = core.resize.Bicubic(clip, format=format, **conversion)
        return clip

    return make
