"""Leaving a network in the middle: a check that is called between its layers and may raise.

One layer of a large picture takes a CPU up to seconds, an encoder a minute, and whoever waited for it may be gone. The
check belongs to the thread that runs the network and not to the network, which others share; and no network needs to
hand it down through its parts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

_thread = threading.local()


@contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Have `check` called between the layers of every watched network that this thread runs meanwhile."""
    _thread.check = check
    try:
        yield
    finally:
        del _thread.check


def between_layers() -> None:
    """Call the check of this thread, if there is one: for parts of a network that work in steps of their own."""
    check: Callable[[], None] | None = getattr(_thread, "check", None)
    if check is not None:
        check()


def watch(network: nn.Module) -> None:
    """Let every convolution of `network` begin with the check of the thread that it runs in."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(_before)


def _before(*_: object) -> None:
    between_layers()
