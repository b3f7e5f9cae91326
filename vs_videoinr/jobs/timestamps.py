"""The times of frames: a grid for a constant rate, timecodes for a variable one. Frames are not encoded again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vs_videoinr.jobs import tools
from vs_videoinr.jobs.chunks import Chunk
from vs_videoinr.jobs.errors import ChunkError, JobError

#: How a timecode file begins.
HEADING = "# timecode format v2"


def on_grid(fps: Fraction) -> str:
    """Return the bitstream filter that sets the times of packets to those of a rate, as exactly as the container can.

    Joined chunks are where Matroska rounds to milliseconds twice, for frames and for chunks.
    """
    return _setts(lambda time: f"round({_index(time, fps)}/({fps.numerator}/{fps.denominator})/TB)")


def lasting(seconds: Fraction) -> str:
    """Return the bitstream filter by which a file's last frame lasts so long; the next one's time ends all others."""
    return f"{_setts(lambda time: time)}:duration={float(seconds):.6f}/TB"


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
    expression = f"{_setts(_at(starts, pace))}:duration={float(chunk.last_duration):.6f}/TB"
    command: list[str | Path] = ["-i", source, "-map", "0:v:0", "-c", "copy", "-bsf:v", expression]
    try:
        tools.run_ffmpeg([*command, "-y", target], f"set the times of {chunk.name}")
    except JobError as error:
        raise ChunkError(str(error)) from None


def _setts(new_time: Callable[[str], str]) -> str:
    """The bitstream filter that sets the time of presentation and that of decoding; ts= would make them equal."""
    return f"setts=pts='{new_time('PTS')}':dts='{new_time('DTS')}'"


def _at(starts: list[Fraction], pace: Fraction) -> Callable[[str], str]:
    """A packet's time as an expression of what it was: milliseconds are a line with bends over the frame's number."""
    steps = [round(b - a, 6) for a, b in itertools.pairwise(starts)] or [Fraction(0)]
    bends = "".join(
        f"{float(step - before):+.6f}*max(0,ld(0)-{n})"
        for n, (before, step) in enumerate(itertools.pairwise(steps), 1)
        if abs(step - before) > Fraction(2, 10**6)  # as far as two roundings can be apart
    )
    line = f"{float(steps[0]):.6f}*ld(0){bends}"
    return lambda time: f"st(0,{_index(time, pace)});round(({line})/1000/TB)"


def _index(time: str, fps: Fraction) -> str:
    """A frame's number as an expression of its time at a constant rate."""
    return f"round({time}*TB*{fps.numerator}/{fps.denominator})"
