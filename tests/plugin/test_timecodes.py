"""Clips of variable rate: a constant rate is laid over their true time, and moments are asked for in seconds."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import vapoursynth as vs

from tests.frames import duration, pixels_of, props_of, same
from vs_videoinr.plugin.timecodes import TimecodeError, read

pytestmark = pytest.mark.vpy("initial-core", "reloaded-core")

HEAD = "# timecode format v2\n"
LENGTHS = [40] * 5 + [20] * 6 + [100] * 2  # milliseconds


@pytest.fixture
def recording(core: Any, tmp_path: Path) -> tuple[Any, str]:
    """A Matroska file of variable rate as BestSource opens it, and the timecodes that it writes."""
    path = tmp_path / "phone.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for n in range(len(LENGTHS)):
            picture = np.full((16, 32, 3), 40, np.uint8)
            picture[4:10, n : n + 6] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = sum(LENGTHS[:n]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    codes = tmp_path / "times.txt"
    clip = core.bs.VideoSource(str(path), cachemode=0, timecodes=str(codes))
    clip = core.std.SetFrameProps(clip, _Matrix=1)
    assert len(clip) == len(LENGTHS)
    return clip, str(codes)


def test_a_constant_rate_over_a_variable_one(recording: tuple[Any, str], tiny: str) -> None:
    clip, codes = recording
    out = clip.videoinr.Upscale(fps_num=50, timecodes=codes, model=tiny)
    assert out.fps == 50
    assert sum(map(duration, props_of(out))) == Fraction(sum(LENGTHS), 1000)
    source, shown = pixels_of(clip), pixels_of(out)
    starts = [sum(LENGTHS[:n]) for n in range(len(LENGTHS))]
    for n, frame in enumerate(shown):
        on_time = [k for k, start in enumerate(starts) if start == 20 * n]
        at_end = 20 * n >= starts[-1]
        assert any(same(frame, source[k]) for k in range(len(source))) == (bool(on_time) or at_end), n
        for k in on_time:
            assert same(frame, source[k])


def test_seconds_of_a_variable_rate(recording: tuple[Any, str], tiny: str) -> None:
    clip, codes = recording
    source = pixels_of(clip)
    shown = pixels_of(clip.videoinr.Query(seconds=[0.2, 0.22, 0.419], timecodes=codes, model=tiny))
    assert same(shown[0], source[5])
    assert same(shown[1], source[6])
    times = [11.99]  # 0.419 s is 99 ms into the 100 of frame 11
    assert same(shown[2], pixels_of(clip.videoinr.Query(times=times, model=tiny))[0])


def test_seconds_of_a_constant_rate(moving: Any, tiny: str) -> None:
    clip = moving(fps=(24000, 1001), length=30)
    shown = pixels_of(clip.videoinr.Query(seconds=[1.001, 0, 1.25], model=tiny))
    source = pixels_of(clip)
    assert same(shown[0], source[24])
    assert same(shown[1], source[0])
    assert same(shown[2], source[29])  # the last frame lasts until 1.25125


BAD = {
    "1\n2\n": 'does not begin with "# timecode format v2"',
    "": 'does not begin with "# timecode format v2"',
    "# timecode format v1\nAssume 25\n": 'does not begin with "# timecode format v2"',
    HEAD + "0\n40\n": "has 2 times, but the clip has 3 frames",
    HEAD + "0\n40\n80\n120\n160\n": "has 5 times, but the clip has 3 frames",
    HEAD + "0\nforty\n80\n": "holds something that is not a number",
    HEAD + "0\n40\nnan\n": "holds something that is not a number",
    HEAD + "0\n40\n1000000000000\n": "holds a time that is too large",
    HEAD + "0\n40\n1e30\n": "holds a time that is too large",
    HEAD + "0\n40\n-Infinity\n": "holds a time that is too large",
    HEAD + "0\n40\n1e999999999\n": "holds a time that is too large",
    HEAD + "0\n40\n40\n": "has times that do not increase",
    HEAD + "0\n80\n40\n": "has times that do not increase",
}


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_files_that_are_no_timecodes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(TimecodeError) as raised:
        read(str(path), 3)
    assert str(raised.value) == f"timecodes file {path} {message}"


@pytest.mark.vpy("initial-core")
def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    cases = {
        "gone": "No such file or directory",
        "": "cannot be read: a folder, not a regular file"
        if os.name == "posix"
        else "cannot be read: Permission denied",
        "noise": "it is not text",
        "nul\0": "no file can have this name, which contains a NUL character",
    }
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        cases |= dict.fromkeys(("pipe", "/dev/zero"), "cannot be read: not a regular file")
    for name, why in cases.items():
        with pytest.raises(TimecodeError, match=why):
            read(str(tmp_path / name), 3)


@pytest.mark.vpy("initial-core")
def test_files_as_others_write_them(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    for text in (
        "\ufeff# timestamp format v2\r\n10.5\r\n50.5\r\n90.5\r\n",
        HEAD + "# a comment\n\n10.5\n50.5\n90.5\n130.5\n",
    ):
        path.write_bytes(text.encode())
        found = read(str(path), 3)
        assert found.total == Fraction(120, 1000)
        assert found.position(Fraction(60, 1000)) == Fraction(3, 2)


@pytest.mark.parametrize(("milliseconds", "fps", "ratio"), [("0.1", 10_000, 1), ("1", 4000, 4), ("1.0416667", 3840, 4)])
def test_high_rates_lose_no_frame(
    moving: Any, tiny: str, tmp_path: Path, milliseconds: str, fps: int, ratio: int
) -> None:
    clip = moving(vs.YUV420P8, length=8)
    codes = tmp_path / "times.txt"
    codes.write_text(HEAD + "".join(f"{n * Fraction(milliseconds):.7f}\n" for n in range(9)))
    shown = pixels_of(clip.videoinr.Upscale(fps_num=fps, timecodes=str(codes), model=tiny))
    source = pixels_of(clip)
    assert len(shown) >= 8 * ratio - 1
    for n, frame in enumerate(shown[: 7 * ratio]):
        assert [k for k in range(8) if same(frame, source[k])] == ([n // ratio] if n % ratio == 0 else [])
