"""From vspipe's y4m stream to an encoder's, frame by frame, so that what is missing is noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import IO

from vs_videoinr.jobs.errors import ChunkError
from vs_videoinr.jobs.script_info import Clip

_FRAME = b"FRAME\n"


def copy_frames(source: IO[bytes], target: IO[bytes], clip: Clip, frames: int, each: Callable[[int], None]) -> None:
    """Copy a stream of `frames` frames; its header gets the rate, pixel shape and range that vspipe does not write.

    Args:
        source: What vspipe writes.
        target: What the encoder reads; closed in the end.
        clip: What the frames are.
        frames: How many there have to be.
        each: Called with the number of frames that have been copied.

    Raises:
        ChunkError: There are fewer or more frames, or it is no such stream.
        OSError: The encoder has stopped reading.
    """
    header = source.readline(1000)
    if not header.startswith(b"YUV4MPEG2 "):
        raise ChunkError("vspipe wrote no frames")
    target.write(_corrected(header, clip))
    size = len(_FRAME) + clip.frame_bytes
    for n in range(frames):
        frame = source.read(size)
        if len(frame) != size or not frame.startswith(_FRAME):
            raise ChunkError(f"vspipe wrote {n} of {frames} frames")
        target.write(frame)
        each(n + 1)
    if source.read(1):
        raise ChunkError(f"vspipe wrote more than {frames} frames")
    target.close()


def _corrected(header: bytes, clip: Clip) -> bytes:
    text = header.decode("ascii").rstrip("\n")
    text = re.sub(r" F\S+", f" F{clip.pace.numerator}:{clip.pace.denominator}", text)
    text = re.sub(r" A\S+", f" A{clip.sar[0]}:{clip.sar[1]}", text)
    if clip.tags.get("color_range") == 2:
        text += " XCOLORRANGE=FULL"
    return f"{text}\n".encode("ascii")
