"""One thread per device that runs all of torch's work.

VapourSynth calls from as many threads as it likes. Were torch entered from each, every one of them would get its own
team of OpenMP threads, and they would fight for the same cores; so work goes to one thread per device instead, which
lives as long as somebody uses it.
"""

from __future__ import annotations

import atexit
import ctypes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

import torch

from vs_videoinr.rendering import accelerator


class Abandoned(Exception):  # noqa: N818 - nothing went wrong
    """Raised inside work whose result nobody waits for any more."""


#: Set when the interpreter begins to shut down: work in progress stops at its next check.
exiting = threading.Event()
atexit.register(exiting.set)


#: After so many calls glibc gives the free memory between what is in use back to the system. It would not by itself:
#: torch's aligned blocks, freed by other threads, leave gaps which add up to gigabytes in an hour of frames.
TRIM_EVERY = 256


class Worker:
    """Runs calls one after the other on a thread of its own."""

    def __init__(self, device: torch.device) -> None:
        self._queue: SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = SimpleQueue()
        # A daemon: nothing must wait for it when the interpreter goes, whatever it is doing.
        threading.Thread(target=_run, args=(self._queue, device), name=f"videoinr-{device}", daemon=True).start()

    def run(self, call: Callable[[], None]) -> None:
        """Run `call` and return when it is done; raises what it raises."""
        done: Future[None] = Future()
        self._queue.put((call, done))
        try:
            done.result()
        finally:
            del done  # or it and an error that it raises would keep each other, and all that was made until then

    def stop(self) -> None:
        """Let the thread end after what is queued."""
        self._queue.put(None)


def _run(queue: SimpleQueue[tuple[Callable[[], None], Future[None]] | None], device: torch.device) -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    calls = 0
    with torch.inference_mode():
        while (job := queue.get()) is not None:
            call, done = job
            try:
                call()
            except BaseException as error:  # handed to whoever waits
                done.set_exception(error)
            else:
                done.set_result(None)
            del job, call, done  # or the last frame's memory would stay until the next one comes
            calls += 1
            if trim is not None and calls % TRIM_EVERY == 0:
                trim(0)
    accelerator.empty_cache(device)


# Reloading this module keeps its globals, so that workers in use stay known to the filters made afterwards.
_lock: threading.Lock = globals().get("_lock", threading.Lock())
_workers: dict[torch.device, tuple[Worker, int]] = globals().get("_workers", {})


def acquire(device: torch.device) -> Worker:
    """Return the worker of `device`, starting it if need be; `release` it once for every time."""
    with _lock:
        worker, users = _workers.get(device) or (Worker(device), 0)
        _workers[device] = worker, users + 1
        return worker


def release(device: torch.device) -> None:
    """Give back what `acquire` returned; the last one stops the worker."""
    with _lock:
        worker, users = _workers.pop(device)
        if users > 1:
            _workers[device] = worker, users - 1
        else:
            worker.stop()
