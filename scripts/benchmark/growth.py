"""How the cost of `lite` grows with size, rate and length."""

from __future__ import annotations

from typing import NamedTuple

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, Size, interleaved, least
from scripts.benchmark.client import Worker
from scripts.benchmark.layout import seconds
from scripts.benchmark.playback import LOADED, play, source
from scripts.benchmark.steps import enlarged

TITLE = "How the cost grows"
KINDS = {"size": "source pixels", "rate": "output frames per source frame", "pairs": "pairs of source frames"}
PICTURE = "benchmarks/growth.png"  # below the report's folder


class _Job(NamedTuple):
    """A pair of frames at a size and rate."""

    kind: str
    source: Size
    rate: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.source[0]}x{self.source[1]}, {self.rate}x rate"


def measure(bench: Bench) -> list[Row]:
    """A row for each point of each curve: `kind`, `x` and seconds, of a pair or until so many pairs have come."""
    sizes, rates, pairs = bench.scale.grown
    jobs = [_Job("size", size, 2) for size in sizes] + [_Job("rate", bench.scale.pair, rate) for rate in rates]

    with Worker(bench.now) as worker:

        def whole(job: _Job) -> Row:
            what = {"model": "lite", "device": "cpu", "source": job.source, "size": enlarged(job.source, 4)}
            answer: Row = worker.ask("whole", rate=job.rate, **what)
            return answer

        interleaved("warming up", [jobs[0]], 1, whole)  # warms up
        rows: list[Row] = [
            {"kind": job.kind, "x": job.rate if job.kind == "rate" else job.source[0] * job.source[1], **cost}
            for job, cost in (
                (job, least(turns, "seconds")) for job, turns in interleaved("growth", jobs, bench.scale.repeats, whole)
            )
        ]
    size = enlarged(bench.scale.pair, 4)
    script = (
        source(bench.scale.pair, pairs + 3, bench.work)
        + "from scripts.evaluation.baselines import ours\n"
        + f'out = ours("lite", device="cpu")(clip, {size[0]}, {size[1]}, 2)\n'
        + LOADED
        + "out.resize.Point(format=vs.RGB24).set_output()\n"
    )
    turns = [play(bench.now, script, size, 2 * pairs + 1, bench.work).arrivals for _ in range(bench.scale.repeats)]
    quickest = min(turns, key=lambda arrivals: arrivals[-1])
    rows += [{"kind": "pairs", "x": k, "seconds": quickest[2 * k]} for k in range(pairs + 1)]
    return rows


def lines(rows: list[Row]) -> list[str]:
    """The section of the report, which shows the picture that `plots.growth` draws."""
    text = [
        "`lite` now, on a CPU, enlarging four times. With size and rate: one pair with all its frames (at twice the "
        "rate, and at one size). With pairs: a clip through vspipe, until the first frame of each pair has come.",
        "",
        f"![Cost against size, rate and number of pairs]({PICTURE})",
    ]
    for kind, name in KINDS.items():
        here = [row for row in rows if row["kind"] == kind]
        text += [
            "",
            *markdown_table([name, *(f"{row['x']:,}" for row in here)], [["", *(seconds(r["seconds"]) for r in here)]]),
        ]
    return text
