"""The trial of Dask Distributed; see engines.py. Runs in an environment of its own and prints JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, Nanny, wait


def chunk(folder: str, number: int, seconds: float) -> dict[str, Any]:
    """Stand for the rendering of a chunk."""
    begun = time.time()
    Path(folder, f"{number}.{os.getpid()}").touch()
    time.sleep(seconds)
    return {"begun": begun, "process": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}


async def start_worker(address: str, gpu: int) -> Nanny:
    """Start a worker with a GPU of its own."""
    nanny = Nanny(address, nthreads=1, resources={"GPU": 1}, env={"CUDA_VISIBLE_DEVICES": str(gpu)}, silence_logs=60)
    await nanny
    return nanny


def main(folder: Path) -> None:
    """Go through the points and print what they took."""
    begun = time.time()
    cluster = LocalCluster(n_workers=0, dashboard_address=None, silence_logs=60)
    client = Client(cluster)
    nannies = [client.sync(start_worker, cluster.scheduler_address, gpu) for gpu in range(2)]
    found: dict[str, Any] = {"start": time.time() - begun}

    def submit(numbers: range, seconds: float) -> list[Any]:
        return [client.submit(chunk, str(folder), n, seconds, resources={"GPU": 1}, pure=False) for n in numbers]

    results = client.gather(submit(range(2), 1))
    found["gpus"] = sorted(result["gpu"] for result in results)

    futures = submit(range(10, 12), 5)
    while not any(folder.glob("10.*")):
        time.sleep(0.05)
    time.sleep(1)
    killed = time.time()
    os.kill(int(next(folder.glob("10.*")).suffix[1:]), signal.SIGKILL)
    wait(futures)
    found["again"] = futures[0].result()["begun"] - killed
    while len(client.scheduler_info(n_workers=-1)["workers"]) < 2:
        time.sleep(0.05)
    found["replaced"] = time.time() - killed

    futures = submit(range(20, 30), 3)
    while not any(folder.glob("20.*")):
        time.sleep(0.05)
    late = time.time()
    nannies.append(client.sync(start_worker, cluster.scheduler_address, 2))
    found["joined"] = time.time() - late
    first = [result["begun"] for result in client.gather(futures) if result["gpu"] == "2"]
    found["late"] = min(first) - late if first else None
    print(json.dumps(found))
    client.sync(asyncio.gather, *(nanny.close() for nanny in nannies))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
