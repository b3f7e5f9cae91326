"""How models enlarge bars and borders: python -m scripts.measure_bars ../shared/data/val/*.mp4 [--models lite ...].

Pieces of the clips' first frames get a black bar below, or at their right, are reduced to a quarter and enlarged again,
each by itself. Prints a Markdown table of PSNR on Y in dB, of the pixels near the edges on both sides, with machine and
date. A second one is of those frames whole, as they are: of the pixels along each side, means over clips.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from scripts import command, measured
from scripts.data.degradation import quantise, reduce_bicubic
from scripts.data.video import CACHE, cached, to_tensor
from scripts.evaluation.metrics import decibels, luma, squared_error
from vs_videoinr.networks.base import Network
from vs_videoinr.networks.sampling import resize_bicubic
from vs_videoinr.weights import library

SIDE_PX, SCALE = 240, 4  # of the pieces, full-size pixels, and by how much they are reduced
BAR_WIDTHS_PX = (2, 3, 4, 5, 6, 15, 16, 17)  # full-size pixels
NEAR_PX = 12  # full-size pixels
BORDER_PX = 8  # full-size pixels


def enlarger(net: Network) -> Callable[[Tensor], Tensor]:
    """What makes a single frame (1, 3, h, w) SCALE times as large."""
    return lambda low: net.encode(low, low).sample(0.0, (SCALE * low.shape[-2], SCALE * low.shape[-1]))


def errors_of(enlarge: Callable[[Tensor], Tensor], truth: Tensor) -> Tensor:
    """Squared errors on Y (1, 1, H, W), after rounding to 8 bit, of `truth` reduced and enlarged again."""
    low = reduce_bicubic(truth, (truth.shape[-2] // SCALE, truth.shape[-1] // SCALE))
    return squared_error(luma(quantise(enlarge(low))), luma(truth))


def score(enlarge: Callable[[Tensor], Tensor], pieces: list[Tensor], bar: int) -> float:
    """PSNR around the edges of bars, over all `pieces` (1, 3, SIDE_PX, SIDE_PX) and both of their places."""
    edge = slice(SIDE_PX - bar - NEAR_PX, SIDE_PX - max(0, bar - NEAR_PX))
    errors = []
    for piece in pieces:
        truth = piece.clone()
        truth[..., SIDE_PX - bar :, :] = 0
        below, right = errors_of(enlarge, truth), errors_of(enlarge, truth.mT.contiguous()).mT
        errors += [error[..., edge, NEAR_PX:-NEAR_PX].mean() for error in (below, right)]
    return decibels(torch.stack(errors).mean())


def borders(enlarge: Callable[[Tensor], Tensor], frames: list[Tensor]) -> list[float]:
    """Means over `frames` (1, 3, h, w) of PSNR along borders, above, below, left and right, and everywhere."""
    found = []
    for frame in frames:
        error = errors_of(enlarge, frame)
        along = error[..., :BORDER_PX, :], error[..., -BORDER_PX:, :], error[..., :BORDER_PX], error[..., -BORDER_PX:]
        found.append([decibels(part.mean()) for part in (*along, error)])
    return [statistics.fmean(values) for values in zip(*found, strict=True)]


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = command("measure_bars", __doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", default=["lite"], help="names or paths (default: lite)")
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    pieces, frames = [], []
    for path in sorted(arguments.clips):
        frame = to_tensor(cached(path, arguments.cache)[0])[None]
        frames.append(frame[..., : frame.shape[-2] // SCALE * SCALE, : frame.shape[-1] // SCALE * SCALE])
        pieces += [frame[..., :SIDE_PX, left : left + SIDE_PX].contiguous() for left in (0, frame.shape[-1] - SIDE_PX)]
    methods: dict[str, Callable[[Tensor], Tensor]] = {
        "bicubic": lambda low: resize_bicubic(low, (SCALE * low.shape[-2], SCALE * low.shape[-1]))
    }
    methods |= {f"`{Path(model).stem}`": enlarger(library.load(model)) for model in arguments.models}
    print(f"{measured()}\n")
    print("| bar, full-size pixels |", *(f"{bar} |" for bar in BAR_WIDTHS_PX))
    print("|---|" + "---|" * len(BAR_WIDTHS_PX))
    for name, enlarge in methods.items():
        print(f"| {name} |", *(f"{score(enlarge, pieces, bar):.1f} |" for bar in BAR_WIDTHS_PX), flush=True)
    print("\n| borders | above | below | left | right | everywhere |\n|---|---|---|---|---|---|")
    for name, enlarge in methods.items():
        print(f"| {name} |", *(f"{found:.2f} |" for found in borders(enlarge, frames)), flush=True)


if __name__ == "__main__":
    main()
