"""Large pictures in bands of rows, so that what is made on the way takes bounded memory.

What is local, as convolutions are, is made of the rows of a band and as many around them as it looks at: the same as at
once, but for rounding. How high bands are depends on sizes and on the memory that a device has free when it is asked
first, and on nothing that comes after; so whatever is asked for in whatever order has the same bits.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from vs_videoinr.networks.cancellation import between_layers

#: What a band takes at most on a CPU, which is no quicker with more.
MAX_CPU_BYTES = 80 << 20

#: The share of the free memory that a band takes at most: on a CPU, of which others want something, and on a GPU, which
#: takes as long to begin a piece of work as to do a small one.
CPU_SHARE, GPU_SHARE = 1 / 8, 1 / 2

#: What a band takes on a device that does not say how much it has.
OTHER_BYTES = 1 << 30

#: Bands of fewer rows would be mostly what is around them.
MIN_ROWS = 16

#: Work on smaller pictures leaves little memory behind, 1280x720 in single precision.
MIN_TRIMMED_BYTES = 12 * 1280 * 720

#: By how much less memory bands take once there was too little.
LOWERED = 4

_budgets: dict[torch.device, int] = {}
_lowered: set[torch.device] = set()


def budget(device: torch.device) -> int:
    """Return how many bytes a band may take: always the same of a device, unless it is `lower`ed."""
    if device not in _budgets:
        _budgets[device] = _free_share(device)
    return _budgets[device]


def lower(device: torch.device) -> bool:
    """Let bands take less memory from now on; return whether they do, which they begin to once."""
    if device in _lowered:
        return False
    _lowered.add(device)
    _budgets[device] = budget(device) // LOWERED
    return True


def bands(height: int, row_bytes: int, device: torch.device, around: int = 0) -> list[tuple[int, int]]:
    """Return rows, from and to, of about equal bands of a picture.

    Args:
        height: Of the picture.
        row_bytes: What a row takes while it is worked on.
        device: Where that is.
        around: Rows above and below a band that are worked on with it.
    """
    rows = max(MIN_ROWS, budget(device) // row_bytes - 2 * around)
    count = 1 if height * row_bytes <= budget(device) else -(-height // rows)
    edges = [height * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def in_bands(work: Callable[[int, int], tuple[Tensor, ...]], rows: list[tuple[int, int]]) -> tuple[Tensor, ...]:
    """Return what `work` makes of all rows, (B, C, height, w) each, given those of one band after the other.

    Args:
        work: Of rows from and to, which may be abandoned before each.
        rows: Of every band, from the top.
    """
    if len(rows) == 1:
        return work(*rows[0])
    wholes: list[Tensor] = []
    for top, bottom in rows:
        between_layers()
        parts = work(top, bottom)
        if not wholes:
            wholes = [empty_like(part, len(part), rows[-1][1]) for part in parts]
        for whole, part in zip(wholes, parts, strict=True):
            whole[..., top:bottom, :] = part
        del parts
    return tuple(wholes)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def trim_after(picture: Tensor) -> None:
    """`trim` after work on a picture as large as bands are for; to get memory back takes time."""
    if picture.device.type == "cpu" and picture.nbytes > MIN_TRIMMED_BYTES:
        trim()


def trim() -> None:
    """Give memory that is no longer in use back to the system, which glibc would keep where it is between the rest."""
    give_back = _malloc_trim()
    if give_back is not None:
        give_back(0)


def empty_like(part: Tensor, batch: int, height: int) -> Tensor:
    """Return uninitialised pictures of so many rows, laid out as a band of one is."""
    channels_last = part.stride(1) == 1 and part.shape[1] > 1
    layout = torch.channels_last if channels_last else torch.contiguous_format
    shape = batch, part.shape[1], height, part.shape[3]
    return torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)


def _free_share(device: torch.device) -> int:
    if device.type == "cuda" and torch.cuda.is_available():
        free = torch.cuda.mem_get_info(device)[0]
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + unused) * GPU_SHARE)
    if device.type != "cpu":
        return OTHER_BYTES
    return min([MAX_CPU_BYTES, *(int(free * CPU_SHARE) for free in _available())])


def _available() -> Iterator[int]:
    """Bytes that the system could give, where it says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            yield int(amount.split()[0]) << 10
