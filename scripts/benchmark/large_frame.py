"""What a large frame takes."""

from __future__ import annotations

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, interleaved
from scripts.benchmark.layout import gb, seconds
from scripts.benchmark.playback import LOADED, play, source
from scripts.benchmark.steps import enlarged

TITLE = "A large frame"
FRAMES = 3  # of the output, at twice the rate: both of a pair, and the first of the next


def measure(bench: Bench) -> list[Row]:
    """A row for each version, measured once: it takes minutes."""
    size = enlarged(bench.scale.large, 2)
    script = (
        source(bench.scale.large, 4, bench.work)
        + "from scripts.evaluation.baselines import ours\n"
        + f'out = ours("lite", device="cpu")(clip, {size[0]}, {size[1]}, 2)\n'
        + LOADED
        + "out.resize.Point(format=vs.RGB24).set_output()\n"
    )

    def run(name: str) -> Row:
        build = next(build for build in bench.builds if build.name == name)
        seen = play(build, script, size, FRAMES, bench.work)
        return {"peak": seen.peak, "arrivals": seen.arrivals}

    done = interleaved("large frame", [build.name for build in bench.builds], 1, run)
    return [{"build": name, "source": list(bench.scale.large), **turns[0]} for name, turns in done]


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    width, height = rows[0]["source"]
    body = [[row["build"], gb(row["peak"]), *map(seconds, row["arrivals"])] for row in rows]
    head = ["", "memory", *(f"frame {n} after" for n in range(FRAMES))]
    return [
        f"`lite` on a CPU, {width}x{height} to {width * 2}x{height * 2} at twice the rate, through vspipe: what the "
        "process had resident at most, and when the first frames had come. Measured once.",
        "",
        *markdown_table(head, body),
    ]
