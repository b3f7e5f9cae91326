"""`videoinr render` and `videoinr worker`: whole jobs, by real workers, and what happens to them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")

Script = Callable[..., Path]

#: 64 frames, all different, each of which takes a while.
SLOW = """
import time
clip = core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=64, fpsnum=24000, fpsden=1001, keep=True)
def shade(n):
    time.sleep(SECONDS)
    return core.std.BlankClip(clip, color=[16 + 3 * n, 90, 160], length=1)
core.std.FrameEval(clip, shade).set_output()
"""


class Commands:
    """Processes of one test; none outlives it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Start `videoinr` in a session of its own, as a terminal has it: signals reach what is meant."""
        return self.run_module("vs_videoinr.cli", *arguments, **variables)

    def run_module(self, module: str, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        return self.run([sys.executable, "-m", module, *map(str, arguments)], **variables)

    def run(self, command: Sequence[str], **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            # a test run in the background of a shell has all its children ignore Ctrl-C
            ["env", "--default-signal=INT", *command],
            cwd=self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], status: int = 0) -> str:
        """Wait for a command; return what it says on stderr. It prints nothing."""
        said = process.communicate(timeout=120)
        assert (process.returncode, said[0]) == (status, ""), said
        assert "Traceback" not in said[1]
        return said[1]

    def render(self, *arguments: str | Path, status: int = 0) -> str:
        return self.finish(self.start("render", *arguments), status)

    def close(self) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def commands(environment: dict[str, str], tmp_path: Path) -> Iterator[Commands]:
    found = Commands(environment, tmp_path)
    yield found
    found.close()


@pytest.fixture
def hashes(ffmpeg: str) -> Callable[[Path], list[str]]:
    """The checksum of every decoded frame of a file."""

    def read(path: Path) -> list[str]:
        command: list[str | Path] = [ffmpeg, "-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]

    return read


@pytest.fixture
def one_process(
    environment: dict[str, str], vspipe: Path, hashes: Callable[[Path], list[str]], tmp_path: Path
) -> Callable[[Path], list[str]]:
    """The same of what a single vspipe makes of a script."""

    def render(script: Path) -> list[str]:
        out = tmp_path / "one_process.y4m"
        command: list[str | Path] = [vspipe, "-c", "y4m", script, out]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        return hashes(out)

    return render


def until[T](process: subprocess.Popen[str], true: Callable[[], T], seconds: float = 60) -> T:
    """Wait for something that has to happen while a process runs; return it."""
    start = time.monotonic()
    while not (found := true()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - start < seconds
        time.sleep(0.05)
    return found


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what a process says up to a line that contains `text`; return that."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"it has not said: {text}")


def below(process: subprocess.Popen[str], name: str, argument: str = "") -> list[psutil.Process]:
    """The processes of that name, and with that argument, that a command has started, itself or by others."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if one.name() == name and (not argument or argument in one.cmdline()):
                    found.append(one)
    return found


def pair_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """vspipe and ffmpeg of a chunk that is being made; empty if none is."""
    encoders = {one.ppid(): one for one in below(process, "ffmpeg", "yuv4mpegpipe")}
    pairs = [[one, encoders[one.ppid()]] for one in below(process, "vspipe", "y4m") if one.ppid() in encoders]
    return pairs[0] if pairs else []


def parts(job: Path) -> list[Path]:
    return [*job.rglob("*.part*")]


def test_two_workers_make_the_frames_of_one_process(
    commands: Commands,
    script: Script,
    tmp_path: Path,
    hashes: Callable[[Path], list[str]],
    one_process: Callable[[Path], list[str]],
) -> None:
    """Also not at a cut, nor where the last frame holds."""
    path = script("""
clip = core.std.BlankClip(width=32, height=24, format=vs.YUV420P8, length=14, fpsnum=24, keep=True)
walk = [core.std.AddBorders(core.std.BlankClip(clip, width=8, length=1, color=[200, 90, 160]), 2 * n, 24 - 2 * n)
        for n in range(12)]
clip = core.std.SetFrameProps(core.std.Splice([*walk, clip[:2]]), _Matrix=1)
core.videoinr.Upscale(clip, scale=1.5, fps_num=60, model=tiny).set_output()
""")
    commands.render(path, "out.mkv", "--lossless", "--chunk", "18", "--workers", "2")
    frames = hashes(tmp_path / "out.mkv")
    assert len(frames) == 35
    assert frames == one_process(path)
    assert not (tmp_path / "out.mkv.job").exists()


