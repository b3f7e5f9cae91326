"""Every message that a script can get, word for word: one line that begins with the function's name."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import vapoursynth as vs

from vs_videoinr.weights import catalogue

pytestmark = pytest.mark.vpy("unique-core")

Call = Callable[[Any, Any, str], Any]  # core, clip (RGB24, 16x12, 5 frames, 24 fps), model

WORK: list[tuple[str, Call]] = [
    (
        "Upscale: there is nothing to do; give scale, width, height, fps_num or factor_num",
        lambda core, clip, model: core.videoinr.Upscale(clip, model=model),
    ),
    (
        "Upscale: give scale, or width and height, but not both",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, width=32, model=model),
    ),
    (
        "Query: give scale, or width and height, but not both",
        lambda core, clip, model: core.videoinr.Query(clip, times=[0], scale=2, height=32, model=model),
    ),
    (
        "Upscale: scale must be at least 1, got 0.5",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=0.5, model=model),
    ),
    (
        "Upscale: scale must be at least 1, got 0",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=0, model=model),
    ),
    (
        "Upscale: scale must be at least 1, got nan",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=float("nan"), model=model),
    ),
    (
        "Upscale: scale must be at least 1, got inf",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=float("inf"), model=model),
    ),
    (
        "Upscale: a result of 1600000x1200000 is too large; at most 268435456 pixels are possible",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=100000, model=model),
    ),
    (
        "Upscale: scale=1e+300 is too large; at most 268435456 pixels are possible",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=1e300, model=model),
    ),
    (
        "Upscale: scale must be at least 1, got 0.9999999999",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=0.9999999999, model=model),
    ),
    (
        "Upscale: width must be at least that of the clip, 16, got 15",
        lambda core, clip, model: core.videoinr.Upscale(clip, width=15, model=model),
    ),
    (
        "Upscale: height must be at least that of the clip, 12, got -1",
        lambda core, clip, model: core.videoinr.Upscale(clip, height=-1, model=model),
    ),
    (
        "Upscale: width must be a multiple of 2 for this format's chroma, got 33",
        lambda core, clip, model: core.videoinr.Upscale(
            core.resize.Bicubic(clip, format=vs.YUV420P8, matrix=1), width=33, model=model
        ),
    ),
    (
        "Upscale: height must be a multiple of 4 for this format's chroma, got 18",
        lambda core, clip, model: core.videoinr.Upscale(
            core.resize.Bicubic(clip, format=vs.YUV410P8, matrix=1), height=18, model=model
        ),
    ),
    (
        "Upscale: give fps_num or factor_num, but not both",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_num=60, factor_num=2, model=model),
    ),
    (
        "Upscale: fps_num must be greater than 0, got 0",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_num=0, model=model),
    ),
    (
        "Upscale: fps_den must be greater than 0, got -1",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_num=60, fps_den=-1, model=model),
    ),
    (
        "Upscale: factor_num must be greater than 0, got -2",
        lambda core, clip, model: core.videoinr.Upscale(clip, factor_num=-2, model=model),
    ),
    (
        "Upscale: factor_den must be greater than 0, got 0",
        lambda core, clip, model: core.videoinr.Upscale(clip, factor_num=2, factor_den=0, model=model),
    ),
    (
        "Upscale: fps_den needs fps_num",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_den=1001, model=model),
    ),
    (
        "Upscale: factor_den needs factor_num",
        lambda core, clip, model: core.videoinr.Upscale(clip, factor_den=2, model=model),
    ),
    (
        "Upscale: the result would be too long: 2200000000 frames; at most 2147483647 are possible",
        lambda core, clip, model: core.videoinr.Upscale(
            core.std.BlankClip(clip, length=1100000000, keep=True), factor_num=2, model=model
        ),
    ),
    (
        f"Upscale: a frame rate of {25 * 2**58 + 1}/{2**58} is too fine to be kept exactly; give smaller numbers",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_num=25 * 2**58 + 1, fps_den=2**58, model=model),
    ),
    (
        'Upscale: the clip has a variable frame rate; for fps_num give timecodes="FILE", which the timecodes argument '
        "of a source filter or vspipe --timecodes writes, or give factor_num instead",
        lambda core, clip, model: core.videoinr.Upscale(variable_rate(core, clip), fps_num=60, model=model),
    ),
    (
        'Query: the clip has a variable frame rate; for seconds give timecodes="FILE", which the timecodes argument of '
        "a source filter or vspipe --timecodes writes",
        lambda core, clip, model: core.videoinr.Query(variable_rate(core, clip), seconds=0, model=model),
    ),
    (
        "Upscale: timecodes file nosuch.txt cannot be read: No such file or directory",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_num=60, timecodes="nosuch.txt", model=model),
    ),
    (
        "Upscale: timecodes file a?b.txt cannot be read: no file can have this name, which contains a NUL character",
        lambda core, clip, model: core.videoinr.Upscale(clip, fps_num=60, timecodes="a\0b.txt", model=model),
    ),
    (
        "Upscale: timecodes are for fps_num; factor_num works without them",
        lambda core, clip, model: core.videoinr.Upscale(clip, factor_num=2, timecodes=timecodes(model), model=model),
    ),
    (
        "Query: timecodes are for seconds or fps_num; times are counted in frames",
        lambda core, clip, model: core.videoinr.Query(clip, times=0, timecodes=timecodes(model), model=model),
    ),
    (
        "Query: give times or seconds",
        lambda core, clip, model: core.videoinr.Query(clip, scale=2, model=model),
    ),
    (
        "Query: give times or seconds, but not both",
        lambda core, clip, model: core.videoinr.Query(clip, times=0, seconds=0, model=model),
    ),
    (
        "Flow: give times or seconds, or a frame rate, but not both",
        lambda core, clip, model: core.videoinr.Flow(clip, times=0, fps_num=60, model=model),
    ),
    (
        "Query: seconds must be from 0 to below 0.208333, the clip's end, got 0.25",
        lambda core, clip, model: core.videoinr.Query(clip, seconds=[0.1, 0.25], model=model),
    ),
    (
        "Query: seconds must be from 0 to below 0.208333, the clip's end, got nan",
        lambda core, clip, model: core.videoinr.Query(clip, seconds=float("nan"), model=model),
    ),
    (
        'Upscale: sc_mode must be "hold" or "switch", got "blend"',
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, sc_mode="blend", model=model),
    ),
    (
        "Upscale: sc_threshold must be from 0 to 1, got 10",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, sc_threshold=10, model=model),
    ),
    (
        "Upscale: sc_threshold must be from 0 to 1, got 1.0000001",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, sc_threshold=1.0000001, model=model),
    ),
    (
        'Upscale: sc_mode must be "hold" or "switch", got "hold?"',
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, sc_mode="hold\0", model=model),
    ),
    (
        "Upscale: sc_threshold must be from 0 to 1, got nan",
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, sc_threshold=float("nan"), model=model),
    ),
    (
        "Flow: to must be 0 (the frame before) or 1 (the frame after), got 2",
        lambda core, clip, model: core.videoinr.Flow(clip, to=2, model=model),
    ),
    (
        "Flow: reach must be greater than 0, got -1",
        lambda core, clip, model: core.videoinr.Flow(clip, reach=-1, model=model),
    ),
    (
        "Upscale: the clip has a variable frame rate; factor_num/factor_den must be at least 1, got 1/2",
        lambda core, clip, model: core.videoinr.Upscale(
            variable_rate(core, clip), factor_num=1, factor_den=2, model=model
        ),
    ),
    (
        "Query: times must be from 0 to 4, the clip's last frame, got 4.001",
        lambda core, clip, model: core.videoinr.Query(clip, times=[0, 4, 4.001], model=model),
    ),
    (
        "Query: times must be from 0 to 4, the clip's last frame, got 4.000002",
        lambda core, clip, model: core.videoinr.Query(clip, times=4.000002, model=model),
    ),
    (
        "Query: times must be from 0 to 4, the clip's last frame, got inf",
        lambda core, clip, model: core.videoinr.Query(clip, times=float("inf"), model=model),
    ),
    (
        "Query: times must be from 0 to 4, the clip's last frame, got -1",
        lambda core, clip, model: core.videoinr.Query(clip, times=[-1, 9], model=model),
    ),
    (
        "Query: times must be from 0 to 4, the clip's last frame, got nan",
        lambda core, clip, model: core.videoinr.Query(clip, times=float("nan"), model=model),
    ),
    (
        "Upscale: the clip must have a constant format and size",
        lambda core, clip, model: core.videoinr.Upscale(
            core.std.Splice([clip, core.std.BlankClip(clip, width=8)], mismatch=True), scale=2, model=model
        ),
    ),
    (
        "Upscale: the clip must have a constant format and size",
        lambda core, clip, model: core.videoinr.Upscale(
            core.std.Splice([clip, core.std.BlankClip(clip, format=vs.GRAY8)], mismatch=True), scale=2, model=model
        ),
    ),
    (
        "Upscale: the format Gray32 is not supported; convert the clip to 8 to 16 bit integer, half or single float",
        lambda core, clip, model: core.videoinr.Upscale(
            core.std.BlankClip(clip, format=vs.GRAY32), scale=2, model=model
        ),
    ),
    (
        "Upscale: the clip's matrix is unknown (frame 0); set it, for example: "
        "clip = core.std.SetFrameProps(clip, _Matrix=1)",
        lambda core, clip, model: core.videoinr.Upscale(
            core.std.BlankClip(clip, format=vs.YUV420P8), scale=2, model=model
        ),
    ),
    (
        "Query: the clip's matrix is unknown (frame 0); set it, for example: "
        "clip = core.std.SetFrameProps(clip, _Matrix=1)",
        lambda core, clip, model: core.videoinr.Query(
            core.std.SetFrameProps(core.std.BlankClip(clip, format=vs.YUV444PS), _Matrix=2), times=[1], model=model
        ),
    ),
    (
        "Upscale: frame 0 is interlaced (_FieldBased=2); deinterlace the clip, or if it is not interlaced: "
        "clip = core.std.SetFieldBased(clip, 0)",
        lambda core, clip, model: core.videoinr.Upscale(core.std.SetFieldBased(clip, 2), scale=2, model=model),
    ),
    (
        "Upscale: the clip cannot be converted to RGB: "
        "Resize error 1026: RGB color family cannot have YUV matrix coefficients",
        lambda core, clip, model: core.videoinr.Upscale(core.std.SetFrameProps(clip, _Matrix=1), scale=2, model=model),
    ),
    (
        'Upscale: device must be "cpu", "cuda", "xpu", "mps" or one by its number, as "cuda:1", got "gpu"',
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, device="gpu", model=model),
    ),
    (
        'Upscale: device must be "cpu", "cuda", "xpu", "mps" or one by its number, as "cuda:1", got "cuda:x"',
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, device="cuda:x", model=model),
    ),
    (
        'Upscale: fp16 needs a GPU, as with device="cuda"; a CPU computes in single precision',
        lambda core, clip, model: core.videoinr.Upscale(clip, scale=2, device="cpu", fp16=True, model=model),
    ),
]


def variable_rate(core: Any, clip: Any) -> Any:
    """A clip whose frame rate is 0/1, as that of players and of variable rate sources."""
    return core.std.Splice([clip[:2], core.std.AssumeFPS(clip[2:], fpsnum=30)])


def timecodes(model: str) -> str:
    """A file beside the model with the times of the five frames."""
    path = Path(model).with_name("timecodes.txt")
    path.write_text("# timecode format v2\n0\n40\n80\n120\n160\n")
    return str(path)


@pytest.mark.parametrize(("message", "call"), WORK, ids=[message[:60] for message, _ in WORK])
def test_wrong_use(core: Any, moving: Any, tiny: str, message: str, call: Call) -> None:
    with pytest.raises(vs.Error) as raised:
        call(core, moving(), tiny)
    assert str(raised.value) == message


NO_TENSORS = b"\x02\0\0\0\0\0\0\0{}"
FOREIGN = safetensors.torch.save({"layer.weight": torch.zeros(2, 3)})

MODELS: list[tuple[str, bytes | None, str]] = [
    ("", None, "model '' is not known (available: {available})"),
    ("nosuch", None, "model 'nosuch' is not known (available: {available})"),
    ("{folder}/gone.safetensors", None, "model file not found: {folder}/gone.safetensors"),
    ("/proc/self/mem", None, "model file cannot be read: /proc/self/mem (Input/output error)"),
    ("{folder}/empty.pth", b"", "{folder}/empty.pth is not a VideoINR checkpoint: it is empty"),
    ("{folder}/noise.safetensors", b"noise", "{folder}/noise.safetensors is not a VideoINR checkpoint: {unreadable}"),
    (
        "{folder}/cut.safetensors",
        FOREIGN[:-1],
        "{folder}/cut.safetensors is not a VideoINR checkpoint: it is truncated or damaged (incomplete metadata, file "
        "not fully covered)",
    ),
    (
        "{folder}/none.safetensors",
        NO_TENSORS,
        "{folder}/none.safetensors is not a VideoINR checkpoint: it holds 0 tensors",
    ),
    ("{folder}/other.safetensors", FOREIGN, "{folder}/other.safetensors is not a VideoINR checkpoint: {foreign}"),
]


@pytest.mark.parametrize(("name", "contents", "message"), MODELS)
def test_model_that_cannot_be_used(
    core: Any,
    moving: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    contents: bytes | None,
    message: str,
) -> None:
    monkeypatch.setenv(catalogue.FOLDER_VARIABLE, str(tmp_path / "imported"))
    if name == "/proc/self/mem" and not sys.platform.startswith("linux"):
        pytest.skip("needs a file that cannot be read")
    name = str(Path(name.format(folder=tmp_path))) if name else ""
    if contents is not None:
        Path(name).write_bytes(contents)
    with pytest.raises(vs.Error) as raised:
        core.videoinr.Upscale(moving(), scale=2, model=name)
    assert str(raised.value).replace(os.sep, "/") == "Upscale: " + message.format(
        folder=tmp_path.as_posix(),
        available=", ".join(model.name for model in catalogue.models()) or "none",
        unreadable="it is truncated or not in the safetensors format",
        foreign="its tensors are not those of any known network",
    )


@pytest.mark.skipif(torch.accelerator.is_available(), reason="says what happens without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7", "xpu", "xpu:1", "mps", "mps:0"])
def test_no_gpu(core: Any, moving: Any, tiny: str, device: str) -> None:
    with pytest.raises(vs.Error) as raised:
        core.videoinr.Upscale(moving(), scale=2, device=device, model=tiny)
    kind = device.partition(":")[0].upper()
    assert str(raised.value) == f'Upscale: there is no {kind} device that torch can use; give device="cpu"'


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_too_few_cuda_devices(core: Any, moving: Any, tiny: str) -> None:
    last = torch.cuda.device_count() - 1
    with pytest.raises(vs.Error) as raised:
        core.videoinr.Upscale(moving(), scale=2, device="cuda:99", model=tiny)
    assert str(raised.value) == f'Upscale: there is no device "cuda:99"; the last one is "cuda:{last}"'


def test_a_later_frame_without_matrix(core: Any, moving: Any, tiny: str) -> None:
    clip = moving(vs.YUV420P8)
    clip = clip[:3] + core.std.RemoveFrameProps(clip[3:], "_Matrix")
    out = core.videoinr.Upscale(clip, scale=2, model=tiny)
    out.get_frame(1)
    with pytest.raises(vs.Error) as raised:
        out.get_frame(3)
    assert str(raised.value) == (
        "Upscale: the clip's matrix is unknown (frame 3); set it, for example: "
        "clip = core.std.SetFrameProps(clip, _Matrix=1)"
    )


def test_a_later_frame_that_is_interlaced(core: Any, moving: Any, tiny: str) -> None:
    clip = moving()
    clip = clip[:3] + core.std.SetFieldBased(clip[3:], 1)
    out = core.videoinr.Query(clip, times=[0.5, 2.5], model=tiny)
    out.get_frame(0)
    with pytest.raises(vs.Error) as raised:
        out.get_frame(1)
    assert str(raised.value) == (
        "Query: frame 3 is interlaced (_FieldBased=1); deinterlace the clip, or if it is not interlaced: "
        "clip = core.std.SetFieldBased(clip, 0)"
    )


@pytest.mark.parametrize("before", ["", "x"])
def test_a_message_is_cut_between_characters(core: Any, moving: Any, tiny: str, before: str) -> None:
    with pytest.raises(vs.Error) as raised:
        core.videoinr.Upscale(moving(), scale=2, model=tiny, device=before + "é" * 4000)
    text = str(raised.value)
    assert text.endswith("ééé")
    assert 4090 <= len(text.encode()) <= 4095


def test_a_first_frame_that_fails(core: Any, moving: Any, tiny: str) -> None:
    broken = core.std.FrameEval(moving(), lambda **_: None)
    with pytest.raises(vs.Error) as raised:
        core.videoinr.Upscale(broken, scale=2, model=tiny)
    assert str(raised.value) == (
        "Upscale: the clip's first frame cannot be read: FrameEval: Function didn't return a clip"
    )


def run(script: str, *arguments: str) -> str:
    """Run a Python script in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_out_of_memory_says_what_to_lower(tiny: str) -> None:
    script = """
import resource, sys
import vapoursynth as vs
core = vs.core
clip = core.std.BlankClip(width=256, height=256, format=vs.RGBS, length=2)
core.videoinr.Upscale(clip, scale=1.5, model=sys.argv[1]).get_frame(0)
out = core.videoinr.Upscale(clip, scale=20, model=sys.argv[1])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (500 << 20), resource.RLIM_INFINITY))
try:
    out.get_frame(0)
except vs.Error as error:
    print(error)
"""
    assert run(script, tiny) == (
        "Upscale: out of memory on cpu for 256x256 to 5120x5120; "
        "lower scale, width or height, crop the clip or give it a smaller size first"
    )


