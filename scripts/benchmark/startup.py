"""How long a fresh vspipe takes to its first frame."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, interleaved, value
from scripts.benchmark.builds import Build
from scripts.benchmark.layout import gb, ratio, seconds
from scripts.benchmark.playback import LOADED, play, source
from scripts.benchmark.steps import enlarged

TITLE = "A fresh process"
TORCH = "importing PyTorch"


def _script(bench: Bench) -> str:
    size = enlarged(bench.scale.started, 4)
    return (
        source(bench.scale.started, 4, bench.work)
        + "clip = clip.resize.Bicubic(format=vs.YUV420P8, matrix=1)\n"
        + f"size = {{'width': {size[0]}, 'height': {size[1]}, 'device': {bench.device!r}}}\n"
        + 'out = core.videoinr.Upscale(clip, **size, factor_num=2, model="lite")\n'
        + LOADED
        + "out.resize.Bicubic(format=vs.RGB24).set_output()\n"
    )


def measure(bench: Bench) -> list[Row]:
    """A row for each version, and one for what PyTorch alone takes: medians."""
    size = enlarged(bench.scale.started, 4)

    def run(what: str) -> Row:
        start = time.perf_counter()
        if what == TORCH:
            subprocess.run([sys.executable, "-P", "-c", "import torch"], check=True)
            return {"seconds": time.perf_counter() - start, "peak": 0}
        build: Build = next(build for build in bench.builds if build.name == what)
        seen = play(build, _script(bench), size, 1, bench.work)
        return {"seconds": seen.arrivals[0], "peak": seen.peak}

    names = [TORCH, *(build.name for build in bench.builds)]
    done = interleaved("fresh process", names, bench.scale.repeats, run, bench.deadline)
    return [
        {
            "what": what,
            "device": bench.device,
            "source": list(bench.scale.started),
            **{name: statistics.median(turn[name] for turn in turns) for name in ("seconds", "peak")},
        }
        for what, turns in done
    ]


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    (width, height), now = rows[0]["source"], value(rows, "seconds", what="now")
    device = rows[0].get("device", "cpu")
    body = [[row["what"], seconds(row["seconds"]), ratio(row["seconds"], now), gb(row["peak"])] for row in rows]
    return [
        f"`lite` on {'a CPU' if device == 'cpu' else device}, {width}x{height} to {width * 4}x{height * 4} in "
        "YUV 4:2:0: from the start of vspipe until its first frame has come. Medians.",
        "",
        *markdown_table(["", "time", "times now", "memory"], body),
    ]
