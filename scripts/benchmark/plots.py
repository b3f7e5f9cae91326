"""The picture of the report."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from scripts.benchmark.bench import Row
from scripts.benchmark.growth import KINDS


def growth(rows: list[Row], file: Path) -> None:
    """Draw seconds over size, rate and number of pairs: a panel each, from zero."""
    with mpl.rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(8, 2.4), dpi=110, layout="constrained")
        for panel, (kind, name) in zip(figure.subplots(1, len(KINDS)), KINDS.items(), strict=True):
            points = sorted((row["x"], row["seconds"]) for row in rows if row["kind"] == kind)
            panel.plot(*zip(*points, strict=True), marker=".")
            panel.set_xlim(left=0)
            panel.set_ylim(bottom=0)
            panel.set_xlabel(name)
            panel.set_ylabel("seconds")
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