def test_the_package_cannot_be_imported() -> None:
    script = """
import sys
sys.modules["vs_videoinr"] = None
import vapoursynth as vs
try:
    vs.core.videoinr.Upscale(vs.core.std.BlankClip(), scale=2)
except vs.Error as error:
    print(error)
"""
    assert re.fullmatch(r"Upscale: cannot use the Python package vs_videoinr: .*vs_videoinr.*", run(script))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="links a Linux library")
def test_a_process_without_python(tmp_path: Path, zig_cache: str) -> None:
    host = tmp_path / "host"
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-gnu.2.17"]
    compiler = (
        ["cc"] if shutil.which("cc") else [*zig, "-O2"]
    )  # otherwise Zig adds checks, whose library it compiles first
    command: list[str | Path] = [
        *compiler,
        "-I",
        vs.get_include(),
        Path(__file__).parents[1] / "host.c",
        "-o",
        host,
        "-ldl",
    ]
    subprocess.run(command, env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": zig_cache}, check=True, timeout=120)
    core = Path(vs.__file__).with_name("libvapoursynth.so.4")
    done = subprocess.run([host, core], capture_output=True, text=True, timeout=60, check=True)
    sentence = "there is no Python in this process; run the script with vspipe or from Python"
    functions = ["Flow", "Query", "Upscale", "Version"]
    assert done.stdout.splitlines() == [*functions, f"Version: {sentence}", f"Upscale: {sentence}"]
