"""What runs in a worker of the engine: one chunk at a time, if the worker is like the machine that began the job."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed

from vs_videoinr.jobs import script_info
from vs_videoinr.jobs.encode import Recipe, encode_chunk
from vs_videoinr.jobs.errors import ChunkError, JobError
from vs_videoinr.jobs.script_info import Machine, ScriptInfo

#: What a worker has one of, and a chunk needs.
RESOURCE = "videoinr"

#: Environment variables of a worker: its CPU cores, as numbers with commas between them, and (JSON) the folders that
#: lie elsewhere on its machine, pairs of the job's name for it and the machine's own.
CORES_VARIABLE, FOLDERS_VARIABLE = "VIDEOINR_WORKER_CORES", "VIDEOINR_WORKER_FOLDERS"

#: Seconds between two messages on how far a chunk is.
_REPORT_SECONDS = 1.0


def render_chunk(job: Mapping[str, Any], number: int, topic: str) -> dict[str, str]:
    """Make chunk `number` of a job; return what became of it.

    Args:
        job: What `job_message` has made.
        number: Index of the chunk.
        topic: Of the events in which the worker says how far it is: `{"chunk": number, "frames": n}`.

    Returns:
        The worker's `name` and `address`, and one sentence: `failed`, `refused` (the worker takes no more chunks),
        `fatal` (nobody can make it), or `done`, which is empty.
    """
    worker = distributed.get_worker()
    answer = {"name": str(worker.name), "address": worker.address}
    _pin()
    if problem := _refusal(json.dumps(job["machine"])):
        distributed.utils.sync(worker.loop, worker.set_resources, **{RESOURCE: 0})
        return answer | {"refused": problem}
    info = script_info.decode(job)
    try:
        _check_files(info)
        recipe = Recipe(
            Path(local_path(job["script"])),
            job["arguments"],
            info.clip,
            job["encoder"],
            Path(local_path(job["folder"])),
            job["suffix"],
        )
        encode_chunk(recipe, info.chunks[number], _reporter(worker, topic, number), _is_abandoned(worker))
    except ChunkError as error:
        return answer | {"failed": str(error)}
    except JobError as error:
        return answer | {"fatal": str(error)}
    return answer | {"done": ""}


def inspect_script(script: str, arguments: Mapping[str, str], chunk: int | None) -> dict[str, Any]:
    """Return what `script_info.inspect` finds out on this worker's machine, encoded; `problem` where it cannot."""
    try:
        return script_info.encode(script_info.inspect(local_path(script), arguments, chunk))
    except JobError as error:
        return {"problem": str(error)}


def job_message(info: ScriptInfo, recipe: Recipe) -> dict[str, Any]:
    """Return what a worker needs to know of a job, in types that every version of this package can read."""
    return script_info.encode(info) | {
        "script": str(recipe.script),
        "arguments": dict(recipe.arguments),
        "encoder": list(recipe.encoder),
        "folder": str(recipe.folder),
        "suffix": recipe.suffix,
    }


def local_path(path: str) -> str:
    """Return a path of the job as this worker's machine names it."""
    folders: list[tuple[str, str]] = json.loads(os.environ.get(FOLDERS_VARIABLE, "[]"))
    for theirs, ours in folders:
        theirs = theirs.rstrip("/\\")
        rest = path[len(theirs) :]
        if path.startswith(theirs) and rest[:1] in ("", "/", "\\"):
            return ours.rstrip("/\\") + rest.replace("\\", "/")
    return path


def _pin() -> None:
    """Keep to the cores that are this worker's: vspipe, PyTorch and ffmpeg make as many threads as they may run on."""
    if not (listed := os.environ.get(CORES_VARIABLE)):
        return
    cores = [int(core) for core in listed.split(",")]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # of this thread, by which chunks' programs are started
    elif sys.platform == "win32":
        import psutil  # comes with distributed

        psutil.Process().cpu_affinity(cores)


@functools.cache
def _refusal(job_machine: str) -> str | None:
    """What is different here from the machine that a job was begun on; asked once per worker."""
    theirs = Machine(**json.loads(job_machine))
    try:
        ours = script_info.this_machine([local_path(name) for name in theirs.models])
    except JobError as error:
        return str(error)
    names = {local_path(name): name for name in theirs.models}
    renamed = replace(ours, models={names[name]: checksum for name, checksum in ours.models.items()})
    return ", ".join(renamed.differences(theirs)) or None


def _check_files(info: ScriptInfo) -> None:
    for path, checksum in info.files.items():
        here = Path(local_path(path))
        try:
            found = hashlib.sha256(here.read_bytes()).hexdigest()
        except OSError as error:
            raise ChunkError(f"{here} cannot be read: {error.strerror}") from None
        if found != checksum:
            raise JobError(f"{here.name} has changed since the job was begun")


def _reporter(worker: distributed.Worker, topic: str, number: int) -> Callable[[int], None]:
    last = time.monotonic()

    def report(frames: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_SECONDS:
            last = now
            worker.log_event(topic, {"chunk": number, "frames": frames})

    return report


def _is_abandoned(worker: distributed.Worker) -> Callable[[], bool]:
    """Whether the engine has let go of the task that runs here: it was cancelled, or the scheduler is gone."""
    key = worker.get_current_task()

    def is_abandoned() -> bool:
        task = worker.state.tasks.get(key)
        going = worker.status not in (distributed.Status.running, distributed.Status.paused)
        return going or task is None or task.state != "executing"

    return is_abandoned
