"""The filter in VSView, without a screen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses Qt's off-screen platform and /proc")

SESSION = Path(__file__).with_name("vsview_session.py")


def test_open_seek_reload(environment: dict[str, str], script: Callable[[str], Path], tmp_path: Path) -> None:
    path = script("""
red = core.std.BlankClip(width=64, height=48, format=vs.RGB24, length=60, fpsnum=24, color=[230, 20, 20], keep=True)
both = core.std.StackHorizontal([red, core.std.BlankClip(red, color=[20, 20, 230])])
clip = core.std.SetFrameProps(core.resize.Bicubic(both, format=vs.YUV420P8, matrix=1), _Transfer=1, _Primaries=1)
core.videoinr.Upscale(clip, scale=1.5, fps_num=120, model=tiny).set_output()
""")
    picture = tmp_path / "window.png"
    quiet = environment | {"QT_QPA_PLATFORM": "offscreen", "QT_WIDGETS_RHI": "0"}
    done = subprocess.run(
        [sys.executable, SESSION, path, picture], env=quiet, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert "still in use" not in done.stdout + done.stderr
    assert seen["threads"] == [1] * 5
    assert max(seen["memory"]) - seen["memory"][0] < 40 << 20

    # The window is gray all over, but for the clip's 192 x 72 pixels.
    shown = colours(picture).astype(int)
    assert (np.ptp(shown, axis=1) > 10).sum() > 0.9 * 192 * 72


def colours(picture: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels of a picture as (number, 3)."""
    command: list[str | Path] = ["ffmpeg", "-v", "error", "-i", picture, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 3)
