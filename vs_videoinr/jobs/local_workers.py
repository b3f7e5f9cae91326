"""Worker processes of this machine: each has a GPU of its own and keeps to its share of the cores."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Sequence

from distributed import Nanny

from vs_videoinr.jobs import tools, worker
from vs_videoinr.jobs.progress import Patience, Say

#: Numbers of threads that the user has set. Dask makes 1 of them, in this process as well.
_THREADS = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

#: Seconds between two tries to reach a scheduler.
RETRY_SECONDS = 2.0

# What Dask would tell of is told in a sentence instead.
_SILENT = logging.CRITICAL + 1
for _name in ("distributed", "distributed.client"):
    logging.getLogger(_name).setLevel(_SILENT)


async def start_workers(address: str, count: int, gpus: int, folders: Sequence[tuple[str, str]] = ()) -> list[Nanny]:
    """Start worker processes on this machine, each with a share of its cores and with a GPU of its own.

    Args:
        address: Of the scheduler.
        count: How many.
        gpus: GPUs of this machine, which workers are given in turn.
        folders: Folders of jobs and where they lie on this machine.
    """
    nannies = [
        Nanny(
            address,
            nthreads=1,
            name=f"{socket.gethostname()}-{os.getpid()}-{k}",
            resources={worker.RESOURCE: 1},
            memory_limit=0,
            silence_logs=_SILENT,
            env=_environment(k, count, gpus, folders),
        )
        for k in range(count)
    ]
    await asyncio.gather(*nannies)
    return nannies


async def stop_workers(nannies: Sequence[Nanny]) -> None:
    """End worker processes, and with them what they run."""
    await asyncio.gather(*(nanny.close(timeout=2) for nanny in nannies))


async def serve(address: str, count: int, gpus: int, folders: Sequence[tuple[str, str]], say: Say) -> None:
    """Work for a scheduler until cancelled; when it goes, wait for it to come back."""
    patience = Patience(say, f"there is no scheduler at {address} yet; waiting for it", 0)
    while True:
        nannies: list[Nanny] = []
        try:
            nannies = await start_workers(address, count, gpus, folders)
            patience.look(False)
            say(f"{count} worker{'s' * (count > 1)} at {address}")
            await asyncio.wait(
                [asyncio.ensure_future(nanny.finished()) for nanny in nannies], return_when="FIRST_COMPLETED"
            )
            say(f"the scheduler at {address} is gone; waiting for it")
        except (OSError, TimeoutError):
            patience.look(True)
        finally:
            with contextlib.suppress(Exception):
                await stop_workers(nannies)
        await asyncio.sleep(RETRY_SECONDS)


def _environment(k: int, count: int, gpus: int, folders: Sequence[tuple[str, str]]) -> dict[str, str]:
    cores = _share(tools.cores(), k, count)
    variables = {worker.CORES_VARIABLE: ",".join(map(str, cores)), worker.FOLDERS_VARIABLE: json.dumps(list(folders))}
    variables |= {name: wanted or str(len(cores)) for name, wanted in _THREADS.items()}
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(gpu) for gpu in range(gpus)]
        variables["CUDA_VISIBLE_DEVICES"] = names[k % gpus]
    return variables


def _share(cores: Sequence[int], k: int, count: int) -> Sequence[int]:
    """The cores of worker `k` of so many: neighbours, as many as the others have, at least one."""
    if count >= len(cores):
        return [cores[k % len(cores)]]
    return cores[len(cores) * k // count : len(cores) * (k + 1) // count]
