"""One chunk: vspipe renders it, ffmpeg encodes it, and only a complete file gets the chunk's name."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vs_videoinr.jobs import timestamps, tools
from vs_videoinr.jobs.chunks import Chunk
from vs_videoinr.jobs.errors import ChunkError, JobError
from vs_videoinr.jobs.script_info import Clip
from vs_videoinr.jobs.y4m import copy_frames

#: How ffmpeg encodes unless it is told: closed groups of pictures, so that chunks can follow each other.
DEFAULT_ENCODER = ("-c:v", "libx264", "-crf", "16", "-flags", "+cgop")
LOSSLESS_ENCODER = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1")

#: In the name of a file that is not complete.
PART = ".part"

#: Seconds between two looks whether somebody still waits for the chunk.
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Recipe:
    """What all chunks of a job have in common.

    Attributes:
        script: Its path.
        arguments: What `vspipe --arg` is given.
        clip: The script's output.
        encoder: Arguments of ffmpeg.
        folder: Where the chunks go.
        suffix: Of the file that they will be joined to, and so of their own: that keeps the times of its container.
    """

    script: Path
    arguments: Mapping[str, str]
    clip: Clip
    encoder: Sequence[str]
    folder: Path
    suffix: str

    def path(self, chunk: Chunk) -> Path:
        """Return the path of a complete chunk."""
        return self.folder / f"{chunk.name}{self.suffix}"

    def timecodes(self, chunk: Chunk) -> Path:
        """Return the path of the times of a chunk's frames, if the rate varies."""
        return self.folder / f"{chunk.name}.txt"


def encode_chunk(recipe: Recipe, chunk: Chunk, each: Callable[[int], None], abandoned: Callable[[], bool]) -> None:
    """Render and encode one chunk into its file, and for a variable rate set its frames' times.

    Args:
        recipe: What to make.
        chunk: Which frames of it.
        each: Called with the number of frames that have been rendered.
        abandoned: Whether nobody waits for the chunk any more; asked from another thread.

    Raises:
        ChunkError: It did not work; nothing of it is left.
        JobError: A program is missing.
    """
    stem = f"{chunk.name}.{secrets.token_hex(4)}{PART}"
    part, times = recipe.folder / f"{stem}{recipe.suffix}", recipe.folder / f"{stem}.txt"
    try:
        _check(part, chunk, _render(recipe, chunk, part, times, each, abandoned))
        if recipe.clip.fps is None:
            timed = recipe.folder / f"{stem}.timed{recipe.suffix}"
            try:
                timestamps.set_times(part, timed, times, chunk, recipe.clip.pace)
                _check(timed, chunk, "")
                timed.replace(part)
            finally:
                timed.unlink(missing_ok=True)
            times.replace(recipe.timecodes(chunk))
        _write_through(part)
        part.replace(recipe.path(chunk))
    except OSError as error:
        raise ChunkError(f"{error.strerror or error} ({recipe.folder})") from None
    finally:
        for path in (part, times):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    """Have a file on the disk before it gets its name: the power may fail any day of a long job."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def count_frames(path: Path) -> int:
    """Return how many frames a file's video has, without decoding them.

    Raises:
        JobError: It cannot be read.
    """
    command: list[str | Path] = ["-i", path, "-map", "0:v:0", "-c", "copy", "-progress", "-", "-f", "null", "-"]
    said = tools.run_ffmpeg(command, f"read {path.name}")
    return next((int(line[6:]) for line in reversed(said.splitlines()) if line.startswith("frame=")), 0)


def _check(path: Path, chunk: Chunk, said: str) -> None:
    """Refuse a file that is not complete: not every error in the end makes ffmpeg's status one."""
    try:
        frames = count_frames(path)
    except JobError as error:
        raise ChunkError(said or str(error)) from None
    if frames != chunk.frames:
        why = said or "its arguments must keep the number of frames"
        raise ChunkError(f"the encoder made {frames} frames of {chunk.frames}: {why}")


def _render(
    recipe: Recipe,
    chunk: Chunk,
    part: Path,
    times: Path,
    each: Callable[[int], None],
    abandoned: Callable[[], bool],
) -> str:
    """Run vspipe and ffmpeg, and copy frames from one to the other: when this process goes, both end for that.

    Returns what ffmpeg has said although its status is none of an error.
    """
    rendering: list[str | Path] = [tools.vspipe(), "-c", "y4m", "-s", str(chunk.first), "-e", str(chunk.last)]
    for key, value in recipe.arguments.items():
        rendering += ["-a", f"{key}={value}"]
    if recipe.clip.fps is None:
        rendering += ["-t", times]
    rendering += [recipe.script, "-"]
    tags = [text for option, value in recipe.clip.tags.items() for text in (f"-{option}", str(value))]
    encoding: list[str | Path] = [tools.ffmpeg(), "-hide_banner", "-nostdin", "-v", "error", "-y"]
    encoding += ["-f", "yuv4mpegpipe", *tags, "-i", "-", "-map", "0:v", "-fps_mode", "passthrough", *tags]
    encoding += [*recipe.encoder, part]

    problem: Exception | None = None
    with tempfile.TemporaryFile() as vspipe_said, tempfile.TemporaryFile() as ffmpeg_said:
        with (
            subprocess.Popen(rendering, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=vspipe_said) as vspipe,
            subprocess.Popen(encoding, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=ffmpeg_said) as ffmpeg,
            _ended_when(abandoned, vspipe, ffmpeg),
        ):
            assert vspipe.stdout is not None
            assert ffmpeg.stdin is not None
            try:
                copy_frames(vspipe.stdout, ffmpeg.stdin, recipe.clip, chunk.frames, each)
            except (ChunkError, OSError) as error:
                problem = error
                # Frames run out where vspipe fails, and the pipe breaks where ffmpeg does.
                failed, other = (ffmpeg, vspipe) if isinstance(error, OSError) else (vspipe, ffmpeg)
                other.kill()
                _wait_briefly(failed)
            except BaseException:
                vspipe.kill()
                ffmpeg.kill()
                raise
            finally:
                with contextlib.suppress(OSError):  # what ffmpeg has not read, it will not
                    ffmpeg.stdin.close()
                vspipe.stdout.close()
        if abandoned():
            raise ChunkError("nobody waits for it any more")
        ends = {"vspipe": (vspipe.returncode, vspipe_said), "ffmpeg": (ffmpeg.returncode, ffmpeg_said)}
        if problem is not None:  # the other one was ended here
            del ends["vspipe" if isinstance(problem, OSError) else "ffmpeg"]
        for name, (status, said) in ends.items():
            if status:
                raise ChunkError(f"{name} ended with {status}: {_reason(said) or 'it was killed'}")
        if isinstance(problem, OSError):
            raise ChunkError("ffmpeg has not read all frames; its arguments must keep their number")
        if problem is not None:
            raise problem
        return _reason(ffmpeg_said)


def _wait_briefly(process: subprocess.Popen[bytes]) -> None:
    """Let a process that has failed say so; end it if it has not."""
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()


@contextlib.contextmanager
def _ended_when(abandoned: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the processes as soon as nobody waits for what they make, whatever they are doing."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_SECONDS):
            if abandoned():
                for process in processes:
                    process.kill()
                return

    watcher = threading.Thread(target=watch, name="videoinr-chunk", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _reason(said: IO[bytes]) -> str:
    said.seek(0)
    return tools.reason(said.read())
