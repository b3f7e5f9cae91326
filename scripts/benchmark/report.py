"""docs/BENCHMARKS.md, and what it is written from: the rows of every section, kept in a file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from scripts import ROOT, markdown_table
from scripts.benchmark import end_to_end, growth, large_frame, literal, overhead, plots, startup, steps
from scripts.benchmark.bench import Bench, Row
from scripts.benchmark.builds import UNKNOWN
from scripts.benchmark.goals import goals
from scripts.evaluation import scores
from scripts.reliability.report import machine

#: The sections by their names, in the report's order; each has TITLE, `measure` and `lines`.
SECTIONS: dict[str, Any] = {
    "end_to_end": end_to_end,
    "steps": steps,
    "growth": growth,
    "startup": startup,
    "large_frame": large_frame,
    "overhead": overhead,
    "literal": literal,
}

#: Those that are measured on a GPU, and where what was measured there lies, below the report's folder.
GPU_SECTIONS = ("end_to_end", "steps", "startup")
GPU_RESULTS = Path("benchmarks", "gpu.json")

PAGE = "BENCHMARKS.md"
SCORES = "docs/evaluation/scores.json"

INTRODUCTION = """\
# What a frame costs

Written by `python -m scripts.benchmark`, which needs `pip install '.[benchmark]'`, Linux, and two cores that do nothing
else. Every section is one run: *now* is the plugin of this checkout, *before* the commit with which the work on speed
began, built as a wheel; they and what users have today are measured by turns, and the least of each counts unless the
section says otherwise. Ratios are *before* divided by *now*: above 1 is better now. They say more than times: the cores
of a virtual machine can be half as quick a minute later. What a GPU does was measured by `bash scripts/gpu/measure.sh`,
and is in `benchmarks/gpu.json`.
"""


def store(file: Path, name: str, bench: Bench, rows: list[Row]) -> None:
    """Keep the rows of a section, in the place of those measured before."""
    kept = load(file)
    builds = {build.name: build.commit for build in bench.builds}
    about = {"machine": machine(), "builds": builds, "device": bench.device, "quick": bench.quick}
    kept[name] = {**about, "rows": rows}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def load(file: Path) -> dict[str, Any]:
    """What was kept of every section; nothing where there is no file yet."""
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {name: kept[name] for name in SECTIONS if name in kept and kept[name]["rows"]}


def _scores_before(commit: str, work: Path) -> list[scores.Entry]:
    """The scores in docs/EVALUATION.md of a commit; none where git does not have them."""
    done = subprocess.run(["git", "show", f"{commit}:{SCORES}"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        return []
    file = work / "scores_before.json"
    file.write_bytes(done.stdout)
    return scores.load(file)


def _goals(kept: dict[str, Any], work: Path) -> list[str]:
    before = next((section["builds"]["before"] for section in kept.values() if "before" in section["builds"]), None)
    wanted = goals(
        {name: section["rows"] for name, section in kept.items() if not section["quick"]},
        scores.load(ROOT / SCORES),
        _scores_before(before, work) if before else [],
    )
    head = ["", "wanted", "before", "now", "ratio", ""]
    return [
        "## Goals",
        "",
        "In the rows on the published network, *before* is the literal order of work. What takes the time where a goal "
        "is missed is in the section that the row comes from.",
        "",
        *markdown_table(head, [[g.text, g.wanted, g.before, g.now, g.ratio, g.verdict] for g in wanted]),
    ]


def _section(name: str, kept: dict[str, Any], title: str) -> list[str]:
    """A section of the report."""
    versions = ", ".join(f"{build} {commit}" for build, commit in kept["builds"].items() if commit != UNKNOWN)
    about = "; ".join(filter(None, (kept["machine"], versions)))
    return ["", f"## {title}", "", f"({about})", "", *SECTIONS[name].lines(kept["rows"])]


def write(file: Path, docs: Path, work: Path) -> None:
    """Write the report and its picture into a folder, from what was kept in a file, and of a GPU in that folder."""
    kept = load(file)
    if not kept:
        raise SystemExit(f"nothing has been measured yet: {file} is missing")
    text = [INTRODUCTION, *_goals(kept, work)]
    if any(section["quick"] for section in kept.values()):
        text += [
            "",
            "Measured with `--quick`, which shows that it runs: its numbers say nothing, and no goal is about them.",
        ]
    gpu = load(docs / GPU_RESULTS)
    if not gpu:
        text += ["", "Not measured on a GPU: nothing is in `benchmarks/gpu.json`."]
    for name in kept:
        text += _section(name, kept[name], SECTIONS[name].TITLE)
    if "growth" in kept:
        plots.growth(kept["growth"]["rows"], docs / growth.PICTURE)
    for name in gpu:
        title = SECTIONS[name].TITLE
        text += _section(name, gpu[name], f"On a GPU: {title[0].lower()}{title[1:]}")
    docs.mkdir(parents=True, exist_ok=True)
    (docs / PAGE).write_text("\n".join(text) + "\n", encoding="utf-8")
