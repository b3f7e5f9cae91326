"""Work of many small steps done in one launch on a GPU, by kernels in Triton where that is installed.

GPUs, drivers and versions of Triton are many. So the first time that a kernel is wanted on a device, it is tried with
noise, and its twin in PyTorch as well. Where a kernel cannot be made, or makes something else, PyTorch does that work
for as long as the process lasts, and a warning is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from vs_videoinr.networks.kernels import CLUES, PHASE_TERMS

_logger = logging.getLogger(__name__)

#: Of GPUs that Triton makes kernels for, as PyTorch calls them.
DEVICE_TYPES = ("cuda", "xpu")

#: How many of a kernel's results may differ by more from PyTorch's: a search goes on from where rounding has led it.
MAX_DIFFERENCE, MAX_SHARE = 1e-2, 0.02

#: Pixels of the shorter side of what a kernel is tried with.
_TRIAL_PX = 24

#: A kernel counts what is in a tensor in 32 bits.
_MAX_NUMBERS = 1 << 31

#: The kernels, as operations of PyTorch's, so that they are seen where it counts and profiles; and what each returns.
_SCHEMAS: dict[str, tuple[str, Callable[..., Tensor]]] = {
    "flows_at": (
        "(Tensor flow01, Tensor flow10, Tensor? acceleration, Tensor reach, float t, int iterations) -> Tensor",
        lambda flow01, *_: flow01.new_empty(flow01.shape[0], 4, *flow01.shape[2:]),
    ),
    "warp_and_blend": (
        "(Tensor frame0, Tensor frame1, Tensor flow, float t, bool large) -> Tensor",
        lambda frame0, *_: frame0.new_empty(frame0.shape),
    ),
    "clues": (
        "(Tensor frame, Tensor other, Tensor flow_to, Tensor flow_from, int top) -> Tensor",
        lambda frame, *_: frame.new_empty(frame.shape[0], CLUES + PHASE_TERMS + 2, *frame.shape[2:]),
    ),
    "correlate": (
        "(Tensor a, Tensor b, Tensor means, Tensor sharpness, int radius) -> Tensor",
        lambda a, *more: a.new_empty(a.shape[0], (2 * more[-1] + 1) ** 2 + 2, *a.shape[2:]),
    ),
    "lucas_kanade_products": ("(Tensor a, Tensor state) -> Tensor", lambda _, state: torch.empty_like(state)),
    "lucas_kanade_try": (
        "(Tensor a, Tensor b, Tensor flow, Tensor? means, float damping) -> Tensor",
        lambda a, *_: a.new_empty(a.shape[0], 6, *a.shape[2:]),
    ),
    "lucas_kanade_accept": (
        "(Tensor state, Tensor tried, Tensor squares, Tensor means, int radius) -> Tensor",
        lambda state, *_: torch.empty_like(state),
    ),
    "box_mean": ("(Tensor values, int radius) -> Tensor", lambda values, _: values.new_empty(values.shape)),
    "smooth_directions": ("(Tensor flow, float distance) -> Tensor", lambda flow, _: torch.empty_like(flow)),
    "smooth_places": ("(Tensor flow, float distance, int radius) -> Tensor", lambda flow, *_: torch.empty_like(flow)),
}

#: Whether a kernel does on a device what it should; what is not in it has not been tried.
_verdicts: dict[tuple[str, torch.device], bool] = {}

#: Devices on which no kernel can be made.
_without: set[torch.device] = set()


def fused(
    name: str, twin: Callable[..., Tensor], *given: Tensor | float | None, work: Callable[..., Tensor] | None = None
) -> Tensor:
    """Return what a kernel makes of what is `given`, or what its `twin` does by PyTorch if it cannot.

    Args:
        name: Of the kernel.
        twin: What does the same by PyTorch.
        given: To both; all tensors on one device.
        work: What does it by `operation`s, if it takes several.
    """
    tensors = [one for one in given if isinstance(one, Tensor)]
    device = tensors[0].device
    verdict = _verdicts.get((name, device))
    if verdict is False or device in _without or not _suits(tensors) or kernels() is None:
        return twin(*given)
    work = work or operation(name)
    if verdict is None and type(tensors[0]) is Tensor:  # there is nothing in a tensor that is only pretended
        verdict = _verdicts[name, device] = _is_alike(name, work, twin, given)
    if verdict is False:
        return twin(*given)
    return work(*(one.contiguous() if isinstance(one, Tensor) else one for one in given))


def _is_alike(
    name: str, work: Callable[..., Tensor], twin: Callable[..., Tensor], given: tuple[Tensor | float | None, ...]
) -> bool:
    """Whether a kernel makes of noise what its twin does; a warning is logged if not. That waits for the device.

    The noise is like what is `given`, and smaller: what is made of one picture must not depend on another.
    """
    tensors = [one for one in given if isinstance(one, Tensor)]
    device = tensors[0].device
    shrink = max(1, min(min(one.shape[-2:]) for one in tensors) // _TRIAL_PX)
    try:
        random = torch.Generator(device).manual_seed(0)
        trial = [
            torch.randn(
                *one.shape[:2], *(max(1, side // shrink) for side in one.shape[2:]), generator=random, device=device
            )
            if isinstance(one, Tensor)
            else one
            for one in given
        ]
        found = work(*trial)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever Triton, a compiler or a driver may say
        _without.add(device)
        _logger.warning("Triton is not used on %s: %s", device, _in_a_line(error))
        return False
    near = (found - twin(*trial)).abs() < MAX_DIFFERENCE
    alike = bool(near.float().mean() > 1 - MAX_SHARE)
    if not alike:
        _logger.warning("the Triton kernel %s is not used on %s: its results differ from PyTorch's", name, device)
    return alike


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _suits(tensors: list[Tensor]) -> bool:
    """Whether kernels can work on these tensors: float32, on a GPU, and without gradients."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    device = tensors[0].device
    return (
        not wanted
        and device.type in DEVICE_TYPES
        and all(one.device == device and one.dtype == torch.float32 and one.numel() < _MAX_NUMBERS for one in tensors)
    )


@cache
def kernels() -> ModuleType | None:
    """Return the module of the kernels, or None where there is no Triton that can be imported."""
    try:
        from vs_videoinr.networks import triton_kernels
    except ImportError:
        return None
    except Exception as error:  # an installation that is broken, or of another time
        _logger.warning("Triton is not used: %s", _in_a_line(error))
        return None
    return triton_kernels


@cache
def operation(name: str) -> Callable[..., Tensor]:
    """A kernel as an operation of PyTorch's."""
    schema, like = _SCHEMAS[name]

    def run(*given: Any) -> Tensor:
        made: Tensor = getattr(kernels(), name)(*given)
        return made

    operation = torch.library.custom_op(f"videoinr::{name}", run, mutates_args=(), schema=schema)
    operation.register_fake(like)
    return operation
