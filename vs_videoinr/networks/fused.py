"""Work of many small steps done in one launch on a GPU, by kernels in Triton where that is installed.

No GPU has run these kernels yet. So the first time that one is wanted on a device, PyTorch does the work as well. Where
a kernel cannot be made, or makes something else, PyTorch does that work for as long as the process lasts, and a warning
is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

_logger = logging.getLogger(__name__)

#: Of GPUs that Triton makes kernels for, as PyTorch calls them.
DEVICE_TYPES = ("cuda", "xpu")

#: How far a kernel's results may be from PyTorch's, on average. Single ones differ more, where pictures are steep.
MAX_MEAN_DIFFERENCE = 1e-3

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
}

#: Whether a kernel does on a device what it should.
_verdicts: dict[tuple[str, torch.device], bool] = {}


def fused(name: str, twin: Callable[..., Tensor], *given: Tensor | float | None) -> Tensor:
    """Return what the kernel `name` makes of what is `given`, or what its `twin` does by PyTorch if it cannot."""
    tensors = [one for one in given if isinstance(one, Tensor)]
    device = tensors[0].device
    verdict = _verdicts.get((name, device))
    if verdict is False or not _suits(tensors) or kernels() is None:
        return twin(*given)
    if verdict:
        return _operation(name)(*given)
    result = twin(*given)
    _verdicts[name, device] = _does(name, result, given)
    return result


def _does(name: str, result: Tensor, given: tuple[Tensor | float | None, ...]) -> bool:
    """Whether a kernel makes what PyTorch did; a warning is logged if it does not."""
    try:
        agrees = agree(_operation(name)(*given), result)
        problem = "its results differ"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever Triton, a compiler or a driver may say
        agrees, problem = False, f"{type(error).__name__}: {error}".partition("\n")[0]
    if not agrees:
        _logger.warning("the Triton kernel %s is not used on %s: %s", name, result.device, problem)
    return agrees


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two results are the same but for rounding. That waits for their device."""
    difference = (one - other).abs().nan_to_num(nan=0.0, posinf=0.0)
    return bool(difference.mean() < MAX_MEAN_DIFFERENCE) and bool(one.isfinite().sum() == other.isfinite().sum())


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
        _logger.warning("Triton is not used: %s", f"{type(error).__name__}: {error}".partition("\n")[0])
        return None
    return triton_kernels


@cache
def _operation(name: str) -> Callable[..., Tensor]:
    """A kernel as an operation of PyTorch's."""
    schema, like = _SCHEMAS[name]

    def run(*given: Any) -> Tensor:
        made: Tensor = getattr(kernels(), name)(*given)
        return made

    operation = torch.library.custom_op(f"videoinr::{name}", run, mutates_args=(), schema=schema)
    operation.register_fake(like)
    return operation
