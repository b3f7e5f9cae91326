"""Pictures on their way between the host's memory and a device.

Of a GPU, copies go to and from pinned memory, so that they are under way while the host goes on, and the device is
waited for once for every output frame. Copies are in order with the work that needs them or makes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Kinds of devices for which PyTorch keeps pinned memory from being reused before the copies from it are done.
_PINNED = ("cuda", "xpu")


def host_buffer(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return float32 memory of the host from which, or to which, a device copies best; what it holds is not defined."""
    return torch.empty(shape, device="cpu", pin_memory=device.type in _PINNED)


def to_device(picture: Tensor, device: torch.device) -> Tensor:
    """Return a picture on a device; of a `host_buffer`, which must not be written to any more, without waiting."""
    return picture.to(device, non_blocking=device.type in _PINNED)


def to_host(pictures: Sequence[Tensor]) -> list[Tensor]:
    """Return pictures of one device on the host, all of them complete: the device is waited for once."""
    found = []
    for number, picture in enumerate(pictures, start=1):
        if picture.device.type != "cpu":
            buffer = host_buffer(picture.shape, picture.device)
            # The last one is waited for, and with it all that the device was given before.
            under_way = number < len(pictures) and picture.device.type in _PINNED
            picture = buffer.copy_(picture, non_blocking=under_way)
        found.append(picture)
    return found
