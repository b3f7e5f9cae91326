"""A quick fixed look at the validation clips while training runs: 2x size, 2x rate, the middle of each picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.data.degradation import reduce_bicubic
from scripts.data.video import cached, to_tensor
from scripts.evaluation.metrics import luma, psnr
from vs_videoinr.networks.base import Network

MAX_SIDE_PX = 320  # of what is looked at
STARTS = (0, 14, 28)  # of the triples, frames from a clip's beginning


@dataclass(frozen=True)
class Triple:
    """Three frames (1, 3, H, W) that follow one another, the first and the last of which a network is shown.

    `before` and `after` are two frames away from these; None where they are not to be known.
    """

    first: Tensor
    middle: Tensor
    last: Tensor
    before: Tensor | None
    after: Tensor | None


class Probe:
    """Frame triples of some clips, and what they measure of a network."""

    def __init__(
        self, files: list[Path], cache: Path, device: torch.device, visible: float = 1, neighbours: bool = False
    ) -> None:
        """Cut the triples out of clips.

        Args:
            files: The clips, of at least three frames.
            cache: Folder of decoded clips.
            device: Where to keep the triples.
            visible: Share of every last frame that is left before black, to which its triple fades evenly.
            neighbours: Whether the pairs before and after a triple's are shown as well, as far as the clip has them.
        """
        self.triples = []
        for path in files:
            frames = cached(path, cache)
            height, width = (min(MAX_SIDE_PX, side) // 2 * 2 for side in frames.shape[1:3])
            top, left = (frames.shape[1] - height) // 2, (frames.shape[2] - width) // 2
            window = (slice(top, top + height), slice(left, left + width))
            for start in (start for start in STARTS if start + 3 <= len(frames)):
                first, middle, last = (
                    to_tensor(frames[start + n][window], device)[None] * (1 + (visible - 1) * n / 2) for n in range(3)
                )
                before, after = (
                    to_tensor(frames[n][window], device)[None] if neighbours and 0 <= n < len(frames) else None
                    for n in (start - 2, start + 4)
                )
                self.triples.append(Triple(first, middle, last, before, after))
        if not self.triples:
            raise SystemExit("there are no validation clips (*.mp4) of at least three frames")
        self.blended = self._blended()

    def _blended(self) -> tuple[float, float]:
        """PSNR on Y in dB of bicubic enlargements: their blend half-way, and the first frames."""
        between, source = [], []
        for triple in self.triples:
            size = triple.first.shape[-2:]
            first, last = (
                F.interpolate(reduced(frame), size=size, mode="bicubic", align_corners=False)
                for frame in (triple.first, triple.last)
            )
            between.append(psnr(luma((first + last).clamp(0, 2) / 2), luma(triple.middle)))
            source.append(psnr(luma(first.clamp(0, 1)), luma(triple.first)))
        return sum(between) / len(between), sum(source) / len(source)

    @torch.no_grad()
    def __call__(self, net: Network) -> tuple[float, float]:
        """Mean PSNR on Y in dB of the middle frames and of the first frames."""
        between, source = [], []
        for triple in self.triples:
            first, last = reduced(triple.first), reduced(triple.last)
            field = net.encode(first, last).with_neighbours(
                None if triple.before is None else net.encode(reduced(triple.before), first).pair_motion,
                None if triple.after is None else net.encode(last, reduced(triple.after)).pair_motion,
            )
            size = (triple.first.shape[-2], triple.first.shape[-1])
            between.append(psnr(luma(field.sample(0.5, size).clamp(0, 1)), luma(triple.middle)))
            source.append(psnr(luma(field.sample(0, size).clamp(0, 1)), luma(triple.first)))
        return sum(between) / len(between), sum(source) / len(source)


def reduced(frame: Tensor) -> Tensor:
    """A frame as the network gets it: at half its size, 8 bit."""
    return reduce_bicubic(frame, (frame.shape[-2] // 2, frame.shape[-1] // 2))
