"""What a pair of frames costs, step by step, without VapourSynth."""

from __future__ import annotations

from typing import NamedTuple

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, Size, interleaved, least
from scripts.benchmark.layout import gb, milliseconds, ratio

TITLE = "A pair of frames, step by step"


class _Job(NamedTuple):
    """A pair that a model makes frames of."""

    model: str
    source: Size
    device: str
    build: str

    def __str__(self) -> str:
        return f"{self.model}, {self.source[0]}x{self.source[1]} on {self.device}, {self.build}"


def enlarged(source: Size, factor: int) -> Size:
    """A size so many times as large."""
    return source[0] * factor, source[1] * factor


def measure(bench: Bench) -> list[Row]:
    """A row for each step of each model, size, device and version; of the installed one with a profile."""
    sizes = {name: dict.fromkeys([bench.scale.pair]) for name in bench.models}
    sizes.get("lite", {})[bench.scale.large_pair] = None
    jobs = [
        _Job(model, source, device, build.name)
        for model in bench.models
        for source in sizes[model]
        for device in bench.devices
        for build in bench.builds
    ]
    rows = []
    with bench.workers() as workers:

        def ask(job: _Job, how: str) -> Row:
            answer: Row = workers[job.build].ask(
                "steps",
                how=how,
                model=bench.models[job.model],
                device=job.device,
                source=job.source,
                size=enlarged(job.source, 4),
            )
            return answer

        # One model and size after the other, so that a worker loads each once.
        for group in dict.fromkeys((job.model, job.source, job.device) for job in jobs):
            these = [job for job in jobs if job[:3] == group]
            counts = dict(interleaved("counting", these, 1, lambda job: ask(job, "counted")))  # which warms up as well
            times = interleaved("steps", counts, bench.scale.repeats, lambda job: ask(job, "timed"))
            for job, measured in times:
                profile = ask(job, "profiled") if job.build == "now" else {}
                for step, counted in counts[job][0].items():
                    row = least([turn[step] for turn in measured], "seconds", "cpu", "peak")
                    rows.append({**job._asdict(), "step": step, **row, **counted, **profile.get(step, {})})
    return [row | {"source": list(row["source"])} for row in rows]


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    text = [
        "The first frame of a pair includes what is kept for those that follow. Multiply-adds are those of "
        "convolutions and matrix products; launches are operations of PyTorch's, views and allocations left out, so "
        "what a library of the plugin's own computes is in neither. Memory is what the process had resident at most "
        "during the step.",
    ]
    for model, source, device in dict.fromkeys((r["model"], tuple(r["source"]), r["device"]) for r in rows):
        now, before = (
            {
                row["step"]: row
                for row in rows
                if (row["model"], tuple(row["source"]), row["device"], row["build"]) == (model, source, device, build)
            }
            for build in ("now", "before")
        )
        size = enlarged(source, 4)
        text += ["", f"**{model}**, {source[0]}x{source[1]} to {size[0]}x{size[1]}, {device}:", ""]
        body = []
        for step in now or before:
            new, old = now.get(step, {}), before.get(step, {})
            body.append(
                [
                    step,
                    _millions(new.get("multiply_adds")),
                    _millions(old.get("multiply_adds")),
                    str(new.get("launches", "–")),
                    str(old.get("launches", "–")),
                    milliseconds(new.get("seconds")),
                    milliseconds(old.get("seconds")),
                    ratio(old.get("seconds"), new.get("seconds")),
                    gb(new.get("peak")),
                    gb(old.get("peak")),
                ]
            )
        head = ["", "multiply-adds", "before", "launches", "before", "time", "before", "ratio", "memory", "before"]
        text += markdown_table(head, body)
        if profiles := [[step, _profile(row["profile"])] for step, row in now.items() if "profile" in row]:
            text += ["", "<details><summary>Where the time goes now</summary>", ""]
            text += [*markdown_table(["step", "operations and their shares of it"], profiles), "", "</details>"]
    return text


def _millions(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:,.0f} M"


def _profile(shares: list[tuple[str, float]]) -> str:
    return ", ".join(f"`{name}` {share:.0%}" for name, share in shares)
