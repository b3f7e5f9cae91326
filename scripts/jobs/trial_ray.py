"""The trial of Ray; see engines.py. Runs in an environment of its own and prints JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster


@ray.remote(num_cpus=1, num_gpus=1, max_retries=3)  # type: ignore[untyped-decorator, unused-ignore]
def chunk(folder: str, number: int, seconds: float) -> dict[str, Any]:
    """Stand for the rendering of a chunk."""
    begun = time.time()
    Path(folder, f"{number}.{os.getpid()}").touch()
    time.sleep(seconds)
    node = ray.get_runtime_context().get_node_id()
    return {"begun": begun, "node": node, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}


def main(folder: Path) -> None:
    """Go through the points and print what they took."""
    begun = time.time()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 2, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="critical")
    found: dict[str, Any] = {"start": time.time() - begun}

    def submit(numbers: range, seconds: float) -> list[Any]:
        return [chunk.remote(str(folder), n, seconds) for n in numbers]

    found["gpus"] = sorted(result["gpu"] for result in ray.get(submit(range(2), 1)))

    futures = submit(range(10, 12), 5)
    while not any(folder.glob("10.*")):
        time.sleep(0.05)
    time.sleep(1)
    killed = time.time()
    os.kill(int(next(folder.glob("10.*")).suffix[1:]), signal.SIGKILL)
    found["again"] = ray.get(futures)[0]["begun"] - killed
    found["replaced"] = found["again"]  # it begins in the process that replaces the lost one

    futures = submit(range(20, 30), 3)
    while not any(folder.glob("20.*")):
        time.sleep(0.05)
    late = time.time()
    node = cluster.add_node(num_cpus=1, num_gpus=1)
    found["joined"] = time.time() - late
    first = [result["begun"] for result in ray.get(futures) if result["node"] == node.node_id]
    found["late"] = min(first) - late if first else None
    print(json.dumps(found))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
