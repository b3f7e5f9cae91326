"""The filter in VSView and VSPreview, without a screen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scripts.reliability import reloads

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses Qt's off-screen platform and /proc")


@pytest.mark.parametrize("previewer", ["VSView", "VSPreview"])
def test_open_seek_reload(previewer: str, script: Callable[[str], Path], tmp_path: Path, tiny: str) -> None:
    if previewer == "VSPreview" and not reloads.VSPREVIEW.exists():
        pytest.skip("needs the environment that `python -m scripts.reliability reloads` makes")
    picture = tmp_path / "window.png"
    samples = reloads.session(previewer, script(reloads.SCRIPT.format(model=tiny)), 5, picture, tmp_path)
    assert [sample.workers for sample in samples] == [1] * 5
    assert max(sample.memory for sample in samples) - samples[0].memory < 40 << 20

    # The window is gray all over, but for the clip's 192 x 72 pixels.
    shown = colours(picture).astype(int)
    assert (np.ptp(shown, axis=1) > 10).sum() > 0.9 * 192 * 72


def colours(picture: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels of a picture as (number, 3)."""
    command: list[str | Path] = ["ffmpeg", "-v", "error", "-i", picture, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 3)
