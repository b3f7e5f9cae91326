"""vspipe and what comes after it."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

Script = Callable[[str], Path]

SQUARES = """
clip = core.std.BlankClip(width=32, height=24, format=vs.YUV420P8, length=LENGTH, fpsnum=24000, fpsden=1001, keep=True)
clip = core.std.SetFrameProps(clip, _Matrix=1)
clip = core.std.StackHorizontal([clip, core.std.BlankClip(clip, color=[200, 90, 160])])
"""
BUNNY = Path(__file__).parents[1] / "data" / "bunny.mp4"


def test_a_real_clip_is_encoded_with_its_sound(
    vspipe: Path, ffmpeg: str, environment: dict[str, str], script: Script, tmp_path: Path
) -> None:
    path = script(f"""
clip = core.bs.VideoSource({str(BUNNY)!r}, cachemode=0)
clip = clip.resize.Bicubic(32, 18)
core.videoinr.Upscale(clip, scale=3.5, fps_num=240, model=tiny).set_output()
""")
    out = tmp_path / "out.mp4"
    encode: list[str | Path] = [
        ffmpeg,
        "-v",
        "error",
        "-i",
        "-",
        "-i",
        BUNNY,
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "libx264",
    ]
    encode += ["-preset", "ultrafast", "-c:a", "copy", out]
    with subprocess.Popen([vspipe, "-c", "y4m", path, "-"], stdout=subprocess.PIPE, env=environment) as pipe:
        encoder = subprocess.run(encode, stdin=pipe.stdout, check=False, timeout=300)
        assert pipe.wait(timeout=60) == 0
    assert encoder.returncode == 0

    with av.open(str(BUNNY)) as source, av.open(str(out)) as result:
        video, sound = result.streams.video[0], result.streams.audio[0]
        assert (video.width, video.height) == (112, 64)
        assert video.base_rate == video.average_rate == 240
        frames = sum(1 for _ in source.decode(video=0))
        assert sum(1 for _ in result.decode(video=0)) == frames * 240 // 25
        assert seconds(video) == pytest.approx(seconds(source.streams.video[0]), abs=1 / 240)
        assert seconds(video) == pytest.approx(seconds(sound), abs=0.03)
        assert seconds(sound) == seconds(source.streams.audio[0])


def seconds(stream: av.VideoStream | av.AudioStream) -> float:
    assert stream.duration is not None
    assert stream.time_base is not None
    return float(stream.duration * stream.time_base)


def test_the_stream_holds_frames_and_nothing_else(vspipe: Path, environment: dict[str, str], script: Script) -> None:
    path = script(
        "import logging, warnings\nlogging.basicConfig(level=logging.DEBUG)\nwarnings.simplefilter('always')\n"
        + SQUARES.replace("LENGTH", "3")
        + "core.videoinr.Version()\n"
        + "core.videoinr.Upscale(clip, scale=1.5, fps_num=60, model=tiny).set_output()"
    )
    seen = set()
    for requests in ("1", "3", "8"):
        command: list[str | Path] = [vspipe, "-c", "y4m", "-r", requests, path, "-"]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120)
        header, _, frames = done.stdout.partition(b"\n")
        assert re.fullmatch(rb"YUV4MPEG2 C420(jpeg|mpeg2)? W96 H36 F60:1 Ip A0:0 XLENGTH=7", header)
        size = len(b"FRAME\n") + 96 * 36 * 3 // 2
        assert len(frames) == 7 * size
        assert all(frames[k * size :].startswith(b"FRAME\n") for k in range(7))
        seen.add(hashlib.sha256(frames).digest())
    assert len(seen) == 1


def test_timecodes_end_with_the_source(
    vspipe: Path, environment: dict[str, str], script: Script, tmp_path: Path
) -> None:
    path = script(
        SQUARES.replace("LENGTH", "4")
        + "clip = clip[:2] + core.std.AssumeFPS(clip[2:], fpsnum=10)\n"
        + "core.videoinr.Upscale(clip, factor_num=3, model=tiny).set_output()"
    )
    codes = tmp_path / "timecodes.txt"
    command: list[str | Path] = [vspipe, "-t", codes, path, "--"]
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120)
    times = [float(line) for line in codes.read_text().splitlines()[1:]]
    first, later = Fraction(1001, 72), Fraction(100, 3)  # milliseconds
    expected = [n * first for n in range(6)] + [6 * first + n * later for n in range(6)]
    assert times == pytest.approx([float(moment) for moment in expected], abs=1e-3)


def test_an_error_is_one_line(vspipe: Path, environment: dict[str, str], script: Script) -> None:
    path = script(SQUARES.replace("LENGTH", "3") + "core.videoinr.Upscale(clip, scale=0.1, model=tiny).set_output()")
    done = subprocess.run(
        [vspipe, "-c", "y4m", path, "-"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "vapoursynth.Error: Upscale: scale must be at least 1, got 0.1" in done.stderr.splitlines()


ENDLESS = (
    SQUARES.replace("LENGTH", "1000000") + "core.videoinr.Upscale(clip, scale=2, fps_num=60, model=tiny).set_output()"
)


def test_a_reader_that_stops(vspipe: Path, environment: dict[str, str], script: Script) -> None:
    with subprocess.Popen(
        [vspipe, "-c", "y4m", script(ENDLESS), "-"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as pipe:
        assert pipe.stdout is not None
        assert len(pipe.stdout.read(100_000)) == 100_000
        pipe.stdout.close()
        assert pipe.wait(timeout=30) != 0


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ending_it_from_outside(vspipe: Path, environment: dict[str, str], script: Script, end: signal.Signals) -> None:
    with subprocess.Popen(
        [vspipe, "-c", "y4m", script(ENDLESS), "-"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as pipe:
        assert pipe.stdout is not None
        assert pipe.stdout.read(50_000)
        pipe.send_signal(end)
        start = time.monotonic()
        while pipe.stdout.read(1 << 16):  # what was on its way
            pass
        assert pipe.wait(timeout=30) != 0
        assert time.monotonic() - start < 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to a full disk")
def test_a_full_disk(vspipe: Path, environment: dict[str, str], script: Script) -> None:
    command: list[str | Path] = [vspipe, "-c", "y4m", script(ENDLESS), "/dev/full"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "fwrite() call failed" in done.stderr


def test_two_at_once(vspipe: Path, environment: dict[str, str], script: Script) -> None:
    path = script(
        SQUARES.replace("LENGTH", "9") + "core.videoinr.Upscale(clip, scale=2, fps_num=60, model=tiny).set_output()"
    )
    command: list[str | Path] = [vspipe, "-c", "y4m", path, "-"]
    pair = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    one, other = (pipe.communicate(timeout=120)[0] for pipe in pair)
    assert [pipe.returncode for pipe in pair] == [0, 0]
    assert one == other
    assert one.count(b"FRAME\n") == 22
