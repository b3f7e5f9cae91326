"""The job folder: what was begun, and which chunks of it are done.

FOLDER/manifest.json   script, arguments, versions, models and chunks, written once
FOLDER/chunks/         complete chunks, and incomplete ones with .part in their names
FOLDER/lock            held by the process that works on the job
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vs_videoinr.jobs import script_info
from vs_videoinr.jobs.encode import PART, Recipe
from vs_videoinr.jobs.errors import JobError
from vs_videoinr.jobs.script_info import ScriptInfo

_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a job is.

    Attributes:
        script: Path of the script.
        arguments: What `vspipe --arg` is given.
        encoder: Arguments of ffmpeg.
        suffix: Of the file to make.
        chunk_frames: Frames of a chunk, as they were asked for.
        info: The script as it was found.
    """

    script: Path
    arguments: Mapping[str, str]
    encoder: Sequence[str]
    suffix: str
    chunk_frames: int
    info: ScriptInfo

    def change(self, now: Manifest) -> str | None:
        """Return what of a job is not `now` as it was when it began, as the end of a sentence; None if nothing is."""
        if [*self.info.files.values()] != [*now.info.files.values()]:
            return "its script, or a module that this imports, has changed"
        if self.info.clip != now.info.clip:
            return f"the script's output has changed (it had {self.info.clip.frames} frames)"
        differences = self.info.machine.differences(now.info.machine)
        if differences:
            return f"it began with {', '.join(differences)}"
        arguments = {"encoder": "--encoder", "arguments": "--arg", "chunk_frames": "--chunk", "suffix": "OUT"}
        for name, argument in arguments.items():
            if getattr(self, name) != getattr(now, name):
                return f"it began with another {argument}"
        return None


class JobFolder:
    """A folder that holds one job.

    Attributes:
        path: The folder.
        chunks: Where its chunks are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chunks = path / "chunks"
        self._manifest = path / "manifest.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the job for this process; make the folder if there is none.

        Raises:
            JobError: Another process holds it, or it cannot be written to.
        """
        try:
            self.chunks.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("ab")
        except OSError as error:
            raise JobError(f"the job folder {self.path} cannot be made: {error.strerror}") from None
        with lock:
            if not _try_lock(lock):
                raise JobError(f"another process works on the job in {self.path}")
            try:
                yield
            finally:
                lock.close()
                if not self._manifest.exists():  # it was not begun, or is done
                    self._remove_empty()

    def read(self) -> Manifest | None:
        """Return the job that was begun; None if none was.

        Raises:
            JobError: It is not known what this is.
        """
        try:
            data = json.loads(self._manifest.read_bytes())
            if data["format"] != _FORMAT:
                raise ValueError
            return Manifest(
                Path(data["script"]),
                data["arguments"],
                data["encoder"],
                data["suffix"],
                data["chunk_frames"],
                script_info.decode(data["info"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError):
            raise JobError(f"{self._manifest} cannot be read; --restart begins the job anew") from None

    def begin(self, manifest: Manifest) -> None:
        """Begin a job: forget any earlier one with its chunks, and write what it is."""
        self._manifest.unlink(missing_ok=True)
        shutil.rmtree(self.chunks)
        self.chunks.mkdir()
        data = {
            "format": _FORMAT,
            "script": str(manifest.script),
            "arguments": dict(manifest.arguments),
            "encoder": list(manifest.encoder),
            "suffix": manifest.suffix,
            "chunk_frames": manifest.chunk_frames,
            "info": script_info.encode(manifest.info),
        }
        part = self._manifest.with_suffix(PART)
        with part.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._manifest)

    def recipe(self, manifest: Manifest) -> Recipe:
        """Return what the chunks of a job have in common."""
        return Recipe(
            manifest.script, manifest.arguments, manifest.info.clip, manifest.encoder, self.chunks, manifest.suffix
        )

    def missing(self, manifest: Manifest) -> list[int]:
        """Return the indices of the chunks that are not done, in order."""
        recipe = self.recipe(manifest)
        return [n for n, chunk in enumerate(manifest.info.chunks) if not recipe.path(chunk).exists()]

    def remove_parts(self) -> None:
        """Remove what was left incomplete."""
        for path in self.chunks.glob(f"*{PART}*"):
            with contextlib.suppress(OSError):  # a worker elsewhere is about to
                path.unlink()

    def remove(self) -> None:
        """Forget the job and its chunks; the folder goes with its lock, unless there is something else in it."""
        self._manifest.unlink()
        shutil.rmtree(self.chunks)

    def _remove_empty(self) -> None:
        with contextlib.suppress(OSError):
            self.chunks.rmdir()
        with contextlib.suppress(OSError):
            (self.path / "lock").unlink()
            self.path.rmdir()


def _try_lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; the system lets go of it too when the process is killed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
