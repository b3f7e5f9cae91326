"""The times of frames: a grid for a constant rate, timecodes for a variable one. Frames are not encoded again."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

from vs_videoinr.jobs import tools
from vs_videoinr.jobs.chunks import Chunk
from vs_videoinr.jobs.errors import ChunkError, JobError

#: How a timecode file begins.
HEADING = "# timecode format v2"


def on_grid(fps: Fraction) -> str:
    """Return the bitstream filter that puts packets, whose times Matroska has rounded to milliseconds, on a rate."""
    index = f"round(TS*TB*{fps.numerator}/{fps.denominator})"
    return f"setts=ts={index}:duration=1:time_base={fps.denominator}/{fps.numerator}"


def read(path: Path, frames: int) -> list[Fraction]:
    """Return the milliseconds at which frames begin, as `vspipe --timecodes` has written them.

    Raises:
        ChunkError: There is not one for each frame.
    """
    lines = path.read_text(encoding="ascii").splitlines()
    if lines[:1] != [HEADING] or len(lines) != frames + 1:
        raise ChunkError(f"vspipe wrote {max(len(lines) - 1, 0)} timecodes for {frames} frames")
    return [Fraction(line) for line in lines[1:]]


def set_times(source: Path, target: Path, timecodes: Path, chunk: Chunk, pace: Fraction) -> None:
    """Copy a chunk that was encoded at a constant `pace`, with the times of a variable rate.

    Raises:
        ChunkError: It did not work.
    """
    starts = read(timecodes, chunk.frames)
    assert chunk.last_duration is not None
    last = chunk.last_duration * 1000
    expression = f"setts=ts='{_at(starts, pace)}':duration={round(last)}"
    command: list[str | Path] = ["-i", source, "-map", "0:v:0", "-c", "copy", "-bsf:v", expression]
    try:
        tools.run_ffmpeg([*command, "-f", "matroska", "-y", target], f"set the times of {chunk.name}")
    except JobError as error:
        raise ChunkError(str(error)) from None


def _at(starts: list[Fraction], pace: Fraction) -> str:
    """Milliseconds of a packet as an expression of its time TS: the frame's number, through a line with bends."""
    number = f"st(0,round(TS*TB*{pace.numerator}/{pace.denominator}))"
    steps = [round(b - a, 6) for a, b in itertools.pairwise(starts)] or [Fraction(0)]
    bends = "".join(
        f"{float(step - before):+.6f}*max(0,ld(0)-{n})"
        for n, (before, step) in enumerate(itertools.pairwise(steps), 1)
        if abs(step - before) > Fraction(2, 10**6)  # as far as two roundings can be apart
    )
    return f"{number};round({float(steps[0]):.6f}*ld(0){bends})"
