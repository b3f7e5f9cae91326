"""The thread that runs all of torch's work of a device."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch

from vs_videoinr.rendering.device_worker import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(torch.device("cpu"))
    yield worker
    worker.stop()


def test_what_was_made_before_memory_ran_out_is_let_go_of_at_once(worker: Worker) -> None:
    """Or there would be no more room for a second attempt than for the first."""
    seen: list[weakref.ref[torch.Tensor]] = []

    def work() -> None:
        large = torch.zeros(1000)
        seen.append(weakref.ref(large))
        raise MemoryError(f"no room beside {large.shape}")

    gc.disable()
    try:
        with pytest.raises(MemoryError):
            _attempt(worker, work)
        worker.run(lambda: None)  # by then the thread has forgotten the call before
        assert seen[0]() is None
    finally:
        gc.enable()


def _attempt(worker: Worker, work: object) -> None:
    try:
        worker.run(work)  # type: ignore[arg-type]
    except MemoryError as error:
        raise MemoryError(str(error)) from None
