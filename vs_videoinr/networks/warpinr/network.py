"""WarpINR: the variant of VideoINR that our own models use.

It keeps the paper's plan (encode a pair once; then a space-time coordinate is led by a predicted flow to both frames,
and a picture is made of what is there) and changes what makes it slow to learn and to run:

* motion comes from a coarse-to-fine flow between the frames, estimated once per pair (`flow_estimator.py`) and then
  made exact by what the pictures themselves say (`flow_refinement.py`);
* both frames are enlarged once per pair and size: bicubic, and a residual detail that the network predicts for every
  sixteenth of a low-resolution pixel (`residual_detail.py`); none at the frames' own size;
* that detail is made better by what the frames around show (`neighbours.py`, `back_projection.py`);
* where it may cost more, it is the mean over eight ways to look at a frame (`self_ensemble.py`);
* a picture at time t is both frames, warped and blended with occlusion weights, and repaired where they disagree. All
  of that is found on the low-resolution grid (`fusion.py`); where nothing changes, or there is nothing to be seen,
  nothing moves, so a still picture stays still (`static_regions.py`);
* what moves need not move evenly: the motion of the pairs before and after bends its way (`pair_motion.py`);
* motion and occlusion are looked for in frames of the same exposure, so that fades are neither (`exposure.py`);
* sampling uses one consistent grid (pixel centres) and border padding everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.errors import ModelError
from vs_videoinr.networks.base import Network, Shapes
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.back_projection import ROUND_TRIP_LIMIT_PX
from vs_videoinr.networks.warpinr.blocks import (
    COLOUR_GAIN,
    FLOW,
    FLOW_SCALE_PX,
    LEAKY_SLOPE,
    PHASE,
    RGB,
    ResidualBlock,
    init_near_zero,
    pad_to_multiple,
)
from vs_videoinr.networks.warpinr.exposure import Exposure
from vs_videoinr.networks.warpinr.field import WarpField
from vs_videoinr.networks.warpinr.flow_estimator import FlowEstimator, Pyramid, upsample_flow
from vs_videoinr.networks.warpinr.flow_refinement import (
    propagate_neighbour_flow,
    refine_lucas_kanade,
    smooth_consistent_flow,
)
from vs_videoinr.networks.warpinr.fusion import Decoder
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.self_ensemble import transform, transform_flow
from vs_videoinr.networks.warpinr.stages import Stage
from vs_videoinr.networks.warpinr.static_regions import StaticRegions, static_mask


@dataclass(frozen=True)
class WarpINRConfig:
    """Sizes of a `WarpINR`, which can be read off a checkpoint's shapes, and how it is used, which cannot.

    Attributes:
        levels: Channels of the frame pyramid, full size first.
        hidden: Channels of the state passed down the flow estimator.
        radius: Of the correlation, in pixels of its level.
        refined: Whether flow is looked for at half size once more.
        width: Channels of the feature maps.
        blocks: Residual blocks of the trunk.
        fusion_channels: Channels of the network that finds what there is at time t.
        patterns: That residual detail is mixed from.
        rounds: Of back-projection; with 0 a frame is enlarged without what its neighbours show.
        self_ensemble: Whether detail is the mean over eight ways to look at frames; not while training.
        without: Stages that are left out.
    """

    levels: tuple[int, ...] = (32, 32, 48, 64, 64)
    hidden: int = 32
    radius: int = 3
    refined: bool = True
    width: int = 64
    blocks: int = 8
    fusion_channels: int = 32
    patterns: int = 24
    rounds: int = 3
    self_ensemble: bool = False
    without: frozenset[Stage] = frozenset()


def _both(frame0: Tensor, frame1: Tensor) -> Tensor:
    """Both frames, and so both directions of everything between them, as one batch."""
    return torch.cat((frame0, frame1)).contiguous(memory_format=torch.channels_last)


def _other(both: Tensor) -> Tensor:
    """For each frame of `_both` the one that it is paired with."""
    return both.roll(both.shape[0] // 2, 0)


def _pair_motion(frame0: Tensor, frame1: Tensor, flow: Tensor, static: StaticRegions, exposure: Exposure) -> PairMotion:
    """What a pair's neighbours are told: `flow` (2B, 2, h, w) in both directions, of which the pair has (h, w)."""
    flow01, flow10 = flow.contiguous().chunk(2)
    textureless, changes = static.reach > static.rest, static.reach == 0
    return PairMotion(frame0, frame1, flow01, flow10, textureless, changes & exposure.close(), exposure)


