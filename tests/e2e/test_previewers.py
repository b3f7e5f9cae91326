"""The filter in VSView and VSPreview, without a screen."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.reliability import reloads

#: What Qt loads of the system, and Debian's names for it; desktops have all of it.
QT_NEEDS = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libpulse.so.0": "libpulse0",
}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses Qt's off-screen platform and /proc")


@pytest.mark.parametrize("previewer", ["VSView", "VSPreview"])
def test_open_seek_reload(previewer: str, script: Callable[[str], Path], tmp_path: Path, tiny: str) -> None:
    if missing := [package for library, package in QT_NEEDS.items() if not loads(library)]:
        pytest.skip(f"Qt needs libraries that are missing here: apt install {' '.join(missing)}")
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
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, 3)


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
