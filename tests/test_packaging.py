"""What is installed, what is released, and what building it needs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import vapoursynth as vs

from vs_videoinr import networks
from vs_videoinr.networks import kernels

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(vs.__file__).parent / "plugins" / "videoinr"


def load(path: str) -> Any:
    """Import a module of the checkout; the rest of it stays out of reach, for what is installed is tested."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_backend = load("build_backend.py")
wheels = load("scripts/wheels.py")

needs_git = pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs git, and a checkout made by it"
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS")} | environment
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300, check=False, umask=0o022
    )


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, "setup.py", "build_ext", "--build-lib", folder]
    return run(*command, "--build-temp", folder / "temp", **environment)


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


def test_the_library_stays_mapped_and_links_nothing_of_python() -> None:
    (path,) = FOLDER.glob("libvideoinr.*")
    library = wheels.read_library(path)  # which insists on -z nodelete
    assert library.exports == ["VapourSynthPluginInit2"]
    assert not any("python" in name for name in library.imports)


@pytest.mark.skipif(sys.platform == "win32" and not kernels.available(), reason="MSVC, which has no vectors, built it")
def test_the_kernels_are_beside_the_networks() -> None:
    (path,) = Path(networks.__file__).parent.glob("libvideoinr_kernels.*")
    library = wheels.read_library(path)
    assert sorted(library.exports) == wheels.kernel_exports(library.machine)
    assert kernels.available()


def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    done = build(tmp_path, CFLAGS="-Werror -Wpedantic")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vapoursynth" / "plugins" / "videoinr" / "manifest.vs").is_file()
    made = [*(tmp_path / "vs_videoinr" / "networks").glob("libvideoinr_kernels.*")]
    assert len(made) == bool(kernels.available())  # not by MSVC


@pytest.mark.parametrize("platform", build_backend.ZIG_TARGETS)
def test_it_compiles_without_a_warning_for_every_platform(tmp_path: Path, platform: str) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", build_backend.ZIG_TARGETS[platform]]
    command += [*build_backend.c_flags("unix"), "-Wpedantic", "-Werror", "-c"]
    for source in (ROOT / "vs_videoinr").rglob("*.c"):
        output = ["-I", vs.get_include(), "-o", str(tmp_path / f"{source.stem}.o")]
        done = run(*command, *output, source)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_named_compiler_that_does_not_work(tmp_path: Path) -> None:
    done = build(tmp_path, CC="no-such-compiler")
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == (
        "vapoursynth-videoinr needs a C compiler to build its VapourSynth entry, and none that works was found "
        "([Errno 2] No such file or directory: 'no-such-compiler'); install one (Debian, Ubuntu: apt install gcc "
        "libc6-dev) or use a ready-made wheel."
    )


def test_without_a_compiler_pypi_has_one(tmp_path: Path, zig_cache: str) -> None:
    command = "import build_backend; print(build_backend.get_requires_for_build_wheel()[-1:])"
    asked = [run(sys.executable, "-c", command, **environment) for environment in ({}, {"PATH": str(tmp_path)})]
    said = [done.stdout.splitlines()[-1] for done in asked]
    assert said == ["[]" if has_compiler() else "['ziglang>=0.13']", "['ziglang>=0.13']"]

    done = build(tmp_path, PATH=str(tmp_path), ZIG_GLOBAL_CACHE_DIR=zig_cache)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "vapoursynth" / "plugins" / "videoinr"
    assert {path.stem for path in folder.iterdir()} == {"libvideoinr", "manifest"}
    (path,) = folder.glob("libvideoinr.*")
    assert wheels.read_library(path).exports == ["VapourSynthPluginInit2"]
    (path,) = (tmp_path / "vs_videoinr" / "networks").glob("libvideoinr_kernels.*")
    library = wheels.read_library(path)
    assert sorted(library.exports) == wheels.kernel_exports(library.machine)


def has_compiler() -> bool:
    return any(shutil.which(name) for name in ("cc", "gcc", "clang", "cl"))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, zig_cache: str) -> Path:
    """A folder with the sdist and the wheel for Linux on x86-64, as they are released."""
    folder = tmp_path_factory.mktemp("dist")
    release(folder, zig_cache)
    return folder


def release(folder: Path, zig_cache: str, **environment: str) -> None:
    command = [sys.executable, "-m", "scripts.wheels", "--platform", "manylinux_2_17_x86_64", "--output", str(folder)]
    done = run(*command, ZIG_GLOBAL_CACHE_DIR=zig_cache, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {path.name for path in folder.iterdir()}


@needs_git
def test_a_release_is_the_same_bytes_every_time(released: Path, tmp_path: Path, zig_cache: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    release(tmp_path / "dist", zig_cache, TMPDIR=str(tmp_path / "elsewhere"), TZ="Asia/Tokyo", CFLAGS="-O0")
    files = {path.name: path.read_bytes() for path in released.iterdir()}
    assert len(files) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "dist").iterdir()} == files


@needs_git
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="a wheel for Linux on x86-64")
def test_the_released_wheel_in_an_environment_of_its_own(released: Path, tmp_path: Path) -> None:
    """It holds VapourSynth and the wheel; what else the wheel needs, PyTorch above all, it sees in this one."""
    home = tmp_path / "environment"
    venv.create(home)
    python = home / "bin" / "python"
    (packages,) = home.glob("lib/python*/site-packages")
    here = Path(vs.__file__).parent
    shutil.copytree(here, packages / "vapoursynth", ignore=shutil.ignore_patterns("plugins", "__pycache__"))
    (wheel,) = released.glob("*.whl")
    done = run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    (packages / "behind.pth").write_text(f"{here.parent}\n", encoding="utf-8")

    script = """
import vapoursynth as vs
core = vs.core
clip = core.std.BlankClip(width=32, height=24, format=vs.RGB24, length=3, fpsnum=24, color=[20, 130, 240])
clip = clip[0] + core.std.Invert(clip[1]) + clip[2]
out = core.videoinr.Upscale(clip, scale=1.5, fps_num=48, sc=False)
with out.get_frame(1) as frame:
    print(frame.width, frame.height)
import vs_videoinr
print(vs_videoinr.__file__)
print(next(plugin.plugin_path for plugin in core.plugins() if plugin.namespace == "videoinr"))
print(core.videoinr.Version()["version"])
from vs_videoinr.networks import kernels
print(kernels.best() is not None)
"""
    done = run(python, "-P", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    size, package, plugin, version, quick = done.stdout.splitlines()
    assert size == "48 36"
    assert quick == "True"
    assert Path(package).is_relative_to(packages)
    assert Path(plugin).is_relative_to(packages)
    assert version == metadata.version("vapoursynth-videoinr")


@needs_git
def test_what_is_no_release_is_refused(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    assert run("git", "clone", "--quiet", ROOT, clone).returncode == 0
    version = metadata.version("vapoursynth-videoinr")

    def refused() -> str:
        command = [sys.executable, "-m", "scripts.wheels", "--release"]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        return line

    assert refused().startswith(f"wheels: the commit is not tagged v{version}")
    run("git", "-C", clone, "tag", f"v{version}")
    changelog = clone / "CHANGELOG.md"
    dated = re.compile(rf"^## \[{re.escape(version)}\] - \d", re.MULTILINE)
    if not dated.search(changelog.read_text(encoding="utf-8")):
        assert refused().startswith(f"wheels: CHANGELOG.md has no heading '## [{version}] - ")
    changelog.write_text("", encoding="utf-8")
    assert refused().startswith("wheels: the checkout has changes")
