"""The residual detail of a frame, from the frame itself and the ones before and after it: the light way.

Between its pixels a frame has lost what its neighbours may have caught, if they lie there by fractions of a pixel. So a
neighbour is not interpolated: each place takes the features of the neighbour's pixel that is nearest to where motion
leads, and is told how far from the pixel's centre that is (the phase), by which it can weight them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks.sampling import pixel_grid, sample_nearest, warp
from vs_videoinr.networks.warpinr.blocks import COLOUR_GAIN, FLOW, LEAKY_SLOPE, RGB, ResidualBlock, init_near_zero
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE

#: A way there and back that ends farther off tells no more than that it is lost.
ROUND_TRIP_LIMIT_PX = 4.0

#: Products of powers of x and y that `_phase_terms` returns.
PHASE_TERMS = 8

#: What is known of a neighbour beside its features: error and its size, phase, round trip and its length.
CLUES = 2 * RGB + FLOW + FLOW + 1


@dataclass(frozen=True)
class FrameDetailConfig:
    """Sizes of a `FrameDetail`.

    Attributes:
        width: Channels of all feature maps.
        blocks: Residual blocks.
    """

    width: int = 32
    blocks: int = 4


def _phase_terms(phase: Tensor) -> Tensor:
    """Products of powers up to the square of a phase (B, 2, h, w), -1 to 1: (B, PHASE_TERMS, h, w)."""
    x, y = phase.chunk(2, 1)
    xx, yy = x.square(), y.square()
    return torch.cat((x, y, xx, yy, x * y, xx * y, x * yy, xx * yy), 1)


class FrameDetail(nn.Module):
    """A frame and its neighbours → its residual detail."""

    def __init__(self, config: FrameDetailConfig) -> None:
        super().__init__()
        width = config.width
        self.first = nn.Conv2d(RGB, width, 3, padding=1)
        self.own = nn.Conv2d(width, width, 3, padding=1)
        self.compared = nn.Conv2d(width, width, 1, bias=False)  # with what neighbours show
        self.phase = nn.Conv2d(PHASE_TERMS, width, 1)
        self.neighbour = nn.Conv2d(2 * width + CLUES, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(config.blocks)))
        self.out = nn.Conv2d(width, RGB * DETAIL_SCALE**2, 3, padding=1)
        init_near_zero(self.out)

    def forward(self, frame: Tensor, neighbours: list[Neighbour]) -> Tensor:
        """Return what a frame (B, 3, h, w) has in addition to its bicubic enlargement.

        Neighbours are nothing but added up: their order does not matter, and one that is not informative tells nothing.

        Returns:
            float32 (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w).
        """
        own = F.leaky_relu(self.own(self._features(frame)), LEAKY_SLOPE)
        compared = self.compared(own)
        x = own
        for one in neighbours:
            x = x + self._seen(frame, compared, one)
        return F.pixel_shuffle(self.out(self.trunk(x)).float(), DETAIL_SCALE)

    def _features(self, frame: Tensor) -> Tensor:
        frame = (frame - 0.5).contiguous(memory_format=torch.channels_last)
        return F.leaky_relu(self.first(frame), LEAKY_SLOPE)

    def _seen(self, frame: Tensor, compared: Tensor, neighbour: Neighbour) -> Tensor:
        """What a neighbour adds to a frame's features, (B, width, h, w)."""
        height, width = frame.shape[-2:]
        flow = neighbour.flow_to
        features, phase = sample_nearest(self._features(neighbour.frame), pixel_grid(height, width, flow) + flow)
        phase = phase * 2
        error = (warp(neighbour.frame, flow, "bicubic") - frame).float() * COLOUR_GAIN
        round_trip = (flow + warp(neighbour.flow_from, flow)).clamp(-ROUND_TRIP_LIMIT_PX, ROUND_TRIP_LIMIT_PX)
        lost = (round_trip.square().sum(1, keepdim=True) + 1e-12).sqrt()  # of nothing, too, there is a gradient
        clues = torch.cat((error, error.abs(), phase, round_trip, lost), 1)
        weighted = features * self.phase(_phase_terms(phase).to(features.dtype))
        seen = self.neighbour(torch.cat((features, weighted, clues.to(features.dtype)), 1)) + compared
        return F.leaky_relu(seen, LEAKY_SLOPE) * neighbour.informative.to(seen.dtype)
