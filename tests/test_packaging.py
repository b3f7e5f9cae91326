"""What is installed, and what building it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import vapoursynth as vs

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(vs.__file__).parent / "plugins" / "videoinr"


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "setup.py",
        "build_ext",
        "--build-lib",
        str(folder),
        "--build-temp",
        str(folder / "temp"),
    ]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_plugin_is_where_vapoursynth_finds_it() -> None:
    assert (FOLDER / "manifest.vs").read_text() == "[VapourSynth Manifest V1]\nlibvideoinr\n"
    assert {path.stem for path in FOLDER.iterdir()} == {"libvideoinr", "manifest"}


def test_the_wheel_is_for_one_platform_and_every_python() -> None:
    distribution = metadata.distribution("vapoursynth-videoinr")
    wheel = distribution.read_text("WHEEL")
    assert wheel is not None
    assert re.search(r"^Tag: py3-none-(?!any)\w+$", wheel, re.MULTILINE)
    assert distribution.metadata["Requires-Python"] == ">=3.12"
    names = {
        re.split(r"[^\w-]", requirement)[0] for requirement in distribution.requires or [] if "extra" not in requirement
    }
    assert names == {"vapoursynth", "torch", "numpy", "platformdirs", "pyyaml", "safetensors"}


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_the_library_stays_mapped_and_links_nothing_of_python() -> None:
    dynamic = subprocess.run(
        ["readelf", "-d", FOLDER / "libvideoinr.so"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "NODELETE" in dynamic
    assert "python" not in dynamic
    symbols = subprocess.run(
        ["readelf", "--dyn-syms", "-W", FOLDER / "libvideoinr.so"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    exported = [line.split()[-1] for line in symbols.splitlines() if " GLOBAL " in line and " UND " not in line]
    assert exported == ["VapourSynthPluginInit2"]


def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    done = build(tmp_path, CFLAGS="-Werror -Wpedantic")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vapoursynth" / "plugins" / "videoinr" / "manifest.vs").is_file()


def test_without_a_compiler_it_says_so(tmp_path: Path) -> None:
    done = build(tmp_path, CC="no-such-compiler")
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == (
        "vapoursynth-videoinr needs a C compiler to build its VapourSynth entry, and none that works was found "
        "([Errno 2] No such file or directory: 'no-such-compiler'); install one (Debian, Ubuntu: apt install gcc "
        "libc6-dev) or use a ready-made wheel."
    )
