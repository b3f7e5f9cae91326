"""When each frame of a clip of variable rate begins, from a timecode file (v2, as source filters and vspipe write).

VapourSynth knows a frame's duration only once the frame has been made, so where a frame lies in time could be told from
the clip itself only by making all the frames before it.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vs_videoinr.files import open_regular

NANOSECONDS = 10**9

#: Nanoseconds. Matroska keeps times in whole milliseconds: a time so close to a frame's is that frame's.
ROUNDING_NS = 500_000

#: But not a larger share of the frame's own duration than this, or nothing would lie between short frames.
ROUNDING_SHARE = 8

MAX_BYTES = 1 << 26  # enough for a day of video
MAX_MILLISECONDS = Decimal(10**12)  # thirty years: far from what nanoseconds in 64 bits hold


class TimecodeError(ValueError):
    """The file cannot be used; the message is for the user."""


class Timecodes:
    """When the frames of a clip begin, and when the last one ends, counted from the first one."""

    def __init__(self, starts: NDArray[np.int64]) -> None:
        """`starts`: nanoseconds, strictly increasing from 0; one more than there are frames, for the clip's end."""
        self._starts = starts
        lengths = np.diff(starts)
        shorter = np.minimum(lengths, np.concatenate((lengths[:1], lengths[:-1])))  # of a frame and the one before it
        self._tolerances = np.minimum(shorter // ROUNDING_SHARE, ROUNDING_NS)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self._starts) - 1

    def duration(self, n: int) -> float:
        """Return the seconds that frame `n` lasts; 0 for a frame that there is not."""
        return float(self._starts[n + 1] - self._starts[n]) / NANOSECONDS if 0 <= n < self.frames else 0.0

    @property
    def total(self) -> Fraction:
        """The clip's length in seconds."""
        return Fraction(int(self._starts[-1]), NANOSECONDS)

    def position(self, time: Fraction, tolerance: Fraction | None = None) -> Fraction:
        """Return where `time` is, counted in frames: 3.25 is a quarter through frame 3.

        A time is a frame's own if it differs by no more than times in a file may be rounded by, and by less than
        `tolerance`.

        Args:
            time: Seconds, from 0 to the clip's end.
            tolerance: Seconds.
        """
        nanoseconds = time * NANOSECONDS
        last = self.frames - 1
        left = min(int(np.searchsorted(self._starts, int(nanoseconds), side="right")) - 1, last)
        for frame in (left, min(left + 1, last)):
            off = abs(nanoseconds - int(self._starts[frame]))
            if off <= int(self._tolerances[frame]) and (tolerance is None or off < tolerance * NANOSECONDS):
                return Fraction(frame)
        begin, end = int(self._starts[left]), int(self._starts[left + 1])
        return left + (nanoseconds - begin) / (end - begin)

    def times_between(self, fps: Fraction, count: int, tolerance: Fraction) -> list[float]:
        """Return how far between two frames `count` times at a rate lie, as `position` says: 0 to below 1, each once.

        To a billionth: all frames of a film are looked at before its first one is shown.
        """
        nanoseconds = np.arange(count) * float(NANOSECONDS / fps)
        last = self.frames - 1
        left = np.minimum(np.searchsorted(self._starts, nanoseconds, side="right") - 1, last)
        times = (nanoseconds - self._starts[left]) / (self._starts[left + 1] - self._starts[left])
        times[left == last] = 0  # there the picture holds
        for frame in (left, np.minimum(left + 1, last)):
            off = np.abs(nanoseconds - self._starts[frame])
            times[(off <= self._tolerances[frame]) & (off < float(tolerance * NANOSECONDS))] = 0
        return list(dict.fromkeys(times.round(9).tolist()))


def read(path: str, frames: int) -> Timecodes:
    """Read a timecode file for a clip of `frames` frames: a line of milliseconds for each, and perhaps one for the end.

    Where the end is not told, the last frame lasts as long as the one before it.

    Raises:
        TimecodeError: What is wrong, in one line.
    """
    lines = _lines(path)
    if not lines or not lines[0].lower().startswith(("# timecode format v2", "# timestamp format v2")):
        raise TimecodeError(f'timecodes file {path} does not begin with "# timecode format v2"')
    values = [line for line in lines[1:] if line and not line.startswith("#")]
    if len(values) not in (frames, frames + 1):
        raise TimecodeError(f"timecodes file {path} has {len(values)} times, but the clip has {frames} frames")
    try:
        times = [Decimal(value) for value in values]
    except InvalidOperation:
        raise TimecodeError(f"timecodes file {path} holds something that is not a number") from None
    if any(time.is_nan() for time in times):
        raise TimecodeError(f"timecodes file {path} holds something that is not a number")
    if not all(-MAX_MILLISECONDS < time < MAX_MILLISECONDS for time in times):
        raise TimecodeError(f"timecodes file {path} holds a time that is too large")
    if len(times) == frames:
        if frames == 1:
            raise TimecodeError(f"timecodes file {path} does not tell how long the clip's only frame lasts")
        times.append(2 * times[-1] - times[-2])
    starts = np.array([int((time - times[0]).scaleb(6).to_integral_value()) for time in times], np.int64)
    if not (np.diff(starts) > 0).all():
        raise TimecodeError(f"timecodes file {path} has times that do not increase")
    return Timecodes(starts)


def _lines(path: str) -> list[str]:
    try:
        with open_regular(Path(path), MAX_BYTES) as stream:
            text = stream.read(MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise TimecodeError(f"timecodes file {path} cannot be read: {why}") from None
    return [line.strip() for line in text.splitlines()]
