"""`videoinr render` and `videoinr worker`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vs_videoinr.jobs import join, script_info
from vs_videoinr.jobs.errors import JobError
from vs_videoinr.jobs.manifest import JobFolder, Manifest
from vs_videoinr.jobs.progress import Progress, say

if TYPE_CHECKING:
    from vs_videoinr.jobs.engine import Engine

#: Frames of a chunk: minutes of work, beside which the seconds in which a worker begins one are few.
CHUNK_FRAMES = 500


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        script: The VapourSynth script; this and all other paths are absolute.
        out: The file to make.
        source: Where sound, subtitles and chapters come from.
        encoder: Arguments of ffmpeg.
        chunk: Frames of a chunk; None for those that the job was begun with.
        folder: The job folder; None for one beside `out`.
        restart: Begin anew, whatever is there.
        workers: Processes on this machine; None for as many as it has GPUs.
        scheduler: Address of a scheduler that runs.
        arguments: What `vspipe --arg` would be given.
    """

    script: Path
    out: Path
    source: Path | None
    encoder: Sequence[str]
    chunk: int | None
    folder: Path | None
    restart: bool
    workers: int | None
    scheduler: str | None
    arguments: Mapping[str, str]


def render(request: Request) -> None:
    """Make the file that is asked for, or what of it is missing.

    Raises:
        JobError: It cannot be made; what is done of it is kept.
    """
    _check(request)
    script, out = request.script, request.out
    folder = JobFolder(request.folder or out.with_name(f"{out.name}.job"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interruptible())
        stack.enter_context(folder.locked())
        begun = None if request.restart else folder.read()
        if begun is None and out.exists() and not request.restart:
            raise JobError(f"{out} exists already; --restart renders it anew")
        stack.callback(folder.remove_parts)
        engine = None
        asked = request.chunk or (begun.chunk_frames if begun else CHUNK_FRAMES)
        say(f"looking at {script.name}")
        if request.scheduler is None:
            info = script_info.inspect(str(script), request.arguments, None if begun else asked)
        else:  # where it will run: a machine that only waits for others needs no GPU
            engine = _open_engine(request, script_info.this_machine([]).gpus if request.workers else 0, stack)
            info = engine.inspect(str(script), request.arguments, None if begun else asked)
        manifest = Manifest(script, dict(request.arguments), list(request.encoder), out.suffix, asked, info)
        if begun is not None:
            if engine is not None:  # each worker is compared with the job, not only the one that looked
                manifest = replace(manifest, info=replace(info, machine=begun.info.machine))
            if change := begun.change(manifest):
                raise JobError(f"the job in {folder.path} cannot go on, for {change}; --restart begins it anew")
            manifest = begun
        recipe = folder.recipe(manifest)
        if begun is None:
            join.try_encoder(recipe, request.source, out)
            folder.begin(manifest)
        folder.remove_parts()
        if missing := folder.missing(manifest):
            progress = Progress(manifest.info.chunks, missing)
            engine = engine or _open_engine(request, info.machine.gpus, stack)
            engine.render(manifest.info, recipe, missing, progress.rendered, progress.done)
            if folder.missing(manifest):
                raise JobError(f"workers have made chunks that are not in {folder.chunks}; share it, or see --map")
        say(f"joining {len(manifest.info.chunks)} chunks")
        join.join(recipe, manifest.info.chunks, request.source, out)
        folder.remove()
    say(f"{out} is done")


def work(scheduler: str, workers: int | None, folders: Sequence[tuple[str, str]]) -> None:
    """Make chunks for whoever uses the scheduler, until interrupted.

    Raises:
        JobError: The engine is not installed, or a program is missing.
    """
    _require_engine("worker")
    from vs_videoinr.jobs.local_workers import serve

    gpus = script_info.this_machine([]).gpus
    with _interruptible():
        asyncio.run(serve(scheduler, workers or max(gpus, 1), gpus, folders, say))


def _check(request: Request) -> None:
    """Refuse what cannot become anything, before anything is made."""
    _require_engine("render")
    if not request.script.is_file():
        raise JobError(f"there is no script {request.script}")
    if request.source is not None and not request.source.is_file():
        raise JobError(f"there is no file {request.source} to take sound from")
    if request.out.suffix not in join.SUFFIXES:
        raise JobError(f"the name of {request.out} must end with one of {', '.join(join.SUFFIXES)}")
    if not request.out.parent.is_dir():
        raise JobError(f"there is no folder {request.out.parent}")
    if request.source is not None and request.out.exists() and request.out.samefile(request.source):
        raise JobError(f"{request.out} is the source itself; give another name")


def _require_engine(command: str) -> None:
    if importlib.util.find_spec("distributed") is None:
        raise JobError(
            f"videoinr {command} needs Dask Distributed; install it: pip install 'vapoursynth-videoinr[render]'"
        )


def _open_engine(request: Request, gpus: int, stack: contextlib.ExitStack) -> Engine:
    workers = request.workers
    if workers is None:
        workers = max(gpus, 1) if request.scheduler is None else 0
    from vs_videoinr.jobs.engine import Engine  # whose import takes a second

    engine = Engine(request.scheduler, workers, gpus, say)
    stack.callback(engine.close)
    return engine


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM end the command as Ctrl-C does: with its children, and nothing half-written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
