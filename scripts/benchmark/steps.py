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
    factor: int  # output size / source size
    device: str
    build: str

    def __str__(self) -> str:
        return f"{self.model}, {self.source[0]}x{self.source[1]} at {self.factor}x on {self.device}, {self.build}"


def enlarged(source: Size, factor: int) -> Size:
    """A size so many times as large."""
    return source[0] * factor, source[1] * factor


def measure(bench: Bench) -> list[Row]:
    """A row for each step of each model, size, device and version; of the installed one with a profile."""
    sizes = {name: [(bench.scale.pair, 4), *bench.scale.larger] for name in bench.models}
    if bench.scale.large_pair is not None:
        sizes["lite"] += [(bench.scale.large_pair, factor) for factor in (4, 1)]
    jobs = [
        _Job(model, source, factor, bench.device, build.name)
        for model in bench.models
        for source, factor in sizes[model]
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
                size=enlarged(job.source, job.factor),
            )
            return answer

        # One model and size after the other, so that a worker loads each once.
        for group in dict.fromkeys(job[:4] for job in jobs):
            these = [job for job in jobs if job[:4] == group]
            if bench.on_gpu:  # where kernels are made and tried the first time, which is not to be counted
                warm = interleaved("warming up", these, 1, lambda job: ask(job, "timed"), bench.deadline)
                these = [job for job, _ in warm]
            # This warms up as well.
            counts = dict(interleaved("counting", these, 1, lambda job: ask(job, "counted"), bench.deadline))
            times = interleaved("steps", counts, bench.scale.repeats, lambda job: ask(job, "timed"), bench.deadline)
            for job, measured in times:
                profile = ask(job, "profiled") if job.build == "now" else {}
                for step, counted in counts[job][0].items():
                    row = least([turn[step] for turn in measured], "seconds", "cpu", "peak")
                    threads = workers[job.build].about["threads"]
                    rows.append(
                        {**job._asdict(), "threads": threads, "step": step, **row, **counted, **profile.get(step, {})}
                    )
    return [row | {"source": list(row["source"])} for row in rows]


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    text = [
        "The first frame of a pair includes what is kept for those that follow. Multiply-adds are those of "
        "convolutions and matrix products; launches are operations of PyTorch's, views and allocations left out, so "
        "what a library of the plugin's own computes is in neither. *A pixel* is one of the source. Memory is "
        + (
            "what was allocated on the GPU at most during the step. The GPU is *busy* while one of the *kernels* runs "
            "that PyTorch's profiler has seen there; both are of another run than the time, which is the least of some."
            if rows[0]["device"] != "cpu"
            else f"what the process had resident at most during the step. PyTorch used {rows[0]['threads']} thread(s)."
        ),
    ]
    for case in dict.fromkeys(_case(row) for row in rows):
        now, before = (
            {row["step"]: row for row in rows if (_case(row), row["build"]) == (case, build)}
            for build in ("now", "before")
        )
        model, source, factor, device = case
        size, pixels = enlarged(source, factor), source[0] * source[1]
        text += ["", f"**{model}**, {source[0]}x{source[1]} to {size[0]}x{size[1]}, {device}:", ""]
        body = []
        for step in now or before:
            new, old = now.get(step, {}), before.get(step, {})
            body.append(
                [
                    step,
                    _work(new.get("multiply_adds"), pixels),
                    _work(old.get("multiply_adds"), pixels),
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
        if device != "cpu":  # where there is no version before
            head = ["", "multiply-adds", "launches", "kernels", "time", "GPU busy", "memory"]
            body = [
                [
                    step,
                    _work(row["multiply_adds"], pixels),
                    str(row["launches"]),
                    str(row.get("kernels", "–")),
                    milliseconds(row["seconds"]),
                    milliseconds(row.get("busy")),
                    gb(row["peak"]),
                ]
                for step, row in now.items()
            ]
        text += markdown_table(head, body)
        if profiles := [[step, _profile(row["profile"])] for step, row in now.items() if "profile" in row]:
            text += ["", "<details><summary>Where the time goes now</summary>", ""]
            text += [*markdown_table(["step", "operations and their shares of it"], profiles), "", "</details>"]
    return text


def _case(row: Row) -> tuple[str, Size, int, str]:
    """What is in one table."""
    return row["model"], (row["source"][0], row["source"][1]), row["factor"], row["device"]


def _work(count: int | None, pixels: int) -> str:
    """Multiply-adds, and how many of them for a pixel of the source."""
    return "–" if count is None else f"{count / 1e9:.3g} G, {count / pixels / 1e3:,.0f} k a pixel"


def _profile(shares: list[tuple[str, float]]) -> str:
    return ", ".join(f"`{name}` {share:.0%}" for name, share in shares)
