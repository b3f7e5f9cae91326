"""One process: loading, two cores, scripts that are evaluated again, and its end in any order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vapoursynth as vs
from vsengine.policy import ManagedEnvironment

from vs_videoinr.networks.videoinr.network import VideoINR, VideoINRConfig
from vs_videoinr.weights import library

EnvironmentFactory = Callable[[], ManagedEnvironment]


def run(script: str, *arguments: str) -> str:
    """Run a Python script in a process of its own that has to end well and silently; return what it prints."""
    command = [sys.executable, "-P", "-X", "faulthandler", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_loading_is_quick_and_imports_nothing() -> None:
    script = """
import sys, time
import vapoursynth as vs
from vsengine.policy import GlobalStore, Policy
before = set(sys.modules)
with Policy(GlobalStore(), flags_creation=vs.CoreCreationFlags.DISABLE_AUTO_LOADING) as policy:
    with policy.new_environment() as environment, environment.use():
        start = time.perf_counter()
        vs.core.std.LoadPlugin(sys.argv[1])
        print(time.perf_counter() - start)
        assert vs.core.videoinr.Upscale.signature
        assert set(sys.modules) == before, set(sys.modules) - before
"""
    (library,) = Path(vs.__file__).parent.glob("plugins/videoinr/libvideoinr.*")
    assert min(float(run(script, str(library))) for _ in range(3)) < 0.005


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(), reason="needs huge pages on request"
)
def test_pictures_lie_in_huge_pages() -> None:
    """To get their memory page by page, for every layer anew, would take much of the time to make them."""
    script = """
import vapoursynth as vs
vs.core.videoinr.Version()
import torch
picture = torch.ones(1 << 24)
fields = dict(line.split(":") for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
print(fields["AnonHugePages"].split()[0])
"""
    assert int(run(script)) > 0


@pytest.mark.vpy("no-core")
def test_two_cores_overlap(vpy_env_factory: EnvironmentFactory, tiny: str) -> None:
    def make() -> Any:
        clip = vs.core.std.BlankClip(width=16, height=16, format=vs.RGBS, length=4, fpsnum=24)
        return vs.core.videoinr.Upscale(clip, scale=2, fps_num=60, model=tiny)

    first, second = vpy_env_factory(), vpy_env_factory()
    with first.use():
        one = make()
        waiting = one.get_frame_async(9)
    with second.use():
        other = make()
        late = other.get_frame_async(9)
    waiting.result().close()
    late.result().close()
    del one, waiting
    first.dispose()
    with second.use():
        other.get_frame(3).close()
        other = late = None


@pytest.mark.vpy("no-core")
def test_a_script_is_evaluated_again_and_again(vpy_env_factory: EnvironmentFactory, tiny: str) -> None:
    seen = set()
    for _ in range(6):
        environment = vpy_env_factory()
        with environment.use():
            clip = vs.core.std.BlankClip(
                width=16, height=16, format=vs.RGBS, length=4, fpsnum=24, color=[0.2, 0.5, 0.7]
            )
            out = vs.core.videoinr.Upscale(clip, scale=2, fps_num=60, model=tiny)
            with out.get_frame(5) as frame:
                seen.add(bytes(frame[0]))
            del clip, out
        environment.dispose()
    assert len(seen) == 1


MAKE = """
import sys, threading
import vapoursynth as vs
core = vs.core
dark, bright = (
    core.std.BlankClip(width=64, height=64, format=vs.RGBS, length=1000, fpsnum=12, color=[level] * 3, keep=True)
    for level in (0.25, 0.5)
)
clip = core.std.Interleave([dark, bright])  # no frame repeats the one before, so that every one is made
out = core.videoinr.Upscale(clip, scale=3, fps_num=60, sc=False, model=sys.argv[1])
"""

ENDS = {
    "nothing was rendered": "",
    "a frame is held": "frame = out.get_frame(3)",
    "frames are on their way": "out.get_frame(0)\nwaiting = [out.get_frame_async(n) for n in range(20)]",
    "frames are on their way and nobody waits": "for n in range(20): out.get_frame_async(n)",
    "a thread waits for a frame": """
def wait():
    try:
        out.get_frame(9)
    except vs.Error:
        pass
threading.Thread(target=wait, daemon=True).start()
""",
    "the core goes first": "out.get_frame(3)\ndel core, clip",
}


@pytest.mark.parametrize("last", ENDS.values(), ids=ENDS.keys())
def test_the_end_in_any_order(tiny: str, last: str) -> None:
    assert run(MAKE + last, tiny) == ""


@pytest.fixture(params=["encoder", "decoder"])
def slow(request: pytest.FixtureRequest, tiny: str, tmp_path: Path) -> tuple[str, int, int]:
    """Model, size of a square clip, and scale, with which a frame takes a minute, nearly all of it in that part."""
    if request.param == "decoder":
        return tiny, 64, 100
    sizes = VideoINRConfig(channels=16, groups=2, front_blocks=400, back_blocks=1, colour_hidden=(8,))
    return str(library.save(VideoINR(sizes), tmp_path, "slow").weights), 512, 1


def test_a_long_frame_is_abandoned_at_the_end(slow: tuple[str, int, int]) -> None:
    script = """
import sys, time
import vapoursynth as vs
model, size, scale = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
clip = vs.core.std.BlankClip(width=size, height=size, format=vs.RGBS, length=2, fpsnum=24)
clip = clip[0] + vs.core.std.BlankClip(clip, color=[0.01] * 3)  # not a repeated frame, which would cost nothing
out = vs.core.videoinr.Upscale(clip, scale=scale, factor_num=2, model=model, device="cpu")
waiting = out.get_frame_async(1)
time.sleep(1)
"""
    start = time.monotonic()
    run(script, *map(str, slow))
    assert time.monotonic() - start < 20


@pytest.mark.vpy("no-core")
def test_long_frames_do_not_keep_a_window_open(
    vpy_env_factory: EnvironmentFactory, slow: tuple[str, int, int], tiny: str
) -> None:
    model, size, scale = slow
    going, staying = vpy_env_factory(), vpy_env_factory()
    with staying.use():
        clip = vs.core.std.BlankClip(width=16, height=16, format=vs.RGBS, length=2, fpsnum=24)
        other = vs.core.videoinr.Upscale(clip, scale=2, factor_num=2, model=tiny, device="cpu")
    with going.use():
        clip = vs.core.std.BlankClip(width=size, height=size, format=vs.RGBS, length=5, fpsnum=24)
        clip = vs.core.std.Interleave([clip, vs.core.std.BlankClip(clip, color=[0.01] * 3)])  # no repeated frames
        out = vs.core.videoinr.Upscale(clip, scale=scale, factor_num=2, model=model, device="cpu")
        waiting = [out.get_frame_async(n) for n in (1, 3, 5)]
    time.sleep(1)
    with staying.use():
        late = other.get_frame_async(1)
    del out, clip
    start = time.monotonic()
    going.dispose()
    assert time.monotonic() - start < 10
    for future in waiting:
        assert "abandoned, the filter is being freed" in str(future.exception())
    late.result(timeout=30).close()  # what another script waits for comes
    with staying.use():
        other = late = None


def test_the_worker_ends_with_the_last_filter(tiny: str) -> None:
    script = """
import gc, sys, threading, time
import vapoursynth as vs
def names():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("videoinr")]
clip = vs.core.std.BlankClip(width=16, height=16, format=vs.RGBS, length=2)
one = vs.core.videoinr.Upscale(clip, scale=2, model=sys.argv[1], device="cpu")
other = vs.core.videoinr.Upscale(clip, scale=3, model=sys.argv[1], device="cpu")
one.get_frame(0).close(), other.get_frame(0).close()
assert names() == ["videoinr-cpu"], names()
del one, other
gc.collect()
for _ in range(100):
    if not names():
        break
    time.sleep(0.05)
