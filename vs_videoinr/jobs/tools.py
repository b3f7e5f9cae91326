"""The programs that a job runs: vspipe, ffmpeg, and Python itself for what needs a process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vs_videoinr.jobs.errors import JobError


def vspipe() -> str:
    """Return the path of vspipe itself: the command of that name changes some exit codes."""
    found = importlib.util.find_spec("vapoursynth")
    if found is not None and found.origin is not None:
        for name in ("vspipe", "vspipe.exe"):
            path = Path(found.origin).with_name(name)
            if path.exists():
                return str(path)
    raise JobError("vspipe was not found beside VapourSynth's Python module; install it: pip install vapoursynth")


def ffmpeg() -> str:
    """Return the path of the system's ffmpeg, or of the one that the package imageio-ffmpeg has."""
    if found := shutil.which("ffmpeg"):
        return found
    if importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    raise JobError("ffmpeg was not found; install it, or: pip install imageio-ffmpeg")


def run_ffmpeg(arguments: Sequence[str | Path], what: str) -> str:
    """Run ffmpeg without input from the terminal; return what it prints.

    Raises:
        JobError: It failed; the message says that it could not `what`, and why in its own words.
    """
    command = [ffmpeg(), "-hide_banner", "-nostdin", "-v", "error", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise JobError(f"ffmpeg could not {what}: {reason(done.stderr)}")
    return done.stdout.decode(errors="replace")


def run_python(module: str, *arguments: str) -> str:
    """Run a module in a Python process of its own; return what it prints.

    Raises:
        JobError: It failed; the message is the last line that it wrote to stderr.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]  # nothing of the folder that the command is run in
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise JobError(reason(done.stderr))
    return done.stdout.decode(errors="replace")


def reason(stderr: bytes) -> str:
    """Return in one line what a program has said last; empty if it has said nothing."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    return "".join(character if character.isprintable() else "?" for character in text)[:500]


def cores() -> list[int]:
    """Return the numbers of the CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
