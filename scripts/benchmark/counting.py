"""What a network asks PyTorch for: multiply-adds, and launches, which are operations that a device is given one by one.

An operation of PyTorch's is a launch if it computes something: views and allocations do not, nor do questions that no
tensor answers. Of calls that are made of others, these count. A kernel of the package's own that PyTorch knows as an
operation (`torch.library`) is a launch like any other. What a network computes past PyTorch, in a library of its own,
is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

#: Operations that only describe memory or reserve it, though they are no views to PyTorch.
NO_WORK = ("detach", "lift_fresh", "empty", "alias", "_unsafe_view", "_reshape_alias", "new_empty", "resize_", "set_")


@cache
def is_launch(name: str) -> bool:
    """Whether PyTorch's operation of that `name`, as in aten::add, is one that a device is given."""
    return _is_operation(name) and not name.partition("::")[2].startswith(NO_WORK) and _computes(name)


def launches(events: Iterable[FunctionEvent]) -> int:
    """Count the launches among what PyTorch's profiler has seen, in whatever threads."""
    return sum(_launches_of(event) for event in events if event.cpu_parent is None)


def _launches_of(event: FunctionEvent) -> int:
    parts = event.cpu_children
    # A form of an operation that calls another form of it is made of that.
    if is_launch(event.name) and all(part.name != event.name for part in parts):
        return 1
    if _is_operation(event.name) and not is_launch(event.name) and not _is_composite(event.name):
        return 0
    return sum(map(_launches_of, parts))


def _forms(name: str) -> list[Any]:
    """All overloads of an operation that tensors are given to; none if there is none of that name."""
    namespace, _, operation = name.partition("::")
    packet: Any = getattr(getattr(torch.ops, namespace), operation, None) if operation else None
    forms = [getattr(packet, form) for form in packet.overloads()] if hasattr(packet, "overloads") else []
    return [form for form in forms if torch._C._dispatch_has_kernel(form.name())]


@cache
def _is_operation(name: str) -> bool:
    return bool(_forms(name))


@cache
def _is_composite(name: str) -> bool:
    """Whether an operation is made of others, on every device."""
    known, key = torch._C._dispatch_has_kernel_for_dispatch_key, "CompositeImplicitAutograd"
    return all(known(form.name(), key) for form in _forms(name))


def _computes(name: str) -> bool:
    forms = _forms(name)
    answers = any("Tensor" in str(answer.type) for form in forms for answer in form._schema.returns)
    return answers and not _is_composite(name) and not any(form.is_view for form in forms)


class _Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts launches while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += is_launch(f"{func.namespace}::{func.overloadpacket.__name__}")
        return func(*args, **(kwargs or {}))


@dataclass
class Counts:
    """What was counted.

    Attributes:
        multiply_adds: In convolutions and matrix products.
        launches: See the top of this module.
    """

    multiply_adds: int = 0
    launches: int = 0


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what this thread asks of PyTorch meanwhile; the counts are there when it has ended.

    Under `torch.no_grad`, not under `torch.inference_mode`, where PyTorch does not show what its calls are made of.
    """
    counts = Counts()
    with FlopCounterMode(display=False) as flops, _Launches() as counting:
        yield counts
    counts.multiply_adds = flops.get_total_flops() // 2
    counts.launches = counting.count
