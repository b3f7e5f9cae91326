"""The residual detail of a frame, from the frame itself and the ones before and after it: the thorough way.

A trunk looks at the frame and one of its neighbours, and back-projection brings in what both neighbours show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.back_projection import BackProjection
from vs_videoinr.networks.warpinr.blocks import COLOUR_GAIN, FLOW, FLOW_SCALE_PX, LEAKY_SLOPE, PHASE, RGB, ResidualBlock
from vs_videoinr.networks.warpinr.clues import ROUND_TRIP_LIMIT_PX
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE, ResidualDetail
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform, transform_back

#: Gives features at full size of both frames of a pair (2B, 3, h, w), and the flow estimator's state at half size of
#: the first one.
Encoder = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TrunkDetailConfig:
    """Sizes of a `TrunkDetail`, and how it is used.

    Attributes:
        width: Channels of the feature maps.
        blocks: Residual blocks of the trunk.
        patterns: That residual detail is mixed from.
        rounds: Of back-projection.
        self_ensemble: Whether detail is the mean over eight ways to look at frames; not while training.
    """

    width: int = 64
    blocks: int = 8
    patterns: int = 24
    rounds: int = 3
    self_ensemble: bool = False


class TrunkDetail(nn.Module):
    """A frame and its neighbours → its residual detail."""

    def __init__(self, config: TrunkDetailConfig, features: int, hidden: int) -> None:
        """For `features` channels of the pyramid at full size, and a flow estimator with `hidden` channels of state."""
        super().__init__()
        self.config = config
        # both frames' features, the estimator's state, the frame, its error, flow, round trip and phase
        inputs = 2 * features + hidden + RGB + RGB + FLOW + FLOW + PHASE
        self.fuse = nn.Conv2d(inputs, config.width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.predict = ResidualDetail(config.width, config.patterns)
        self.backprojection = BackProjection(config.width, config.rounds, config.patterns)

    @property
    def numbers(self) -> int:
        """Numbers that a pixel takes while its detail is made: in a block, and detail at every stage of a round."""
        return 4 * self.config.width + 3 * RGB * DETAIL_SCALE**2

    def forward(
        self, frame: Tensor, neighbours: list[Neighbour], encode: Encoder, companion: Neighbour | None = None
    ) -> Tensor:
        """Return what a frame (B, 3, h, w) has in addition to its bicubic enlargement.

        Args:
            frame: The frame.
            neighbours: The frames next to it.
            encode: Of pairs of frames, the pyramid and the flow estimator.
            companion: What the trunk looks at; if there is none, what `companion` says.

        Returns:
            float32 (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w).
        """
        companion = companion or self.companion(frame, neighbours)
        ways = TRANSFORMS if self.config.self_ensemble and not self.training else 1
        total: Tensor | None = None
        for way in range(ways):
            seen = [one.transform(way) for one in neighbours]
            detail = self._detail(transform(frame, way), seen, encode, companion.transform(way))
            detail = transform_back(detail, way)
            total = detail if total is None else total + detail
        assert total is not None
        return total / ways

    def companion(self, frame: Tensor, neighbours: list[Neighbour]) -> Neighbour:
        """Return the first of a frame's neighbours that does not repeat it, or the frame itself."""
        rest = torch.zeros_like(frame[:, :FLOW])
        found = Neighbour(frame, rest, rest, torch.zeros_like(frame[:, :1], dtype=torch.bool))
        for one in reversed(neighbours):
            shows = one.informative.any(dim=3, keepdim=True).any(dim=2, keepdim=True)
            both = zip(vars(one).values(), vars(found).values(), strict=True)
            found = Neighbour(*(torch.where(shows, new, old) for new, old in both))
        return found

    def _detail(self, frame: Tensor, neighbours: list[Neighbour], encode: Encoder, companion: Neighbour) -> Tensor:
        other, flow, back = companion.frame, companion.flow_to, companion.flow_from
        features, state = encode(torch.cat((frame, other)).contiguous(memory_format=torch.channels_last))
        x = self._inputs(frame, other, features.chunk(2), state, flow, back)
        del features
        x = F.leaky_relu(self.fuse(x), LEAKY_SLOPE, inplace=True)
        maps = x + self.trunk(x)
        return self.backprojection.improve(frame, self.predict(maps), maps, neighbours)

    def _inputs(
        self, frame: Tensor, other: Tensor, features: tuple[Tensor, ...], state: Tensor, flow: Tensor, back: Tensor
    ) -> Tensor:
        """What the trunk begins with; by itself, so that its parts are let go of before the trunk takes as much."""
        error = (frame - warp(other, flow)).abs() * COLOUR_GAIN
        # Nothing, except where something is hidden. Where there is nothing to see, as in black frames, it can lead
        # anywhere, farther than in anything that was learned from, and would spoil all that follows.
        round_trip = (flow + warp(back, flow)).clamp(-ROUND_TRIP_LIMIT_PX, ROUND_TRIP_LIMIT_PX)
        phase = flow * (2 * math.pi)  # how far between two pixels the other frame's content lies
        motion = torch.cat((flow / FLOW_SCALE_PX, round_trip / FLOW_SCALE_PX, phase.sin(), phase.cos()), 1)
        height, width = frame.shape[-2:]
        hidden = F.interpolate(state, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
        warped = warp(features[1], flow)
        return torch.cat((features[0], warped, hidden, frame - 0.5, error, motion.to(frame.dtype)), 1)