def test_a_job_is_interrupted_and_goes_on_whatever_is_killed(
    commands: Commands,
    script: Script,
    tmp_path: Path,
    hashes: Callable[[Path], list[str]],
    one_process: Callable[[Path], list[str]],
) -> None:
    path, job = script(SLOW.replace("SECONDS", "0.05")), tmp_path / "job"
    arguments: Sequence[str | Path] = (path, "out.mkv", "--lossless", "--chunk", "10", "--job", job)
    first = commands.start("render", *arguments, "--workers", "1")
    until(first, lambda: any(job.glob("chunks/*9.mkv")))
    until(first, lambda: below(first, "vspipe", "y4m"))[0].suspend()
    children = psutil.Process(first.pid).children(recursive=True)
    assert "another process works on the job" in commands.render(*arguments, status=1)
    first.send_signal(signal.SIGINT)
    start = time.monotonic()
    commands.finish(first, 130)
    assert time.monotonic() - start < 10
    assert not psutil.wait_procs(children, 5)[1]
    assert parts(job) == []
    done = {chunk.name: chunk.stat().st_mtime_ns for chunk in job.glob("chunks/*.mkv")}
    assert 0 < len(done) < 7

    whole = path.read_text()
    path.write_text(whole.replace("90, 160", "90, 161"))
    assert commands.render(*arguments, status=1).splitlines()[-1] == (
        f"videoinr: the job in {job} cannot go on, for its script, or a module that this imports, has changed; "
        "--restart begins it anew"
    )
    path.write_text(whole)
    assert "ffmpeg cannot encode so" in commands.render(path, "new.mkv", "--encoder", "-c:v nonesuch", status=1)
    assert not (tmp_path / "new.mkv.job").exists()
    assert "it began with another --chunk;" in commands.render(*arguments[:-3], "11", *arguments[-2:], status=1)
    assert {chunk.name: chunk.stat().st_mtime_ns for chunk in job.glob("chunks/*.mkv")} == done

    second = commands.start("render", *arguments, "--workers", "3")
    for victim in (0, 1):  # vspipe of a chunk, ffmpeg of another one
        pair = until(second, lambda: pair_of(second))
        pair[victim].kill()
        until(second, lambda pair=pair: not any(one.is_running() for one in pair))  # type: ignore[misc]
    until(second, lambda: pair_of(second))[0].parent().kill()
    said = commands.finish(second)
    assert "vspipe ended with -9" in said
    assert "ffmpeg ended with -9" in said
    assert "64 of 64 frames (100.0 %)" in said
    assert hashes(tmp_path / "out.mkv") == one_process(path)
    assert "out.mkv exists already; --restart renders it anew" in commands.render(*arguments, status=1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system on which processes keep to cores")
def test_each_gpu_gets_a_worker_and_a_share_of_the_cores(commands: Commands, script: Script, tmp_path: Path) -> None:
    driver = tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\necho GPU 0: one\necho GPU 1: another\n")
    driver.chmod(0o755)
    path = script(SLOW.replace("SECONDS", "0.05"))
    render = commands.start(
        "render", path, "out.mkv", "--chunk", "16", PATH=f"{driver.parent}{os.pathsep}{commands.environment['PATH']}"
    )
    first = until(render, lambda: below(render, "vspipe", "y4m"))[0]
    first.suspend()
    second = until(render, lambda: [one for one in below(render, "vspipe", "y4m") if one.pid != first.pid])[0]
    second.suspend()
    assert {one.environ()["CUDA_VISIBLE_DEVICES"] for one in (first, second)} == {"0", "1"}
    shares, cores = [{*one.cpu_affinity()} for one in (first, second)], os.sched_getaffinity(0)
    assert shares[0] | shares[1] == cores
    assert len(cores) < 2 or not shares[0] & shares[1]
    first.resume()
    second.resume()
    commands.finish(render)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def start_scheduler(commands: Commands, port: int) -> subprocess.Popen[str]:
    return commands.run_module(
        "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
    )


def test_a_cluster_loses_its_scheduler_and_gets_a_worker_late(
    commands: Commands,
    script: Script,
    tmp_path: Path,
    port: int,
    hashes: Callable[[Path], list[str]],
    one_process: Callable[[Path], list[str]],
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    scheduler = start_scheduler(commands, port)
    early = commands.start("worker", address, "--workers", "1")
    path = script(SLOW.replace("SECONDS", "0.02"))
    render = commands.start("render", path, "out.mkv", "--lossless", "--chunk", "8", "--scheduler", address)
    first = until(render, lambda: below(early, "vspipe", "y4m"))[0]
    first.suspend()  # a chunk takes as long as the rest takes here
    scheduler.kill()
    until(render, lambda: not first.is_running())
    start_scheduler(commands, port)
    busy = until(render, lambda: below(early, "vspipe", "y4m"))[0]
    busy.suspend()
    # The shared folder has another path on this machine.
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")
    elsewhere.symlink_to(tmp_path)
    late = commands.start("worker", address, "--workers", "1", "--map", f"{tmp_path}={elsewhere}")
    until(render, lambda: below(late, "vspipe", str(elsewhere / path.name)))
    busy.resume()
    said = commands.finish(render)
    assert f"the scheduler at {address} is gone; waiting for it" in said
    assert hashes(tmp_path / "out.mkv") == one_process(path)
    early.send_signal(signal.SIGINT)
    commands.finish(early, 130)


def test_a_worker_with_other_programs_is_refused(
    commands: Commands, script: Script, tmp_path: Path, port: int, ffmpeg: str
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    start_scheduler(commands, port)
    other = tmp_path / "bin" / "ffmpeg"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 0.1 || exec "{ffmpeg}" "$@"\n')
    other.chmod(0o755)
    good = commands.start("worker", address, "--workers", "1")
    path = script(SLOW.replace("SECONDS", "0.01"))
    render = commands.start("render", path, "out.mkv", "--lossless", "--chunk", "8", "--scheduler", address)
    busy = until(render, lambda: below(good, "vspipe", "y4m"))[0]
    busy.suspend()
    bad = commands.start("worker", address, "--workers", "1", PATH=f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    assert f"-{bad.pid}-0 (" in read_until(render, "is refused: it has ffmpeg 0.1 instead of ")
    busy.resume()
    assert commands.finish(render).endswith("out.mkv is done\n")


def may_mount() -> bool:
    """Whether this user can make a file system of his own, as small as he likes."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and not subprocess.run(command, capture_output=True).returncode


@pytest.mark.skipif(not may_mount(), reason="needs a disk that is full")
def test_a_worker_without_room(
    commands: Commands,
    script: Script,
    tmp_path: Path,
    port: int,
    hashes: Callable[[Path], list[str]],
    one_process: Callable[[Path], list[str]],
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    start_scheduler(commands, port)
    job, full = tmp_path / "job", tmp_path / "full"
    full.mkdir()
    mount = f"mount -t tmpfs -o size=64k tmpfs {full} && mkdir {full}/chunks && ! cat /dev/zero >{full}/zero"
    worker = f"{sys.executable} -m vs_videoinr.cli worker {address} --workers 1 --map {job}={full}"
    bad = commands.run(["unshare", "-rm", "sh", "-c", f"{mount} 2>/dev/null; exec {worker}"])
    path = script(SLOW.replace("SECONDS", "0.02"))
    for one in (bad, commands.start("worker", address, "--workers", "1")):
        read_until(one, f"1 worker at {address}")
    said = commands.render(path, "out.mkv", "--lossless", "--chunk", "8", "--job", job, "--scheduler", address)
    assert "No space left on device" in said
    assert hashes(tmp_path / "out.mkv") == one_process(path)
