"""A quick fixed look at the validation clips while training runs: 2x size, 2x rate, the middle of each picture."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.data.batch import shrink
from scripts.data.clips import cached, to_tensor
from scripts.evaluation.metrics import luma, psnr
from vs_videoinr.model.base import Network

SIDE = 320


class Probe:
    """Some frame triples; PSNR on Y of the middle frame and of the first, against bicubic enlargement and blending."""

    def __init__(
        self, files: list[Path], cache: Path, device: torch.device, left: float = 1, around: bool = False
    ) -> None:
        """`left`: the share of every last frame that is left before black, to which its triple fades evenly.

        `around`: the pairs before and after a triple's are seen as well, as far as the clip has them.
        """
        self.triples: list[tuple[Tensor, Tensor, Tensor]] = []
        self.around: list[tuple[Tensor | None, Tensor | None]] = []
        for path in files:
            frames = cached(path, cache)
            height, width = (min(SIDE, side) // 2 * 2 for side in frames.shape[1:3])
            top, side = (frames.shape[1] - height) // 2, (frames.shape[2] - width) // 2
            for start in (0, 14, 28):
                window = (slice(top, top + height), slice(side, side + width))
                a, m, b = (
                    to_tensor(frames[start + i][window], device)[None] * (1 + (left - 1) * i / 2) for i in range(3)
                )
                self.triples.append((a, m, b))
                before, after = (
                    to_tensor(frames[n][window], device)[None] if around and 0 <= n < len(frames) else None
                    for n in (start - 2, start + 4)
                )
                self.around.append((before, after))
        middle, source = [], []
        for a, m, b in self.triples:
            up = [F.interpolate(self.low(f), size=a.shape[-2:], mode="bicubic", align_corners=False) for f in (a, b)]
            middle.append(psnr(luma((up[0] + up[1]).clamp(0, 2) / 2), luma(m)))
            source.append(psnr(luma(up[0].clamp(0, 1)), luma(a)))
        self.blend = sum(middle) / len(middle), sum(source) / len(source)

    @staticmethod
    def low(frame: Tensor) -> Tensor:
        """A frame as the network gets it: at half its size, 8 bit."""
        return shrink(frame, (frame.shape[-2] // 2, frame.shape[-1] // 2))

    @torch.no_grad()
    def __call__(self, net: Network) -> tuple[float, float]:
        """Mean PSNR in dB of the middle frames and of the first frames."""
        middle, source = [], []
        for (a, m, b), (before, after) in zip(self.triples, self.around, strict=True):
            field = net.encode(self.low(a), self.low(b)).among(
                None if before is None else net.flows(self.low(before), self.low(a)),
                None if after is None else net.flows(self.low(b), self.low(after)),
            )
            middle.append(psnr(luma(field.sample(0.5, (m.shape[-2], m.shape[-1])).clamp(0, 1)), luma(m)))
            source.append(psnr(luma(field.sample(0, (a.shape[-2], a.shape[-1])).clamp(0, 1)), luma(a)))
        return sum(middle) / len(middle), sum(source) / len(source)
