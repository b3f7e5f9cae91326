"""What a network asks PyTorch for: multiply-adds, and operations that a device is given one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

#: Operations that only describe memory or reserve it: a device is given nothing to do.
NO_WORK = ("detach", "lift_fresh", "empty", "alias", "_unsafe_view", "_reshape_alias", "new_empty", "set_")


class _Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that reach the device while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and func.namespace != "prim" and not name.startswith(NO_WORK):
            self.count += 1
        return func(*args, **(kwargs or {}))


@dataclass
class Counts:
    """What was counted.

    Attributes:
        multiply_adds: In convolutions and matrix products.
        launches: Operations of PyTorch's that do anything, views and allocations left out. What a network computes past
            PyTorch, in a library of its own, is not seen.
    """

    multiply_adds: int = 0
    launches: int = 0


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what is asked of PyTorch meanwhile; the counts are there when it has ended.

    Under `torch.no_grad`, not under `torch.inference_mode`, where PyTorch does not show what its calls are made of.
    """
    counts = Counts()
    with FlopCounterMode(display=False) as flops, _Launches() as launches:
        yield counts
    counts.multiply_adds = flops.get_total_flops() // 2
    counts.launches = launches.count
