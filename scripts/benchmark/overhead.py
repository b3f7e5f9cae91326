"""What the plugin itself costs: a network that only hands on frames, through vspipe."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from scripts import ROOT, markdown_table
from scripts.benchmark.bench import Bench, Row, Size, interleaved, least, value
from scripts.benchmark.layout import milliseconds
from scripts.benchmark.playback import LOADED, seconds_a_frame

TITLE = "What the plugin itself costs"

#: What a row says that is about memory alone.
COPY = "a copy"

#: Two pictures by turns, so that no frame repeats the one before; they are made before the clock starts.
_SCRIPT = """
import sys
sys.path.append({root!r})
from pathlib import Path
import vapoursynth as vs
core = vs.core
blank = core.std.BlankClip(width={width}, height={height}, format=vs.RGBS, fpsnum=24, length=1, keep=True)
matrix = {{}} if vs.{format} == vs.RGBS else {{"matrix": 1}}
pictures = [
    core.std.BlankClip(blank, color=[level] * 3, keep=True).resize.Bicubic(format=vs.{format}, **matrix)
    for level in (0.25, 0.5)
]
clip = core.std.Interleave([core.std.Loop(picture, {frames} // 4) for picture in pictures])
"""

_WITHOUT = """
made = clip if vs.{format} == vs.RGBS else clip.resize.Bicubic(format=vs.RGBS).resize.Bicubic(
    format=vs.{format}, matrix=1)
core.std.Interleave([clip, made]).set_output()
"""

_WITH = """
from scripts.benchmark.copying import register
out = core.videoinr.Upscale(clip, factor_num=2, sc=False, model=register(Path({work!r})), device="cpu")
out.set_output()
"""


class _Job(NamedTuple):
    """A script with or without the plugin."""

    format: str
    build: str  # "without" for the same without it

    def __str__(self) -> str:
        return f"{self.format} frames, {self.build}"


def script(bench: Bench, clip_format: str, *, plugin: bool) -> str:
    """A script that doubles the rate of a clip, by the plugin or with the format's conversions alone."""
    (width, height), frames = bench.scale.plain, bench.scale.plain_frames
    text = _SCRIPT + (_WITH + LOADED.replace("{", "{{").replace("}", "}}") if plugin else _WITHOUT)
    return text.format(
        root=str(ROOT), work=str(bench.work), format=clip_format, width=width, height=height, frames=frames
    )


def measure(bench: Bench) -> list[Row]:
    """A row for each format and version, and for the same frames without the plugin."""
    jobs = [
        _Job(kind, name)
        for kind in bench.scale.plain_formats
        for name in ("without", *(build.name for build in bench.builds))
    ]
    builds = {build.name: build for build in bench.builds}

    def run(job: _Job) -> Row:
        text = script(bench, job.format, plugin=job.build != "without")
        return {"seconds": seconds_a_frame(builds.get(job.build, bench.now), text, bench.work)}

    rows = [
        {**job._asdict(), "size": list(bench.scale.plain), **least(turns, "seconds")}
        for job, turns in interleaved("overhead", jobs, bench.scale.repeats, run)
    ]
    copy = {"format": "RGBS", "build": COPY, "size": list(bench.scale.plain), "seconds": copying(bench.scale.plain)}
    return [copy, *rows]


def copying(size: Size) -> float:
    """Seconds that it takes to copy a frame of three planes in single precision."""
    frame = np.ones((3, size[1], size[0]), np.float32)
    copied = frame.copy()
    times = []
    for _ in range(10):
        start = time.perf_counter()
        np.copyto(copied, frame)
        times.append(time.perf_counter() - start)
    return min(times)


def added(rows: list[Row], build: str, clip_format: str) -> float | None:
    """Seconds that a version of the plugin adds to a frame."""
    with_it, without = (value(rows, "seconds", build=name, format=clip_format) for name in (build, "without"))
    return None if with_it is None or without is None else with_it - without


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    width, height = rows[0]["size"]
    body = [
        [
            row["format"],
            row["build"],
            milliseconds(row["seconds"]),
            milliseconds(added(rows, row["build"], row["format"])) if row["build"] not in ("without", COPY) else "",
            f"{1 / max(row['seconds'], 1e-6):.4g}",
        ]
        for row in rows
    ]
    return [
        f"`Upscale(factor_num=2)` of {width}x{height} with a network that hands on the nearer frame as it is, made by "
        "the benchmark (`scripts/benchmark/copying.py`), on a CPU. Every other frame of the output is a source frame "
        "that passes. *without*: the same frames and conversions of format without the plugin. Times are what vspipe "
        "says of itself. *A copy*: a frame copied once by one thread, in memory that is in use already. Of each frame "
        "that it makes the plugin copies what goes to the network and what comes back, looks for values that are none, "
        "and gets memory from the system.",
        "",
        *markdown_table(["format", "plugin", "a frame", "added", "fps"], body),
    ]
