"""Chunks become one file, without being encoded again, with all but the picture of the source."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vs_videoinr.jobs import timestamps, tools
from vs_videoinr.jobs.chunks import Chunk
from vs_videoinr.jobs.encode import PART, Recipe, count_frames
from vs_videoinr.jobs.errors import JobError

#: What OUT may end with: containers that say when each frame begins. Matroska counts milliseconds.
ROUNDED = (".mkv", ".webm")
SUFFIXES = (*ROUNDED, ".mp4", ".mov")

#: Up to this rate milliseconds, rounded twice, tell frames apart.
_MAX_ROUNDED_FPS = 480


def join(recipe: Recipe, chunks: Sequence[Chunk], source: Path | None, out: Path) -> None:
    """Make `out` of all chunks, and of the sound, subtitles, chapters and title of `source`.

    Raises:
        JobError: It did not work; there is no new file then, and all chunks are still there.
    """
    part = out.with_name(f"{out.stem}{PART}{out.suffix}")
    try:
        _join(recipe, chunks, source, part)
        frames = count_frames(part)
        if frames != sum(chunk.frames for chunk in chunks):
            raise JobError(f"{out.name} got {frames} frames of {sum(chunk.frames for chunk in chunks)}")
        part.replace(out)
    except OSError as error:
        raise JobError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def try_encoder(recipe: Recipe, source: Path | None, out: Path) -> None:
    """Encode one black frame and join it with the beginning of `source`, before hours are spent.

    Raises:
        JobError: The encoder's arguments are wrong, or the container does not take what it is to hold.
    """
    if out.suffix in ROUNDED and recipe.clip.pace > _MAX_ROUNDED_FPS:
        raise JobError(
            f"{out.suffix} counts milliseconds, too few for {float(recipe.clip.pace):g} fps; use .mp4 or .mov"
        )
    clip, chunk = recipe.clip, Chunk(0, 0, 1 / recipe.clip.pace)
    trial = replace(recipe, folder=recipe.folder / f"trial{PART}")
    path, part = trial.path(chunk), trial.folder / f"out{out.suffix}"
    try:
        trial.folder.mkdir(exist_ok=True)
        trial.timecodes(chunk).write_text(f"{timestamps.HEADING}\n0\n", encoding="ascii")
        command = [tools.ffmpeg(), "-hide_banner", "-v", "error", "-f", "rawvideo", "-pix_fmt", _pixels(clip.format)]
        command += ["-s", f"{clip.width}x{clip.height}", "-framerate", str(clip.pace), "-i", "-"]
        done = subprocess.run(
            [*command, *recipe.encoder, "-y", path],
            input=bytes(clip.frame_bytes),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise JobError(f"ffmpeg cannot encode so: {tools.reason(done.stderr)}")
        _join(trial, [chunk], source, part, "-t", "0.1")
    except OSError as error:
        raise JobError(f"{trial.folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(trial.folder, ignore_errors=True)


def _pixels(name: str) -> str:
    """A format of VapourSynth as ffmpeg names it: YUV420P8 is yuv420p, GRAY16 is gray16le."""
    name = name.lower()
    return name.removesuffix("8") if name.endswith(("p8", "gray8")) else f"{name}le"


def _join(recipe: Recipe, chunks: Sequence[Chunk], source: Path | None, part: Path, *options: str) -> None:
    listing = recipe.folder / "list.txt"
    listing.write_text("\n".join(_listed(recipe, chunks)), encoding="utf-8")
    command: list[str | Path] = ["-f", "concat", "-safe", "0", "-i", listing]
    if source is not None:
        command += ["-itsoffset", f"{-_video_start(source):.6f}", "-i", source]
    command += ["-map", "0:v:0"]
    if source is not None:
        command += ["-map", "1:a?", "-map", "1:s?", "-map_chapters", "1", "-map_metadata", "1"]
        if part.suffix == ".mkv":
            command += ["-map", "1:t?"]  # fonts of the subtitles
    command += ["-c", "copy"]
    if recipe.clip.fps is None:
        assert chunks[-1].last_duration is not None
        command += ["-bsf:v", timestamps.lasting(chunks[-1].last_duration)]
    elif part.suffix in ROUNDED:
        command += ["-bsf:v", timestamps.on_grid(recipe.clip.fps)]
    if part.suffix in (".mp4", ".mov"):
        command += ["-movflags", "+faststart"]
    tools.run_ffmpeg([*command, *options, "-y", part], f"join the chunks as {part.suffix}")


def _listed(recipe: Recipe, chunks: Sequence[Chunk]) -> list[str]:
    """The lines of ffmpeg's list of files, with their durations: the files' own are rounded to milliseconds."""
    lines = ["ffconcat version 1.0"]
    end = Fraction(0)
    for chunk in chunks:
        start, end = end, end + _seconds(recipe, chunk)
        # Rounded so that errors do not add up over many chunks.
        microseconds = round(end * 10**6) - round(start * 10**6)
        lines += [f"file '{recipe.path(chunk).name}'", f"duration {microseconds / 10**6:.6f}"]
    return lines


def _seconds(recipe: Recipe, chunk: Chunk) -> Fraction:
    if recipe.clip.fps is not None:
        return chunk.frames / recipe.clip.fps
    assert chunk.last_duration is not None
    return timestamps.read(recipe.timecodes(chunk), chunk.frames)[-1] / 1000 + chunk.last_duration


def _video_start(source: Path) -> Fraction:
    """Seconds from the beginning of a file to its first picture: sound may begin before that."""
    command: list[str | Path] = ["-i", source, "-map", "0:V:0", "-c", "copy", "-frames:v", "1"]
    try:
        said = tools.run_ffmpeg([*command, "-avoid_negative_ts", "disabled", "-f", "framecrc", "-"], "read the source")
    except JobError:  # it has no picture
        return Fraction(0)
    lines = said.splitlines()
    base = next(Fraction(line.split(":")[1].strip()) for line in lines if line.startswith("#tb"))
    first = next((line.split(",") for line in lines if not line.startswith("#")), None)
    return Fraction(0) if first is None else int(first[2]) * base
