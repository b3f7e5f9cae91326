"""What was measured, as data: one entry for each clip, method, size and rate, kept in a file that later runs update."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """What is asked of a method.

    Attributes:
        size: Output size / input size.
        rate: Output frames per input frame.
        first: How many frames of the clip, from its beginning; 0 for all.
    """

    size: float
    rate: int
    first: int = 0

    def __str__(self) -> str:
        part = f", the first {self.first} frames" if self.first else ""
        return f"{self.size:g}x size, {self.rate}x rate{part}"


@dataclass(frozen=True)
class Entry:
    """Scores of one method on one clip.

    Attributes:
        clip: Name of the clip.
        method: Name of the baseline or model.
        setting: What was asked of it.
        psnr: On Y in dB: one mean for each place in the interval, k/rate of the way; the first is of source frames.
        ssim: On Y, in the same way.
        rgb: PSNR over all three channels in dB.
        flicker: Mean difference, in grey levels of Y, between the changes from the frame before in the result and in
            the truth.
        seconds: CPU time for a frame.
        date: When.
        machine: On what.
        version: Of the programs or the weights that made the frames.
    """

    clip: str
    method: str
    setting: Setting
    psnr: tuple[float, ...]
    ssim: tuple[float, ...]
    rgb: tuple[float, ...]
    flicker: tuple[float, ...]
    seconds: float
    date: str
    machine: str
    version: str

    @property
    def key(self) -> tuple[str, Setting, str]:
        """What there is one entry of."""
        return self.clip, self.setting, self.method


# Every place but the first holds equally many frames, so means over places are means over frames.
def at_source(values: tuple[float, ...]) -> float:
    """The mean over frames at source times."""
    return values[0]


def at_middle(values: tuple[float, ...]) -> float:
    """The mean over frames half-way between source frames; NaN where the rate has none."""
    return values[len(values) // 2] if len(values) % 2 == 0 else math.nan


def between(values: tuple[float, ...]) -> float:
    """The mean over all frames between source times."""
    return statistics.fmean(values[1:])


def load(file: Path) -> list[Entry]:
    """All entries of a file; none where there is no file yet."""
    if not file.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(file.read_text())
    for row in rows:
        row |= {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
        row["setting"] = Setting(*row["setting"])
    return [Entry(**row) for row in rows]


def put(file: Path, entry: Entry) -> None:
    """Add an entry to a file, in the place of the one measured before."""
    entries = {old.key: old for old in load(file)} | {entry.key: entry}
    lines = ",\n".join(json.dumps(asdict(entries[key])) for key in sorted(entries))  # a line each, for readable diffs
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(f"[\n{lines}\n]\n")
    part.replace(file)
