"""What a process holds, and whether it stays flat. Standard library alone: the previewers' sessions use it."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: How much the memory may grow from the middle third of a run to the last. Leaks do not stay below it: it is one
#: 1080p frame in single precision, or 50 KB a reload.
MAX_GROWTH_BYTES = 25 << 20


class Sample(NamedTuple):
    """What a process holds at one moment."""

    seconds: float
    memory: int  # bytes resident
    handles: int  # open files
    threads: int  # of the system's
    workers: int  # of the plugin's


def sample() -> Sample:
    """What this process holds now."""
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    handles = sum(1 for _ in Path("/proc/self/fd").iterdir())
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    workers = sum(thread.name.startswith("videoinr") for thread in threading.enumerate())
    return Sample(time.monotonic(), memory, handles, threads, workers)


def reset_peak_memory() -> None:
    """Let `peak_memory` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory(process: int | str = "self") -> int:
    """Bytes that a process had resident at most since it began, or since its last `reset_peak_memory`; 0 at its end."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _thirds(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The middle third of a run and the last; the first warms up."""
    third = len(samples) // 3
    return samples[third : 2 * third], samples[2 * third :]


def memory_growth(samples: Sequence[Sample]) -> int:
    """Bytes by which the median of the last third is above that of the third before it."""
    middle, last = _thirds(samples)
    return round(statistics.median(s.memory for s in last) - statistics.median(s.memory for s in middle))


def growths(samples: Sequence[Sample]) -> list[str]:
    """What is not flat, in words."""
    found = []
    if memory_growth(samples) > MAX_GROWTH_BYTES:
        found.append(f"memory grew by {memory_growth(samples) / 1e6:.1f} MB")
    for what in ("handles", "threads", "workers"):
        before, after = (max(getattr(s, what) for s in part) for part in _thirds(samples))
        if after > before:
            found.append(f"{what} grew from {before} to {after}")
    return found


def table(samples: Sequence[Sample], counted: Sequence[tuple[str, str]], rows: int = 13) -> list[str]:
    """A Markdown table of some of the samples, beside each of which stands what was `counted` then."""
    chosen = sorted({round(k * (len(samples) - 1) / (rows - 1)) for k in range(rows)})
    lines = [
        f"| {counted[0][0]} | memory | open files | threads | of them the plugin's |",
        "|---|---|---|---|---|",
    ]
    for k in chosen:
        s = samples[k]
        lines.append(f"| {counted[k][1]} | {s.memory / 1e6:.0f} MB | {s.handles} | {s.threads} | {s.workers} |")
    return lines


def verdict(samples: Sequence[Sample]) -> str:
    """The sentence under the table."""
    found = growths(samples)
    grown = f"memory from the middle third to the last: {memory_growth(samples) / 1e6:+.1f} MB"
    return f"NOT flat: {'; '.join(found)}." if found else f"Flat: {grown}; files and threads no more than before."
