"""What somebody who watches a job is told: how far it is, and when it will be done."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence

from vs_videoinr.jobs.chunks import Chunk

#: Seconds until somebody who waits is told what for.
PATIENCE_SECONDS = 5.0

#: Seconds between two lines, on a terminal (where they replace each other) and elsewhere.
_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 30.0


def say(text: str) -> None:
    """Write a line that stays to stderr."""
    _write(f"videoinr: {text}", ends=True)


#: Tells the user something in one line.
Say = Callable[[str], None]


class Patience:
    """Says once what is waited for, when that takes longer than anybody expects."""

    def __init__(self, say: Say, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        self._say, self._text, self._seconds = say, text, seconds
        self._since: float | None = None
        self._told = False

    def look(self, waiting: bool) -> None:
        """Take note of whether it is waited now."""
        now = time.monotonic()
        if not waiting:
            self._since, self._told = None, False
        elif self._since is None:
            self._since = now
        if waiting and not self._told and self._since is not None and now - self._since >= self._seconds:
            self._told = True
            self._say(self._text)


class Progress:
    """Counts frames, and says on stderr how it goes.

    Args:
        chunks: All chunks.
        missing: Indices of those that are not done.
    """

    def __init__(self, chunks: Sequence[Chunk], missing: Sequence[int]) -> None:
        self._chunks = chunks
        self._total = sum(chunk.frames for chunk in chunks)
        self._before = self._total - sum(chunks[number].frames for number in missing)
        self._done = self._before
        self._partly: dict[int, int] = {}
        self._missing = set(missing)
        self._begun = self._shown = time.monotonic()
        self._lock = threading.Lock()
        self._watched = _is_terminal()

    def rendered(self, number: int, frames: int) -> None:
        """So many frames of a chunk are rendered."""
        with self._lock:
            if number in self._missing:
                self._partly[number] = frames
            self._show()

    def done(self, number: int) -> None:
        """A chunk is done."""
        with self._lock:
            self._missing.discard(number)
            self._partly.pop(number, None)
            self._done += self._chunks[number].frames
            self._show(always=not self._missing)

    def _show(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if not always and now - self._shown < (_TERMINAL_SECONDS if self._watched else _LOG_SECONDS):
            return
        self._shown = now
        # What a worker had made of a chunk when it was lost does not count twice: `_partly` is what the last one says.
        frames = self._done + sum(self._partly.values())
        elapsed = now - self._begun
        rate = (frames - self._before) / elapsed if elapsed else 0
        text = f"{frames} of {self._total} frames ({100 * frames / self._total:.1f} %)"
        if rate > 0:
            text += f", {rate:.3g} per second, {_span((self._total - frames) / rate)} to go"
        _write(text, ends=not self._watched or not self._missing)


def _span(seconds: float) -> str:
    """Return a duration as people say it: the two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _write(text: str, *, ends: bool) -> None:
    """Write in place of what a terminal's last line shows."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # nobody reads it: no reason to stop a job of days
            print(f"\r{text:79}" if _is_terminal() else text, end="\n" if ends else "", file=sys.stderr, flush=True)
