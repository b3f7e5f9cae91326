#!/usr/bin/env python3
"""Measure models and baselines against the truth: python scripts/evaluate.py CLIP.mp4 … --models lite.

Protocol: every `rate`-th frame of a clip is reduced by `size` (antialiased bicubic, 8 bit) and given to each method,
which returns all frames at full size; all run through VapourSynth. PSNR and SSIM are on Y (BT.601) after rounding to
8 bit; "flicker" is the mean difference, in grey levels, between the changes from frame to frame of the result and of
the truth. Prints a Markdown table with the machine and date; needs `pip install '.[evaluate]'`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import platform
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from training.baselines import BASELINES, Method, clip_of, frames_of, ours
from training.clips import Frames, cached, to_tensor
from training.metrics import luma, psnr, ssim
from training.sample import shrink

# Of every output frame: its place in the interval (0 is a source frame) and what was measured there.
Scores = list[tuple[float, dict[str, float]]]
PLACES = {"source": lambda t: t == 0, "middle": lambda t: t == 0.5, "between": lambda t: t > 0}


def reduced(frames: Frames, size: float) -> tuple[Frames, Frames]:
    """Low-resolution frames, and the part of the originals that is exactly `size` times as large."""
    height, width = (int(side / size) for side in frames.shape[1:3])
    frames = frames[:, : round(height * size), : round(width * size)]
    low = [shrink(to_tensor(f, torch.device("cpu"))[None], (height, width))[0] for f in frames]
    return np.stack([(f * 255).round().byte().permute(1, 2, 0).numpy() for f in low]), frames


def measure(method: Method, low: Frames, truth: Frames, rate: int) -> Scores:
    """Scores of all frames from the first source frame to the last."""
    last = (len(truth) - 1) // rate * rate
    result = method(clip_of(low[: last + 1 : rate]), truth.shape[2], truth.shape[1], rate)
    scores: Scores = []
    before: tuple[torch.Tensor, torch.Tensor] | None = None
    for n, frame in enumerate(itertools.islice(frames_of(result), last + 1)):
        out, aim = torch.from_numpy(frame)[None], to_tensor(truth[n], torch.device("cpu"))[None]
        y = luma(out), luma(aim)
        row = {"psnr": psnr(*y), "ssim": ssim(*y), "rgb": psnr(out, aim)}
        if before is not None:
            row["flicker"] = float(((y[0] - before[0]) - (y[1] - before[1])).abs().mean()) * 255
        before = y
        scores.append((n % rate / rate, row))
    return scores


def mean(scores: Scores, place: str, what: str) -> float:
    """Mean over the frames at a place of the interval."""
    values = [row[what] for t, row in scores if PLACES[place](t) and what in row]
    return statistics.fmean(values) if values else float("nan")


def main() -> None:
    """Run everything asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--models", nargs="*", default=["lite"], help="names or files")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES), choices=list(BASELINES))
    parser.add_argument("--sizes", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--rates", type=int, nargs="+", default=[2])
    parser.add_argument("--frames", type=int, default=33, help="at most so many frames of each clip")
    parser.add_argument("--cache", type=Path, default=Path("runs/frames"))
    arguments = parser.parse_args()
    methods = {name: BASELINES[name] for name in arguments.baselines} | {
        f"videoinr {Path(model).stem}": ours(model) for model in arguments.models
    }
    progress = Console(stderr=True)
    print(f"Measured {dt.datetime.now(dt.UTC).date()} on {platform.machine()}, torch {torch.__version__}.")
    for size, rate in itertools.product(arguments.sizes, arguments.rates):
        print(f"\n### {size:g}x size, {rate}x rate\n")
        print("| clip | method | source dB | between dB | middle dB | RGB between dB | SSIM between | flicker |")
        print("|---|---|---|---|---|---|---|---|")
        everything: defaultdict[str, Scores] = defaultdict(list)
        for path in track(arguments.clips, f"{size:g}x, {rate}x", console=progress):
            low, truth = reduced(cached(path, arguments.cache)[: arguments.frames], size)
            for name, method in methods.items():
                scores = measure(method, low, truth, rate)
                everything[name] += scores
                print_row(path.stem, name, scores)
        for name, scores in everything.items():
            print_row("**all**", name, scores)


def print_row(clip: str, name: str, scores: Scores) -> None:
    """One line of the table."""
    cells = [
        f"{mean(scores, 'source', 'psnr'):.2f}",
        f"{mean(scores, 'between', 'psnr'):.2f}",
        f"{mean(scores, 'middle', 'psnr'):.2f}",
        f"{mean(scores, 'between', 'rgb'):.2f}",
        f"{mean(scores, 'between', 'ssim'):.4f}",
        f"{mean(scores, 'between', 'flicker'):.2f}",
    ]
    print(f"| {clip} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
