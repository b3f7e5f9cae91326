"""How sharp frames between others are: python -m scripts.measure_sharpness ../shared/data/val/*.mp4 [--models ...].

Every second frame of a clip is given to a model. Prints a Markdown table, with machine and date: the energy of the
Laplacian of Y in frames half-way as a share of what the frames before and after them have on average, as the model
makes them, means over the first PAIRS pairs of each clip; the same of the clip itself; and PSNR on Y in dB of the
frames half-way. At 1x size this is of the middle SIDE_PX pixels of the frames, at 4x of whole ones, reduced by 4.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts import command, measured
from scripts.data.degradation import reduce_bicubic
from scripts.data.video import CACHE, cached, to_tensor
from scripts.evaluation.metrics import luma, psnr
from vs_videoinr import load
from vs_videoinr.networks.base import Network

PAIRS = 4
SCALES = (1, 4)
SIDE_PX = 400


def frames_of(path: Path, cache: Path, scale: int) -> list[Tensor]:
    """Frames (1, 3, h, w) of a clip, as many as are looked at, of a size that `scale` divides."""
    frames = []
    for frame in cached(path, cache)[: 2 * PAIRS + 3]:
        picture = to_tensor(frame, torch.device("cpu"))[None]
        height, width = (min(side, SIDE_PX) if scale == 1 else side // scale * scale for side in picture.shape[-2:])
        top, left = ((whole - part) // 2 for whole, part in zip(picture.shape[-2:], (height, width), strict=True))
        frames.append(picture[..., top : top + height, left : left + width])
    return frames


def made(net: Network, truth: list[Tensor], scale: int) -> Iterator[list[Tensor]]:
    """What a model makes of each of the first pairs, at the times of its frames and half-way: three pictures."""
    size = truth[0].shape[-2], truth[0].shape[-1]
    low = [reduce_bicubic(frame, (size[0] // scale, size[1] // scale)) for frame in truth[::2]]
    motions = [net.encode(*pair).pair_motion for pair in itertools.pairwise(low)]
    for n in range(PAIRS):
        field = net.encode(low[n], low[n + 1]).with_neighbours(motions[n - 1] if n > 0 else None, motions[n + 1])
        yield [field.sample(t, size).clamp(0, 1) for t in (0.0, 0.5, 1.0)]


def energy(picture: Tensor) -> float:
    """Mean square of the Laplacian of Y, but for the border."""
    kernel = picture.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return float(F.conv2d(luma(picture), kernel).square().mean())


def share(first: Tensor, between: Tensor, last: Tensor) -> float:
    """Energy between two frames as a share of theirs."""
    return 2 * energy(between) / (energy(first) + energy(last))


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = command("measure_sharpness", __doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", default=["lite"], help="names or paths (default: lite)")
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    models = {f"`{Path(model).stem}`": load(model) for model in arguments.models}
    print(f"{measured()}\n")
    print("| clip | size | the clip |", *(f"{name} | PSNR |" for name in models))
    print("|---|---|---|" + "---|---|" * len(models))
    for path in sorted(arguments.clips):
        for scale in SCALES:
            truth = frames_of(path, arguments.cache, scale)
            true = statistics.fmean(share(*truth[2 * k : 2 * k + 3]) for k in range(PAIRS))
            print(f"| {path.stem} | {scale}x | {true:.3f} |", end="")
            for net in models.values():
                pictures = list(made(net, truth, scale))
                kept = statistics.fmean(share(*three) for three in pictures)
                right = statistics.fmean(
                    psnr(luma(three[1]), luma(truth[2 * n + 1])) for n, three in enumerate(pictures)
                )
                print(f" {kept:.3f} | {right:.2f} |", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
