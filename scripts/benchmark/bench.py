"""What every section of the benchmark is given, and the rows that it returns."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from scripts.benchmark.builds import Build
from scripts.benchmark.client import Worker, WorkerError
from scripts.benchmark.playback import PlaybackError
from tests.reference_recipe import published_shapes, reference_state_dict
from vs_videoinr.weights import catalogue

#: What was measured of one thing: texts that say of what, and numbers.
Row = dict[str, Any]
Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        pair: Of steps and profiles: a source size, enlarged four times.
        large_pair: The same once more for `lite`, and at its own size; None for neither.
        larger: Source sizes at which steps and clips are measured as well, and by how much they are enlarged.
        output: Output size of whole clips.
        rates: Their output frames per source frame.
        pairs: How many pairs of a clip networks get; the first warms up.
        fast_pairs: How many those methods get that take no time.
        started: Source size of a frame in a fresh process, enlarged four times.
        large: Source size of a large frame, enlarged twice.
        plain: Size of the frames that a network only copies, and
        plain_frames: How many of them, and
        plain_formats: In which formats.
        literal: Source size of what the published network decodes, enlarged four times.
        grown: Source sizes, rates and a number of pairs over which the cost is drawn.
        repeats: How often everything is measured that does not take minutes.
        clip_repeats: How often whole clips are.
    """

    pair: Size
    large_pair: Size | None
    larger: tuple[tuple[Size, int], ...]
    output: Size
    rates: tuple[int, ...]
    pairs: int
    fast_pairs: int
    started: Size
    large: Size
    plain: Size
    plain_frames: int
    plain_formats: tuple[str, ...]
    literal: Size
    grown: tuple[tuple[Size, ...], tuple[int, ...], int]
    repeats: int
    clip_repeats: int


FULL = Scale(
    pair=(160, 90),
    large_pair=(320, 180),
    larger=(),
    output=(854, 480),
    rates=(2, 10),
    pairs=3,
    fast_pairs=12,
    started=(160, 90),
    large=(1920, 1080),
    plain=(1920, 1080),
    plain_frames=100,
    plain_formats=("RGBS", "YUV420P8"),
    literal=(96, 54),
    grown=(((80, 45), (160, 90), (240, 135), (320, 180), (400, 225)), (2, 4, 6, 8, 10), 12),
    repeats=3,
    clip_repeats=2,
)
#: What of `FULL` is another on a GPU, which makes a frame in no time.
GPU = replace(FULL, larger=(((960, 540), 2), ((1920, 1080), 2)), pairs=20, fast_pairs=20, clip_repeats=1)
QUICK = Scale(
    pair=(16, 12),
    large_pair=None,
    larger=(),
    output=(256, 192),
    rates=(2,),
    pairs=2,
    fast_pairs=2,
    started=(16, 12),
    large=(32, 24),
    plain=(64, 48),
    plain_frames=40,
    plain_formats=("YUV420P8",),
    literal=(8, 6),
    grown=(((16, 12), (24, 16)), (2, 3), 3),
    repeats=1,
    clip_repeats=1,
)


@dataclass(frozen=True)
class Bench:
    """What is compared, and how.

    Attributes:
        builds: The versions of the plugin: "now", then "before" if there is one.
        files: Models to be measured besides the usual ones.
        device: Where networks run, as PyTorch names it.
        scale: How large everything is.
        quick: Whether only what is quick is measured.
        work: Folder for what is made on the way.
        deadline: When nothing more is begun, by `time.monotonic`.
    """

    builds: tuple[Build, ...]
    files: tuple[Path, ...]
    device: str
    scale: Scale
    quick: bool
    work: Path
    deadline: float = math.inf

    @property
    def on_gpu(self) -> bool:
        """Whether that is a GPU."""
        return self.device != "cpu"

    @cached_property
    def models(self) -> dict[str, str]:
        """What is loaded under each model's name."""
        ours = {"lite": "lite"}
        if self.on_gpu and not self.quick:
            ours |= {model.name: model.name for model in catalogue.models() if model.origin == "bundled"}
        elif not self.quick:
            ours |= {"standard": "standard", "published": self.published()}
        return ours | {path.stem: str(path.absolute()) for path in self.files}

    @property
    def now(self) -> Build:
        """The version that is installed."""
        return self.builds[0]

    def published(self) -> str:
        """Path of a checkpoint of the published network, with the reference recipe's weights."""
        path = self.work / "published.safetensors"
        if not path.exists():
            save_file(reference_state_dict(published_shapes()), path)
        return str(path)

    @contextmanager
    def workers(self, **variables: str) -> Iterator[dict[str, Worker]]:
        """A worker of each version, by its name."""
        with ExitStack() as stack:
            yield {build.name: stack.enter_context(Worker(build, **variables)) for build in self.builds}


def interleaved[Key](
    what: str, jobs: Iterable[Key], repeats: int, measure: Callable[[Key], Row], deadline: float = math.inf
) -> list[tuple[Key, list[Row]]]:
    """What is measured of each job, by turns: all of them once, then all again. On stderr, `what` says what this is.

    What the version before or a model given by its file cannot do is left out, with a line on stderr that says why. So
    is what there is no time for; what has been measured by then counts.
    """
    results: dict[Key, list[Row]] = {job: [] for job in jobs}
    for turn, job in itertools.product(range(repeats), list(results)):
        if job not in results:
            continue
        if time.monotonic() > deadline:
            print(f"{what}: {job} is not measured: there is no time left", file=sys.stderr, flush=True)
            continue
        print(f"{what}: {job} ({turn + 1} of {repeats})", file=sys.stderr, flush=True)
        try:
            results[job].append(measure(job))
        except (WorkerError, PlaybackError) as error:
            print(f"{what}: {job} is not measured: {error}", file=sys.stderr, flush=True)
            del results[job]
    return [(job, rows) for job, rows in results.items() if rows]


def least(rows: list[Row], *names: str) -> Row:
    """The smallest value of each of these columns: what came between can only add to it."""
    return {name: min(row[name] for row in rows) for name in names}


def value(rows: Iterable[Row], column: str, **where: object) -> Any:
    """A column of the row in which other columns have these values; None if it was not measured."""
    return next((row.get(column) for row in rows if all(row.get(name) == at for name, at in where.items())), None)
