#!/usr/bin/env python3
"""How models enlarge bars and borders: python scripts/measure_bars.py ../shared/data/val/*.mp4 [--models lite ...].

Pieces of the clips' first frames get a black bar below, or at their right, are reduced to a quarter and enlarged again,
each by itself. Prints a Markdown table of PSNR on Y in dB, of the NEAR pixels on both sides of the edges, with machine
and date. A second one is of those frames whole, as they are: of the BORDER pixels along each side, means over clips.
"""

from __future__ import annotations

import argparse
import datetime as dt
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from training.clips import cached, to_tensor
from training.metrics import luma
from training.sample import shrink

from vs_videoinr import weights
from vs_videoinr.model.base import Network
from vs_videoinr.model.sampling import resize

SIDE, SCALE = 240, 4  # of the pieces, full-size pixels, and by how much they are reduced
BARS = (2, 3, 4, 5, 6, 15, 16, 17)  # full-size pixels
NEAR = 12  # full-size pixels
BORDER = 8  # full-size pixels


def enlarger(net: Network) -> Callable[[Tensor], Tensor]:
    """What makes a single frame (1, 3, h, w) SCALE times as large."""
    return lambda low: net.encode(low, low).sample(0.0, (SCALE * low.shape[-2], SCALE * low.shape[-1]))


def error(made: Tensor, truth: Tensor) -> Tensor:
    """Squared, on Y, after rounding to 8 bit."""
    return (luma((made.clamp(0, 1) * 255).round() / 255) - luma(truth)).square()


def score(enlarge: Callable[[Tensor], Tensor], pieces: list[Tensor], bar: int) -> float:
    """PSNR around the edges of bars, over all `pieces` (1, 3, SIDE, SIDE) and both of their places."""
    errors = []
    for piece in pieces:
        truth = piece.clone()
        truth[..., SIDE - bar :, :] = 0
        made = enlarge(shrink(truth, (SIDE // SCALE,) * 2))
        upright = enlarge(shrink(truth.mT.contiguous(), (SIDE // SCALE,) * 2)).mT
        edge = slice(SIDE - bar - NEAR, SIDE - max(0, bar - NEAR))
        errors += [error(one, truth)[..., edge, NEAR:-NEAR].mean() for one in (made, upright)]
    return float(-10 * torch.stack(errors).mean().log10())


def borders(enlarge: Callable[[Tensor], Tensor], frames: list[Tensor]) -> list[float]:
    """Means over `frames` (1, 3, h, w) of PSNR along borders, above, below, left and right, and everywhere."""
    found = []
    for frame in frames:
        miss = error(enlarge(shrink(frame, (frame.shape[-2] // SCALE, frame.shape[-1] // SCALE))), frame)
        along = miss[..., :BORDER, :], miss[..., -BORDER:, :], miss[..., :BORDER], miss[..., -BORDER:], miss
        found.append(torch.stack([-10 * part.mean().log10() for part in along]))
    return torch.stack(found).mean(0).tolist()


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", default=["lite"], help="names or paths (default: lite)")
    parser.add_argument("--cache", type=Path, default=Path("runs/frames"))
    arguments = parser.parse_args()
    pieces, frames = [], []
    for path in sorted(arguments.clips):
        frame = to_tensor(cached(path, arguments.cache)[0], torch.device("cpu"))[None]
        frames.append(frame[..., : frame.shape[-2] // SCALE * SCALE, : frame.shape[-1] // SCALE * SCALE])
        pieces += [frame[..., :SIDE, left : left + SIDE].contiguous() for left in (0, frame.shape[-1] - SIDE)]
    methods: dict[str, Callable[[Tensor], Tensor]] = {
        "bicubic": lambda low: resize(low, (SCALE * low.shape[-2], SCALE * low.shape[-1]))
    }
    methods |= {f"`{Path(model).stem}`": enlarger(weights.load(model)) for model in arguments.models}
    print(f"Measured {dt.datetime.now(dt.UTC).date()} on {platform.machine()}.\n")
    print("| bar, full-size pixels |", *(f"{bar} |" for bar in BARS))
    print("|---|" + "---|" * len(BARS))
    for name, enlarge in methods.items():
        print(f"| {name} |", *(f"{score(enlarge, pieces, bar):.1f} |" for bar in BARS), flush=True)
    print("\n| borders | above | below | left | right | everywhere |\n|---|---|---|---|---|---|")
    for name, enlarge in methods.items():
        print(f"| {name} |", *(f"{found:.2f} |" for found in borders(enlarge, frames)), flush=True)


if __name__ == "__main__":
    main()
