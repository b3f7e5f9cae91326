"""Real clips: frames as arrays, and batches of pieces of them in which something moves."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scripts.data.batch import Batch, Kind, Target, disturb, pick_scale, pick_window, seed_of, shrink

Frames = NDArray[np.uint8]  # (N, H, W, 3) RGB
STILLS = 12  # neighbouring frames have little that is new


def decode(path: Path) -> Frames:
    """All frames of a clip, decoded by ffmpeg, or by OpenCV on a machine without it."""
    if shutil.which("ffmpeg") is None:
        return _decode_opencv(path)
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0"]
    probe += ["-show_entries", "stream=width,height", "-of", "csv=p=0"]
    text = subprocess.run([*probe, str(path)], check=True, capture_output=True, text=True).stdout
    width, height = (int(part) for part in text.split(",")[:2])
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def _decode_opencv(path: Path) -> Frames:
    import cv2

    video, frames = cv2.VideoCapture(str(path)), []
    while (got := video.read())[0]:
        frames.append(got[1][:, :, ::-1])
    return np.stack(frames)


def cached(path: Path, folder: Path) -> Frames:
    """The frames of a clip from an array file in `folder`, decoded the first time; memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{path.stem}.npy"
    if not file.exists():
        part = file.with_suffix(f".{os.getpid()}.part")  # another run may be making the same
        with part.open("wb") as stream:
            np.save(stream, decode(path))
        part.rename(file)
    frames: Frames = np.load(file, mmap_mode="r")
    return frames


def rate(path: Path) -> int:
    """The frame rate, which is the number at the end of the file's name."""
    return int(path.stem.rsplit("_", 1)[1])


def shots(frames: Frames, threshold: float = 0.12) -> list[tuple[int, int]]:
    """Stretches (first, end) without cuts: a cut is where small pictures of neighbours differ far more than usual."""
    small = frames[:, ::16, ::16].astype(np.float32) / 255
    change = np.abs(np.diff(small, axis=0)).mean((1, 2, 3))
    cuts = [0, *(int(i) + 1 for i in np.flatnonzero(change > threshold)), len(frames)]
    return [(a, b) for a, b in itertools.pairwise(cuts) if b - a >= 3]


def to_tensor(frame: Frames, device: torch.device) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float in [0, 1]."""
    return torch.from_numpy(np.array(frame)).to(device).permute(2, 0, 1).float() / 255


def stills(files: list[Path], cache: Path, device: torch.device) -> list[Tensor]:
    """Every `STILLS`th frame of all clips, (3, H, W) uint8: pictures as cameras of videos take them."""
    frames = (frame for path in files for frame in cached(path, cache)[::STILLS])
    return [torch.from_numpy(np.array(frame)).permute(2, 0, 1).contiguous().to(device) for frame in frames]


class Clips:
    """Batches of moving pieces of real clips, each made from its number alone."""

    def __init__(self, files: list[Path], cache: Path, kind: Kind, device: torch.device, seed: int) -> None:
        self.sources = []
        for path in files:
            frames = cached(path, cache)
            self.sources.append((frames, shots(frames), rate(path)))
        weights = [float(sum(b - a for a, b in cut)) ** 0.5 for _, cut, _ in self.sources]
        self.weights = torch.tensor(weights)
        self.batch, self.side, self.kind, self.device = kind.batch, kind.side, kind, device
        self.seed, self.random = seed, torch.Generator()

    def _int(self, end: int) -> int:
        return int(torch.randint(end, (), generator=self.random))

    def _piece(self, high: int, t: float, steps: int) -> list[Tensor]:
        """First, wanted, last and a farther frame of one moving piece: `steps` frames, the wanted one at `t`·steps."""
        best: tuple[float, list[Tensor]] | None = None
        for _ in range(4):  # the liveliest of a few, for much of the footage stands still
            frames, stretches, fps = self.sources[int(torch.multinomial(self.weights, 1, generator=self.random))]
            span = steps * 2 if fps >= 50 and self._int(2) else steps
            now, beyond = round(t * span), 2 * span - round(t * span)
            fitting = [s for s in stretches if s[1] - s[0] > beyond]
            if not fitting or min(frames.shape[1:3]) < high:
                continue
            first, end = fitting[self._int(len(fitting))]
            start = first + self._int(end - beyond - first)
            top, left = self._int(frames.shape[1] - high + 1), self._int(frames.shape[2] - high + 1)
            where = (slice(top, top + high), slice(left, left + high))
            picked = [frames[i][where] for i in (start, start + now, start + span, start + beyond)]
            motion = float(np.abs(picked[0][::4, ::4].astype(np.int16) - picked[2][::4, ::4]).mean())
            if best is None or motion > best[0]:
                best = motion, [to_tensor(frame, self.device) for frame in picked]
        if best is None:
            return self._piece(high, t, steps)
        flip = self._int(8)
        axes = [axis + 1 for axis in range(2) if flip >> axis & 1]
        return [f.flip(axes).transpose(1, 2) if flip & 4 else f.flip(axes) for f in best[1]]

    def make(self, number: int) -> Batch:
        """Cut one batch at one random scale."""
        self.random.manual_seed(seed_of(self.seed, number))
        high = round(self.side * pick_scale(self.random))
        steps = (2, 2, 2, 3, 4)[self._int(5)]
        between = (1 + self._int(steps - 1)) / steps
        pieces = [self._piece(high, between, steps) for _ in range(self.batch)]
        first, middle, last, beyond = (torch.stack(frames) for frames in zip(*pieces, strict=True))
        low = [shrink(frame, (self.side, self.side)) for frame in (first, middle, last, beyond)]
        if float(torch.rand((), generator=self.random)) < 0.15:
            low = disturb(low, self.kind.compressed, self.random)
        targets = []
        for t, truth in ((between, middle), (0.0, first), (1.0, last)):
            top, left, height, width = window = pick_window((high, high), self.kind.window, self.random)
            targets.append(Target(t, window, truth[:, :, top : top + height, left : left + width]))
        return Batch(low[0], low[2], (high, high), targets, middle=(low[1], targets[0]), beyond=low[3])
