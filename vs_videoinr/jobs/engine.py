"""The engine that hands out chunks: all that asks Dask Distributed for something.

Dask's scheduler decides which worker makes which chunk, notices when one is gone, and gives its chunk to another. Here
is only how many chunks it is given at a time, and what becomes of their results.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import distributed
from distributed import Client, Future, LocalCluster, Nanny
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.scheduler import KilledWorker

from vs_videoinr.jobs import script_info, worker
from vs_videoinr.jobs.encode import Recipe
from vs_videoinr.jobs.errors import JobError
from vs_videoinr.jobs.local_workers import RETRY_SECONDS, start_workers, stop_workers
from vs_videoinr.jobs.progress import Patience, Say
from vs_videoinr.jobs.script_info import ScriptInfo

#: How often a chunk is tried before the job is given up.
MAX_TRIES = 3

#: Chunks that a worker may fail to make in a row before it gets no more.
MAX_FAILURES = 3

#: Seconds between two looks at what has changed.
_TICK_SECONDS = 0.5

#: Seconds that a cancelled chunk may take to end its programs.
_END_SECONDS = 1.0


class Engine:
    """A connection to a scheduler, its own or one that runs elsewhere, and to workers of this machine.

    Args:
        address: Of a scheduler that runs; None to have one here.
        workers: Worker processes to start on this machine.
        gpus: GPUs of this machine.
        say: Tells the user something in one line.
    """

    def __init__(self, address: str | None, workers: int, gpus: int, say: Say) -> None:
        self._workers, self._gpus, self._say = workers, gpus, say
        self._own = None if address else LocalCluster(n_workers=0, dashboard_address=_dashboard())
        self._address = address or self._own.scheduler_address  # type: ignore[union-attr]
        self._client: Client | None = None
        self._nannies: list[Nanny] = []
        if self._own is not None and _dashboard():
            say(f"dashboard at {self._own.dashboard_link}")

    def inspect(self, script: str, arguments: Mapping[str, str], chunk: int | None) -> ScriptInfo:
        """Return what `script_info.inspect` finds out on the first worker that is free.

        Raises:
            JobError: The script fails, or has no output that can be encoded.
        """
        while True:
            client = self._connected()
            try:
                self._wait_for_workers(client)
                future = client.submit(
                    worker.inspect_script, script, arguments, chunk, resources={worker.RESOURCE: 1}, pure=False
                )
                answer = future.result()
            except KilledWorker:
                raise JobError(f"{script} takes down the workers that look at it") from None
            except _LOST:
                self._wait_for_scheduler()
                continue
            if "problem" in answer:
                raise JobError(answer["problem"])
            return script_info.decode(answer)

    def render(
        self,
        info: ScriptInfo,
        recipe: Recipe,
        numbers: Sequence[int],
        progress: Callable[[int, int], None],
        done: Callable[[int], None],
    ) -> None:
        """Have chunks made, in any order, until all of them are.

        Args:
            info: The script and its chunks.
            recipe: What they have in common.
            numbers: The chunks that are missing.
            progress: Called with a chunk and the number of its frames that are rendered, from another thread.
            done: Called with each chunk that is done.

        Raises:
            JobError: A chunk cannot be made.
        """
        job = worker.job_message(info, recipe)
        missing = list(numbers)
        tries: Counter[int] = Counter()

        def finished(number: int) -> None:
            missing.remove(number)
            done(number)

        while missing:
            client = self._connected()
            try:
                _Round(client, job, missing, tries, progress, finished, self._say).run()
            except _LOST:
                self._wait_for_scheduler()

    def close(self) -> None:
        """End the workers that were started here, and the scheduler if it was."""
        self._disconnect()
        if self._own is not None:
            self._own.close()

    def _connected(self) -> Client:
        patience = Patience(self._say, f"there is no scheduler at {self._address} yet; waiting for it", 0)
        while self._client is None:
            with contextlib.suppress(OSError, TimeoutError):
                self._client = Client(self._address, timeout=3)
                self._nannies = self._client.sync(start_workers, self._address, self._workers, self._gpus)
            if self._client is None:
                patience.look(True)
                time.sleep(RETRY_SECONDS)
        return self._client

    def _wait_for_scheduler(self) -> None:
        if self._own is not None:
            raise JobError("the scheduler of this process has ended")
        self._say(f"the scheduler at {self._address} is gone; waiting for it")
        self._disconnect()

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # what is gone already
                client.sync(stop_workers, self._nannies)
            with contextlib.suppress(Exception):
                client.close(timeout=2)
        self._nannies = []

    def _wait_for_workers(self, client: Client) -> None:
        patience = Patience(self._say, f"waiting for workers; on each machine: videoinr worker {self._address}")
        while not _takers(client):
            patience.look(True)
            time.sleep(_TICK_SECONDS)


#: How it shows that the connection was lost, and with it all that was on its way.
_LOST = (OSError, FutureCancelledError, FuturesCancelledError)


class _Round:
    """Chunks on their way through one connection."""

    def __init__(
        self,
        client: Client,
        job: Mapping[str, Any],
        missing: Sequence[int],
        tries: Counter[int],
        progress: Callable[[int, int], None],
        done: Callable[[int], None],
        say: Say,
    ) -> None:
        self._client, self._job, self._say = client, job, say
        self._waiting = deque(missing)
        self._tries, self._done = tries, done
        self._running: dict[Future[Any], int] = {}
        self._workers_of: dict[Future[Any], set[str]] = {}  # of those that not every worker may take
        self._failed_on: dict[int, set[str]] = {}
        self._failures: Counter[str] = Counter()  # of each worker, in a row
        self._topic = f"videoinr-{secrets.token_hex(8)}"
        client.subscribe_topic(self._topic, lambda event: progress(event[1]["chunk"], event[1]["frames"]))

    def run(self) -> None:
        """Go on until all is done; what is on its way is cancelled if it ends otherwise."""
        address = self._client.scheduler.address  # type: ignore[union-attr]
        patience = Patience(self._say, f"no worker takes chunks; on each machine: videoinr worker {address}")
        try:
            while self._waiting or self._running:
                held = self._client.processing()
                takers = _takers(self._client)  # later: who comes in between does not look like one that takes none
                patience.look(not takers)
                self._take_back(takers, held)
                self._submit(takers)
                self._collect()
        except BaseException:
            with contextlib.suppress(Exception):
                self._client.cancel(list(self._running), force=True)
                time.sleep(_END_SECONDS)
            raise
        finally:
            with contextlib.suppress(Exception):
                self._client.unsubscribe_topic(self._topic)

    def _submit(self, takers: set[str]) -> None:
        """Give the scheduler as many chunks as there are workers: one that comes later finds some left."""
        able = {address for address in takers if self._failures[address] < MAX_FAILURES} or takers
        while self._waiting and len(self._running) < max(len(able), 1):
            number = self._waiting.popleft()
            others = able - self._failed_on.get(number, set())
            restricted = others if others and others != takers else None
            future = self._client.submit(
                worker.render_chunk,
                self._job,
                number,
                self._topic,
                resources={worker.RESOURCE: 1},
                workers=list(restricted) if restricted else None,
                pure=False,
                key=f"videoinr-chunk-{number}-{secrets.token_hex(4)}",
            )
            self._running[future] = number
            if restricted:
                self._workers_of[future] = restricted

    def _take_back(self, takers: set[str], held: Mapping[str, Sequence[str]]) -> None:
        """Let chunks wait again whose workers are all gone, or which a worker has that takes none any more."""
        stuck = {key for address, keys in held.items() if address not in takers for key in keys}
        for future in list(self._running):
            restricted = self._workers_of.get(future)
            if (restricted and not restricted & takers) or (future.key in stuck and not future.done()):
                self._client.cancel([future], force=True)
                self._waiting.appendleft(self._forget(future))

    def _collect(self) -> None:
        if not self._running:
            time.sleep(_TICK_SECONDS)
            return
        with contextlib.suppress(TimeoutError):
            distributed.wait(list(self._running), timeout=_TICK_SECONDS, return_when="FIRST_COMPLETED")
        for future in [future for future in self._running if future.status != "pending"]:
            if future.status == "finished":
                self._judge(self._forget(future), future.result())
            elif future.status == "error":
                error = future.exception()
                self._failed(self._forget(future), (str(error) or repr(error)).splitlines()[0])
            else:  # lost, or cancelled by nobody here
                raise FuturesCancelledError([])

    def _forget(self, future: Future[Any]) -> int:
        self._workers_of.pop(future, None)
        return self._running.pop(future)

    def _judge(self, number: int, answer: Mapping[str, str]) -> None:
        name, address = answer["name"], answer["address"]
        if "done" in answer:
            self._failures[address] = 0
            self._done(number)
        elif "fatal" in answer:
            raise JobError(answer["fatal"])
        elif "refused" in answer:
            self._say(f"worker {name} ({address}) is refused: it has {answer['refused']}")
            self._waiting.appendleft(number)
        else:
            self._failed_on.setdefault(number, set()).add(address)
            self._failures[address] += 1
            self._failed(number, f"on worker {name}, {answer['failed']}")
            if self._failures[address] == MAX_FAILURES:
                self._say(f"worker {name} ({address}) has failed {MAX_FAILURES} times in a row and gets no more chunks")

    def _failed(self, number: int, problem: str) -> None:
        first, last, _ = self._job["chunks"][number]
        self._tries[number] += 1
        if self._tries[number] >= MAX_TRIES:
            raise JobError(f"frames {first} to {last} cannot be rendered, after {MAX_TRIES} tries: {problem}")
        self._say(f"frames {first} to {last} are tried again: {problem}")
        self._waiting.appendleft(number)


def _takers(client: Client) -> set[str]:
    """The addresses of the workers that take chunks."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address for address, about in workers.items() if about["resources"].get(worker.RESOURCE)}


def _dashboard() -> str | None:
    """Where the dashboard of a scheduler of our own listens; None without bokeh, which shows it."""
    try:
        import bokeh  # type: ignore[import-not-found,unused-ignore] # noqa: F401
    except ImportError:
        return None
    return "127.0.0.1:0"
