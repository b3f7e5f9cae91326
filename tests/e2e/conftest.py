"""What the end-to-end tests share: an environment in which vspipe finds Python, and scripts written to files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import vapoursynth as vs


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables for a host process; nothing of the user's own settings is read or written."""
    home = tmp_path_factory.mktemp("home")
    run = home / "run"
    run.mkdir(mode=0o700)
    variables = os.environ | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_RUNTIME_DIR": str(run),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run(["vapoursynth", "config"], env=variables, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        ["vspipe", "--version"], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    if "library path couldn't be determined" in done.stderr:
        pytest.skip(
            f"vspipe loads Python as a library, {sysconfig.get_config_var('INSTSONAME')}, which is missing here"
        )
    return variables


@pytest.fixture(scope="session")
def vspipe() -> Path:
    """vspipe itself: the command in the environment's bin folder changes some exit codes."""
    return Path(vs.__file__).with_name("vspipe")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The machine's ffmpeg, or the one from PyPI."""
    found = shutil.which("ffmpeg")
    return found or str(pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe())


@pytest.fixture
def script(tmp_path: Path, tiny: str) -> Callable[[str], Path]:
    """Write a script in which `core` and `tiny` are known; return its path."""

    def write(text: str, name: str = "script.vpy") -> Path:
        path = tmp_path / name
        path.write_text(f"import vapoursynth as vs\ncore = vs.core\ntiny = {tiny!r}\n{text}\n", encoding="utf-8")
        return path

    return write
