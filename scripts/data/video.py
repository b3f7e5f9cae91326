"""Clips as arrays of frames: the one place where scripts decode video."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Frames = NDArray[np.uint8]  # (N, H, W, 3) RGB
CACHE = Path("runs/frames")  # where decoded clips are kept unless a command is told otherwise


def decode(path: Path) -> Frames:
    """All frames of a clip; ends the script with a sentence where there are none."""
    frames = []
    try:
        with av.open(path) as container:
            for stream in container.streams.video[:1]:
                stream.thread_type = "AUTO"
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except av.FFmpegError as error:
        raise SystemExit(f"{path} cannot be decoded: {error.strerror}") from None
    if not frames:
        raise SystemExit(f"{path} holds no video")
    return np.stack(frames)


def frame_rate(path: Path) -> float:
    """Frames per second of a clip, on average."""
    with av.open(path) as container:
        return float(container.streams.video[0].average_rate or 0)


def cached(path: Path, folder: Path = CACHE) -> Frames:
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


@cache
def opened(path: Path, folder: Path) -> Frames:
    """The same, opened once by each process: arrays that go from one to another by pickle are copied whole."""
    return cached(path, folder)


def to_tensor(frame: Frames, device: torch.device | str = "cpu") -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float in [0, 1]."""
    return torch.from_numpy(np.array(frame)).to(device).permute(2, 0, 1).float() / 255
