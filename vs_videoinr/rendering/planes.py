"""Planes of VapourSynth's frames as arrays and tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vs_videoinr.rendering import transfer

#: A frame's planes as (memory, stride in bytes), single precision: R, G, B or one gray plane.
Planes = tuple[tuple[memoryview, int], ...]

#: Larger values in a float clip are no light but a mistake, and would drown their surroundings.
MAX_ABS_VALUE = 1e4


def views(planes: Planes, size: tuple[int, int]) -> list[NDArray[np.float32]]:
    """Return planes of (width, height) as arrays (height, width) of the very same memory."""
    width, height = size
    return [np.ndarray((height, width), np.float32, memory, strides=(stride, 4)) for memory, stride in planes]


def read(planes: Planes, size: tuple[int, int], device: torch.device) -> tuple[Tensor, bool]:
    """Copy planes of (width, height) to a device.

    NaN becomes 0 and infinity 1, which arithmetic would spread; other values are kept within ±MAX_ABS_VALUE.

    Returns:
        (1, planes, height, width).
        Whether all of it lies from 0 to 1; the device is not waited for to tell.
    """
    frame = transfer.host_buffer((1, len(planes), size[1], size[0]), device)
    for copied, plane in zip(frame[0].numpy(), views(planes, size), strict=True):
        np.copyto(copied, plane)
    lowest, highest = _range(frame)
    if not -MAX_ABS_VALUE <= lowest <= highest <= MAX_ABS_VALUE:  # also where there is NaN
        frame.nan_to_num_(0.0, 1.0, 0.0).clamp_(-MAX_ABS_VALUE, MAX_ABS_VALUE)
        lowest, highest = _range(frame)
    return transfer.to_device(frame, device), 0 <= lowest <= highest <= 1


def write(picture: Tensor, planes: Planes, size: tuple[int, int], *, limited: bool = False) -> None:
    """Copy a picture (planes, height, width) on the host into planes of (width, height); `limited` to 0 to 1."""
    for values, plane in zip(picture, views(planes, size), strict=True):
        if limited:
            torch.clamp(values, 0, 1, out=torch.from_numpy(plane))
        else:
            np.copyto(plane, values.numpy())


def _range(frame: Tensor) -> tuple[float, float]:
    lowest, highest = frame.aminmax()
    return float(lowest), float(highest)
