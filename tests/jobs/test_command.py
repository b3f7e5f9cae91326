"""What the command says before it does anything, and what it needs for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, before: str = "") -> tuple[int, str]:
    """Exit status and stderr of `videoinr` in a process of its own, with a line of Python before it."""
    code = f"import sys\n{before}\nfrom vs_videoinr.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.vpy"
    path.write_text("")
    return str(path)


@pytest.mark.parametrize("command", [("render", "SCRIPT", "out.mkv"), ("worker", "tcp://127.0.0.1:1")])
def test_the_engine_is_not_installed(script: str, command: tuple[str, ...]) -> None:
    arguments = [script if part == "SCRIPT" else part for part in command]
    assert run(*arguments, before="sys.modules['distributed'] = None") == (
        1,
        f"videoinr: videoinr {command[0]} needs Dask Distributed; install it: "
        "pip install 'vapoursynth-videoinr[render]'\n",
    )


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("absent.vpy", "out.mkv"), 1, "there is no script "),
        (("SCRIPT", "out.avi"), 1, "must end with one of .mkv, .webm, .mp4, .mov"),
        (("SCRIPT", "absent/out.mkv"), 1, "there is no folder "),
        (("SCRIPT", "out.mkv", "--source", "absent.mkv"), 1, "there is no file "),
        (("SCRIPT", "SCRIPT.mkv", "--source", "SCRIPT.mkv"), 1, "is the source itself; give another name"),
        (("SCRIPT", "out.mkv", "--chunk", "0"), 2, "'0' is not a whole number above 0"),
        (("SCRIPT", "out.mkv", "--workers", "two"), 2, "'two' is not a whole number above 0"),
        (("SCRIPT", "out.mkv", "--arg", "key"), 2, "'key' has no = between its two parts"),
        (("SCRIPT", "out.mkv", "--lossless", "--encoder", "-c:v ffv1"), 2, "not allowed with argument"),
        (("SCRIPT", "out.mkv", "--encoder", "-vf 'a"), 1, "--encoder cannot be read: No closing quotation"),
    ],
)
def test_arguments_that_are_wrong(script: str, arguments: tuple[str, ...], status: int, problem: str) -> None:
    Path(f"{script}.mkv").touch()
    found, said = run("render", *(part.replace("SCRIPT", script) for part in arguments))
    assert (found, problem in said) == (status, True), said


def test_the_command_itself_needs_no_torch() -> None:
    code = (
        "import sys, vs_videoinr.jobs.engine, vs_videoinr.jobs.command, vs_videoinr.jobs.inspector; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"torch", "vapoursynth", "av"} & set(done.stdout.split())