class WarpINR(Network):
    """The variant of VideoINR described at the top of this module."""

    architecture = "warpinr"
    Config = WarpINRConfig
    config: WarpINRConfig
    uses_neighbours = True

    def __init__(self, config: WarpINRConfig) -> None:
        super().__init__(config)
        self.config = config
        self.pyramid = Pyramid(config.levels)
        self.flow = FlowEstimator(config.levels, config.hidden, config.radius, config.refined)
        # both frames' features, the estimator's state, the frame, its error, flow, round trip and phase
        inputs = 2 * config.levels[0] + config.hidden + RGB + RGB + FLOW + FLOW + PHASE
        self.fuse = nn.Conv2d(inputs, config.width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.flow_out = nn.Conv2d(config.width, FLOW, 3, padding=1)
        self.decoder = Decoder(config.width, config.fusion_channels, config.rounds, config.patterns, config.without)
        init_near_zero(self.flow_out)

    @classmethod
    def matches(cls, shapes: Shapes) -> bool:
        """See `Network.matches`."""
        return any(name.startswith("pyramid.reduce.") for name in shapes)

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, settings: Mapping[str, object]) -> WarpINRConfig:
        """See `Network.config_from_shapes`; the one setting is `self_ensemble`."""
        if unknown := sorted(settings.keys() - {"self_ensemble"}):
            raise ModelError(f"setting {unknown[0]!r} is not known to {cls.architecture}")
        if not isinstance(self_ensemble := settings.get("self_ensemble", False), bool):
            raise ModelError("setting 'self_ensemble' is neither true nor false")

        def channels(name: str, axis: int = 0) -> int:
            if name not in shapes or len(shapes[name]) != 4:
                raise ModelError(f"tensor {name} is missing or misshapen")
            return shapes[name][axis]

        def count(beginning: str, end: str) -> int:
            return sum(name.startswith(beginning) and name.endswith(end) for name in shapes)

        depth = count("pyramid.reduce.", ".weight")
        levels = tuple(channels(f"pyramid.reduce.{level}.weight") for level in range(depth))
        hidden, refined = channels("flow.steps.0.conv3.weight"), depth > 1 and "flow.refine.conv1.weight" in shapes
        # A flow step sees both feature maps, the correlation and the displacement it suggests, and, but for the
        # coarsest, the flow and the state so far. Of two levels the coarsest has no correlation.
        if refined:
            window = channels("flow.refine.conv1.weight", 1) - 2 * levels[1] - FLOW - FLOW - hidden
        else:
            window = channels("flow.steps.0.conv1.weight", 1) - 2 * levels[-1] - FLOW
        return WarpINRConfig(
            levels=levels,
            hidden=hidden,
            radius=(math.isqrt(max(window, 0)) - 1) // 2 if window > 0 else 0,
            refined=refined,
            width=channels("fuse.weight"),
            blocks=count("trunk.", ".conv1.weight"),
            fusion_channels=channels("decoder.time_flow.weight", 1),
            patterns=channels("decoder.detail.patterns.weight", 1),
            rounds=count("decoder.backprojection.", ".gather.weight"),
            self_ensemble=self_ensemble,
        )

    def settings(self) -> dict[str, str | int | float | bool]:
        """See `Network.settings`."""
        return {"self_ensemble": True} if self.config.self_ensemble else {}

    def encode(self, frame0: Tensor, frame1: Tensor) -> WarpField:
        """See `Network.encode`."""
        return self.encode_with_flows(frame0, frame1)[0]

    def encode_with_flows(self, frame0: Tensor, frame1: Tensor) -> tuple[WarpField, list[Tensor]]:
        """Encode, and return the estimated flows of all levels too, coarsest first, as training supervises them.

        Each flow is (2B, 2, h', w'): frame 0 → 1 in the first half of the batch, frame 1 → 0 in the second.
        """
        frame0, frame1 = self.checked_frames(frame0, frame1)
        batch = frame0.shape[0]
        exposure, static = self._exposure(frame0, frame1), self._static_regions(frame0, frame1)
        matched = _both(*exposure.match(frame0, frame1))
        levels, flows, state = self._flow_levels(matched)
        reach = torch.cat((static.reach, static.reach))
        flow = flows[-1] * (1 - static_mask(reach, flows[-1]))
        motion = _pair_motion(frame0, frame1, flow, static, exposure)

        def transformed_maps(way: int) -> tuple[Tensor, Tensor]:
            one, other = (transform(frame, way) for frame in exposure.match(frame0, frame1))
            return self._maps_of(one, other, transform_flow(torch.cat((motion.flow01, motion.flow10)), way))

        maps = self._maps(matched, levels[0], state, flow, batch)
        flow = flow + self.flow_out(maps).float()
        flows.append(flow)
        flow = flow * (1 - static_mask(reach, flow))
        field = WarpField(
            self.decoder,
            (maps[:batch].contiguous(), maps[batch:].contiguous()),
            (flow[:batch].contiguous(), flow[batch:].contiguous()),
            motion,
            static,
            transformed_maps if self.config.self_ensemble and not self.training else None,
        )
        return field, flows

    def encode_still(self, frame: Tensor) -> WarpField:
        """Return what `encode` makes of a frame (B, 3, h, w) and itself but for rounding, sooner: for training.

        No motion is looked for, and the frame is looked at once, in one way.
        """
        frame, _ = self.checked_frames(frame, frame)
        exposure, static = self._exposure(frame, frame), self._static_regions(frame, frame)
        this = frame.contiguous(memory_format=torch.channels_last)
        levels = self.pyramid(this - 0.5)
        _, state = self.flow(levels, levels)
        rest = torch.zeros_like(this[:, :2]).float()
        maps = self._maps(this, levels[0], state, rest, 0).contiguous()
        motion = _pair_motion(frame, frame, torch.cat((rest, rest)), static, exposure)
        return WarpField(self.decoder, (maps, maps), (rest, rest), motion, static, None)

    def estimate_motion(self, frame0: Tensor, frame1: Tensor) -> PairMotion:
        """See `Network.estimate_motion`."""
        frame0, frame1 = self.checked_frames(frame0, frame1)
        exposure, static = self._exposure(frame0, frame1), self._static_regions(frame0, frame1)
        flow = self._flow_levels(_both(*exposure.match(frame0, frame1)))[1][-1]
        reach = torch.cat((static.reach, static.reach))
        return _pair_motion(frame0, frame1, flow * (1 - static_mask(reach, flow)), static, exposure)

    def flow_levels(self, frame0: Tensor, frame1: Tensor) -> list[Tensor]:
        """Return the flows of `encode_with_flows` without what follows them, for training the motion alone."""
        return self._flow_levels(_both(*self._exposure(frame0, frame1).match(frame0, frame1)))[1]

    def _uses(self, stage: Stage) -> bool:
        return stage not in self.config.without

    def _exposure(self, frame0: Tensor, frame1: Tensor) -> Exposure:
        return Exposure.between(frame0, frame1) if self._uses(Stage.EXPOSURE) else Exposure.equal(frame0)

    def _static_regions(self, frame0: Tensor, frame1: Tensor) -> StaticRegions:
        return StaticRegions.between(frame0, frame1, colour=self._uses(Stage.STATIC_COLOUR))

    def _maps(self, this: Tensor, level: Tensor, state: Tensor, flow: Tensor, apart: int) -> Tensor:
        """Feature maps of frames `this`, which move by `flow`, from what pyramid and estimator tell.

        The frame to which one moves is `apart` places from it: 0 for frames that are still.
        """
        x = F.leaky_relu(self.fuse(self._inputs(this, level, state, flow, apart)), LEAKY_SLOPE)
        maps: Tensor = x + self.trunk(x)
        return maps

    def _inputs(self, this: Tensor, level: Tensor, state: Tensor, flow: Tensor, apart: int) -> Tensor:
        """What `_maps` begins with; by itself, so that its parts are let go of before the trunk takes as much again."""
        error = (this - warp(this.roll(apart, 0), flow)).abs() * COLOUR_GAIN
        other = warp(level.roll(apart, 0), flow)
        # Nothing, except where something is hidden. Where there is nothing to see, as in black frames, it can lead
        # anywhere, farther than in anything that was learned from, and would spoil all that follows.
        round_trip = (flow + warp(flow.roll(apart, 0), flow)).clamp(-ROUND_TRIP_LIMIT_PX, ROUND_TRIP_LIMIT_PX)
        phase = flow * (2 * math.pi)  # how far between two pixels the other frame's content lies
        motion = (flow / FLOW_SCALE_PX, round_trip / FLOW_SCALE_PX, phase.sin(), phase.cos())
        height, width = this.shape[-2:]
        hidden = F.interpolate(state, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
        return torch.cat((level, other, hidden, this - 0.5, error, torch.cat(motion, 1).to(this.dtype)), 1)

    def _maps_of(self, frame0: Tensor, frame1: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps of a pair of frames of the same exposure of which it is known already how they move."""
        this = _both(frame0, frame1)
        levels = self.pyramid(this - 0.5)
        _, state = self.flow(levels, [_other(level) for level in levels])
        maps = self._maps(this, levels[0], state, flow, len(this) // 2)
        maps0, maps1 = maps.contiguous().chunk(2)
        return maps0, maps1

    def _flow_levels(self, this: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Features, flows and state of both directions; the last flow is of the frames' own size.

        All else, but the features at full size, is of frames extended to whole pixels of the coarsest level.
        """
        levels = self.pyramid(this - 0.5)
        flows, state = self.flow(levels, [_other(level) for level in levels])
        if self.flow.refine is not None and self._uses(Stage.FINE_FLOW):
            flows.append(self.flow.refine(levels[1], _other(levels[1]), flows[-1], state)[0])
        if not self._uses(Stage.FLOW):
            flows = [torch.zeros_like(flow) for flow in flows]
            return levels, [*flows, torch.zeros_like(this[:, :FLOW]).float()], state
        height, width = this.shape[-2:]
        this = pad_to_multiple(this, 2)
        half = F.avg_pool2d(this, 2)
        flow = flows[-1][..., : half.shape[-2], : half.shape[-1]]
        flow = upsample_flow(self._refine(flow, half, radius=6, damping=1e-3))[..., :height, :width]
        this = this[..., :height, :width]
        flow = self._refine(flow, this, radius=3, damping=3e-3)
        if self._uses(Stage.SMOOTHING):
            flow = smooth_consistent_flow(flow)
        return levels, [*flows, flow], state

    def _refine(self, flow: Tensor, this: Tensor, radius: int, damping: float) -> Tensor:
        """A flow between frames of its own size, made exact by what they themselves show."""
        if self._uses(Stage.PROPAGATION):
            flow = propagate_neighbour_flow(flow, this, _other(this))
        if self._uses(Stage.LUCAS_KANADE):
            flow = refine_lucas_kanade(flow, this, _other(this), radius, damping)
        return flow
