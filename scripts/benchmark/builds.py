"""The plugin in two versions: the one installed here, and that of an earlier commit in a folder of its own.

Both run in processes of their own, from which each says which files it has loaded.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import vapoursynth as vs

from scripts import ROOT
from scripts.benchmark import ENVIRONMENT

#: The commit before this work on speed began.
BEFORE = "f77d359"

#: What is said of the installed version where git does not tell its commit.
UNKNOWN = "unknown"

#: What vspipe does where it cannot be used.
_PIPE = ROOT / "scripts" / "benchmark" / "pipe.py"

#: Where VapourSynth and the packages of this environment are.
_VAPOURSYNTH = Path(vs.__file__).parent
_PACKAGES = _VAPOURSYNTH.parent


@dataclass(frozen=True)
class Build:
    """One version of the plugin, ready to run.

    Attributes:
        name: "now" or "before".
        commit: What it was built from.
        packages: Folder that holds `vs_videoinr` and, in `vapoursynth`, the native library and vspipe.
        variables: Environment variables of its processes.
    """

    name: str
    commit: str
    packages: Path
    variables: dict[str, str] = field(repr=False)

    @property
    def vspipe(self) -> list[str | Path]:
        """The program itself, not the command of the same name, which is Python; or what takes its place."""
        if not _config(self.variables).stat().st_size:
            return [sys.executable, "-P", _PIPE]
        return [self.packages / "vapoursynth" / "vspipe"]

    def check(self, *files: str) -> None:
        """Raise unless all of these files, which a process has loaded, are of this version."""
        for file in files:
            if not Path(file).resolve().is_relative_to(self.packages.resolve()):
                raise RuntimeError(f"{self.name}: {file} was loaded, which is not in {self.packages}")


def _git(*arguments: str) -> str | None:
    """What git prints; None where it fails or is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _config(variables: dict[str, str]) -> Path:
    """Where vspipe learns which library of Python's to load; VapourSynth leaves it empty if there is none."""
    return Path(variables["XDG_CONFIG_HOME"], "vapoursynth", "vapoursynth.toml")


def _variables(work: Path, **more: str) -> dict[str, str]:
    """Of a process that reads nothing of the user's own settings and finds Python where vspipe looks for it."""
    variables = {name: value for name, value in ENVIRONMENT.items() if name not in ("PYTHONPATH", "VIDEOINR_MODELS")}
    # vspipe runs the first `python` on the path where its settings name none.
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    variables |= {"PATH": path, "XDG_CONFIG_HOME": str(work / "config"), "XDG_DATA_HOME": str(work / "data")} | more
    command = [sys.executable, "-P", "-m", "vapoursynth", "config"]
    subprocess.run(command, env=variables, check=True, capture_output=True)
    return variables


def installed(work: Path) -> Build:
    """The version that is installed in this environment, which has to be the checkout's."""
    for source in (ROOT / "vs_videoinr").rglob("*"):
        copy = _PACKAGES / source.relative_to(ROOT)
        if source.suffix in (".py", ".yaml", ".safetensors") and not (
            copy.is_file() and filecmp.cmp(source, copy, shallow=False)
        ):
            raise SystemExit("the installed plugin is not the checkout's: run `pip install .` first")
    commit = _git("rev-parse", "--short", "HEAD") or UNKNOWN
    changed = " with changes" if _git("status", "--porcelain", "--", "vs_videoinr") else ""
    return Build("now", commit + changed, _PACKAGES, _variables(work))


def earlier(commit: str, work: Path) -> Build | None:
    """The version of a commit, made as a wheel in a folder below `work` the first time; None if git has no such commit.

    Everything but the plugin and VapourSynth itself, which autoloads the plugins beside it, is this environment's.
    """
    full = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if full is None:
        return None
    folder = work / "builds" / full[:12]
    if not folder.exists():
        with tempfile.TemporaryDirectory() as temporary:
            archive, source, part = (Path(temporary, name) for name in ("source.tar", "source", "part"))
            subprocess.run(["git", "archive", "--output", archive, full], cwd=ROOT, check=True)
            shutil.unpack_archive(archive, source, filter="data")
            command: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--no-build-isolation", "--target", part, source]
            subprocess.run(command, check=True)
            shutil.copytree(_VAPOURSYNTH, part / "vapoursynth", ignore=_no_plugins, dirs_exist_ok=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(part, folder)
    return Build("before", full[:7], folder, _variables(work, PYTHONPATH=str(folder)))


def _no_plugins(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "plugins" and Path(folder) == _VAPOURSYNTH]
