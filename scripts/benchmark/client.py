"""Workers (`worker.py`) of both versions, started when they are asked for the first time."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from scripts import ROOT
from scripts.benchmark.builds import Build

#: The checkout lies behind everything installed, so that only what is not installed is taken from it.
_START = "import sys; sys.path.append(sys.argv[1]); from scripts.benchmark.worker import main; main()"


#: Lets PyTorch's profiler say nothing of itself on stderr.
QUIET = {"KINETO_LOG_LEVEL": "6"}


class WorkerError(Exception):
    """What was asked for cannot be done; the message is a sentence of the package's or PyTorch's."""


class Worker:
    """A process of one version of the package that measures what it is asked to; a context."""

    def __init__(self, build: Build, **variables: str) -> None:
        """Start it, with more environment variables, and make sure of its version."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(ROOT)],
            env=build.variables | QUIET | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self.ask("about")
        build.check(self.about["file"])

    def ask(self, command: str, **arguments: Any) -> Any:
        """What a command of the worker's answers.

        Raises:
            WorkerError: It cannot.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"command": command, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker that was to {command} ended with {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["answer"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
