"""Planes of VapourSynth's frames as arrays and tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: A frame's planes as (memory, stride in bytes), single precision: R, G, B or one gray plane.
Planes = tuple[tuple[memoryview, int], ...]

#: Larger values in a float clip are no light but a mistake, and would drown their surroundings.
MAX_ABS_VALUE = 1e4


def frame_of(planes: Planes, size: tuple[int, int]) -> NDArray[np.float32]:
    """Copy planes of (width, height) into an array (planes, height, width)."""
    return np.stack([_view(memory, stride, size) for memory, stride in planes])


def read(planes: Planes, size: tuple[int, int], device: torch.device) -> Tensor:
    """Copy planes of (width, height) to a device, (1, planes, height, width).

    NaN becomes 0 and infinity 1, which arithmetic would spread; other values are kept within ±MAX_ABS_VALUE.
    """
    frame = torch.from_numpy(frame_of(planes, size))[None].to(device)
    return frame.nan_to_num_(0.0, 1.0, 0.0).clamp_(-MAX_ABS_VALUE, MAX_ABS_VALUE)


def write(picture: Tensor, planes: Planes, size: tuple[int, int]) -> None:
    """Copy a picture (planes, height, width) into planes of (width, height)."""
    values: NDArray[np.float32] = picture.cpu().numpy()
    for plane, (memory, stride) in zip(values, planes, strict=True):
        np.copyto(_view(memory, stride, size), plane)


def _view(memory: memoryview, stride: int, size: tuple[int, int]) -> NDArray[np.float32]:
    width, height = size
    return np.ndarray((height, width), np.float32, memory, strides=(stride, 4))
