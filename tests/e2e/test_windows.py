"""The library for Windows, loaded by VapourSynth for Windows under Wine. `python -m scripts.wine` goes further."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import vapoursynth as vs

from scripts import ROOT, wine

WINE = wine.wine()

pytestmark = pytest.mark.skipif(WINE is None, reason="needs Wine for 64 bits: apt install wine64")


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory, zig_cache: str) -> Path:
    """The library as it is in the wheel, in a folder whose name no code page has."""
    folder = tmp_path_factory.mktemp("library")
    command: list[str | Path] = [sys.executable, "setup.py", "build_ext", "--build-lib", folder]
    run(*command, "--build-temp", folder / "temp", VIDEOINR_PLATFORM="win_amd64", ZIG_GLOBAL_CACHE_DIR=zig_cache)
    (built,) = folder.glob("vapoursynth/plugins/videoinr/*.dll")
    return built.rename(tmp_path_factory.mktemp("größer 時間") / built.name)


@pytest.fixture(scope="module")
def vapoursynth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of VapourSynth for Windows, the same version as here, from its wheel on PyPI."""
    folder = tmp_path_factory.mktemp("vapoursynth")
    command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    command += ["--platform", "win_amd64", "--only-binary=:all:"]
    run(*command, f"vapoursynth=={metadata.version('vapoursynth')}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "vapoursynth"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C: drive."""
    folder = tmp_path_factory.mktemp("wine") / "prefix"
    wine.make_prefix(folder)
    return folder


def test_a_process_without_python(
    plugin: Path, vapoursynth: Path, prefix: Path, zig_cache: str, tmp_path: Path
) -> None:
    host = tmp_path / "host.exe"
    command: list[str | Path] = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu"]
    command += ["-O2", "-g0", "-s"]  # as the plugin, or Zig compiles the C library of Windows a second time
    run(*command, "-I", vs.get_include(), ROOT / "tests" / "host.c", "-o", host, ZIG_GLOBAL_CACHE_DIR=zig_cache)
    assert WINE is not None
    with wine.fixed_addresses():
        said = run(
            WINE,
            host,
            f"Z:{vapoursynth}/libvapoursynth.dll",
            f"Z:{plugin}",
            **wine.variables(prefix),
            WINEPATH=f"Z:{vapoursynth}",
        )
    sentence = "there is no Python in this process; run the script with vspipe or from Python"
    assert said.splitlines() == [
        "Flow",
        "Query",
        "Upscale",
        "Version",
        f"Version: {sentence}",
        f"Upscale: {sentence}",
        "stays",
    ]
