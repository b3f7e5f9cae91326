"""Small pieces of the frames that methods made, kept so that pictures can be put together without making them again."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.data.video import Frames
from scripts.evaluation.scores import Entry

SIDE_PX = 144
TRUTH = "truth"  # what the original's piece is called


def moment(count: int) -> int:
    """Number of the frame that is shown of a clip at twice the rate: near its middle, and between source frames."""
    return (count - 1) // 2 | 1


def window(frames: Frames) -> tuple[slice, slice]:
    """Where most moves around that moment."""
    n = moment(len(frames))
    change = np.abs(frames[n + 1].astype(np.float64) - frames[n - 1]).mean(2)
    high, wide = (min(SIDE_PX, side) for side in change.shape)
    sums = np.pad(change, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
    return slice(top, top + high), slice(left, left + wide)


def _file(folder: Path, clip: str, method: str) -> Path:
    return folder / f"{clip}.{re.sub(r'[^a-z0-9]+', '-', method.lower())}.webp"


def keep(folder: Path, entry: Entry, made: Frames, truth: Frames) -> None:
    """Keep what is shown of a clip as a method made it, and of the truth."""
    truth = truth[: len(made), : made.shape[1], : made.shape[2]]
    n, where = moment(len(truth)), window(truth)
    save(folder, entry.clip, entry.method, made[n][where])
    save(folder, entry.clip, TRUTH, truth[n][where])


def save(folder: Path, clip: str, method: str, piece: NDArray[np.uint8]) -> None:
    """Keep a piece (H, W, 3), without loss."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(piece).save(_file(folder, clip, method), lossless=True, method=6)


def load(folder: Path, clip: str, method: str) -> NDArray[np.uint8] | None:
    """The piece kept of a method's frame; None where there is none."""
    file = _file(folder, clip, method)
    return np.asarray(Image.open(file).convert("RGB")) if file.exists() else None