print(names())
"""
    assert run(script, tiny) == "[]\n"


def test_two_filters_share_their_weights(tiny: str) -> None:
    script = """
import gc, sys
import vapoursynth as vs
core = vs.core
clip = core.std.BlankClip(width=16, height=16, format=vs.RGBS, length=2)
one = core.videoinr.Upscale(clip, scale=2, model=sys.argv[1], device="cpu")
other = core.videoinr.Query(clip, times=[0, 1], scale=3, model=sys.argv[1], device="cpu")
from vs_videoinr.networks.base import Network
def networks():
    gc.collect()
    return sum(Network in type(found).__mro__ for found in gc.get_objects())
print(networks())
del one
other.get_frame(0).close()
print(networks())
del other
print(networks())
"""
    assert run(script, tiny) == "1\n1\n0\n"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_in_a_script(tiny: str) -> None:
    # as in a terminal, also where tests run in the background of a shell, which has all its children ignore Ctrl-C
    minding = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script = minding + MAKE + "print('ready', flush=True)\nfor frame in out.frames(close=True): pass\n"
    command = [sys.executable, "-P", "-c", script, tiny]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - start < 20
        assert process.returncode == -signal.SIGINT
        assert said.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_memory_is_given_back(tiny: str) -> None:
    script = """
import gc, sys, time
import torch
import vapoursynth as vs
clip = vs.core.std.BlankClip(width=640, height=360, format=vs.RGBS, length=3, fpsnum=24)
for _ in range(3):
    out = vs.core.videoinr.Upscale(clip, scale=2, factor_num=2, model=sys.argv[1], device="cuda:0")
    out.get_frame(1).close()
    assert torch.cuda.memory_reserved() > 0
    del out
    gc.collect()
    for _ in range(100):
        if torch.cuda.memory_reserved() == 0:
            break
        time.sleep(0.05)
    print(torch.cuda.memory_allocated(), torch.cuda.memory_reserved())
"""
    assert run(script, tiny) == "0 0\n" * 3
