"""WarpINR: the declared variant of VideoINR that our own models use.

It keeps the paper's plan (encode a pair once; then a space-time coordinate is led by a predicted flow to both frames,
features are sampled there and a sine network turns them into RGB) and changes what makes it slow to learn and to run:

* motion comes from a coarse-to-fine flow between the frames, estimated once per pair and then made exact by what the
  pictures themselves say (`motion.py`);
* both frames are enlarged once per pair and size: bicubic, and a difference from it that the network says for every
  sixteenth of a low-resolution pixel, brought to the size asked for like any picture; none at the frames' own size;
* that difference is made better by what the frames around one show of it (`backprojection.py`);
* where it may cost more, the difference is the mean of what is said of frames that are turned eight ways (`turns.py`);
* a picture at time t is both, warped and blended with occlusion weights, and repaired where they disagree. All of that
  is found on the low-resolution grid; where nothing changes, or there is nothing to be seen, nothing moves, so a still
  picture stays still (`stillness.py`);
* what moves need not move evenly: where it came from before the pair and where it goes after it bend its way;
* motion, and what is hidden, are looked for in frames of the same exposure, so that fades are neither (`exposure.py`);
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
from vs_videoinr.model.backprojection import CONTRAST, LOST
from vs_videoinr.model.base import Flows, Network, Shapes
from vs_videoinr.model.exposure import Exposure
from vs_videoinr.model.motion import (
    SLOPE,
    FlowEstimator,
    Pyramid,
    ResidualBlock,
    enlarge,
    reconsider,
    settle,
    sharpen,
    start_small,
    warp,
    whole,
)
from vs_videoinr.model.stillness import Stillness, at_rest
from vs_videoinr.model.turns import turned, turned_ways
from vs_videoinr.model.warpfield import Decoder, WarpField


@dataclass(frozen=True)
class WarpINRConfig:
    """Sizes of a `WarpINR`, which can be read off a checkpoint's shapes, and how it is used, which cannot."""

    levels: tuple[int, ...] = (32, 32, 48, 64, 64)  # channels of the frame pyramid, full size first
    hidden: int = 32  # state passed down the flow estimator
    radius: int = 3  # of the correlation, in pixels of its level
    refined: bool = True  # whether flow is looked for at 1/2 size once more
    width: int = 64  # channels of the feature maps
    blocks: int = 8  # residual blocks of the trunk
    lattice: int = 32  # channels of the network that finds what there is at time t
    patterns: int = 24  # that detail is mixed from
    rounds: int = 3  # of back-projection; with 0 a frame is enlarged without what its neighbours show
    turned: bool = False  # whether detail is the mean over frames turned eight ways; not while training


def _both(frame0: Tensor, frame1: Tensor) -> Tensor:
    """Both frames, and so both directions of everything between them, as one batch."""
    return torch.cat((frame0, frame1)).contiguous(memory_format=torch.channels_last)


def _told(frames: tuple[Tensor, Tensor], flow: Tensor, still: Stillness, exposure: Exposure) -> Flows:
    """What a pair's neighbours are told: `flow` (2B, 2, h, w) in both directions, of which the pair has (h, w)."""
    onward, back = flow.contiguous().chunk(2)
    return Flows(*frames, onward, back, still.reach > still.rest, (still.reach == 0) & exposure.close(), exposure)


class WarpINR(Network):
    """The variant of VideoINR described at the top of this module."""

    architecture = "warpinr"
    Config = WarpINRConfig
    config: WarpINRConfig
    minds_neighbours = True

    def __init__(self, config: WarpINRConfig) -> None:
        super().__init__(config)
        self.config = config
        self.pyramid = Pyramid(config.levels)
        self.flow = FlowEstimator(config.levels, config.hidden, config.radius, config.refined)
        inputs = 2 * config.levels[0] + config.hidden + 3 + 3 + 2 + 2 + 4
        self.fuse = nn.Conv2d(inputs, config.width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.flow_out = nn.Conv2d(config.width, 2, 3, padding=1)
        self.decoder = Decoder(config.width, config.lattice, config.rounds, config.patterns)
        start_small(self.flow_out)

    @classmethod
    def recognises(cls, shapes: Shapes) -> bool:
        """See `Network.recognises`."""
        return any(name.startswith("pyramid.reduce.") for name in shapes)

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, declared: Mapping[str, object]) -> WarpINRConfig:
        """See `Network.config_from_shapes`; `turned` may be declared."""
        if unknown := sorted(declared.keys() - {"turned"}):
            raise ModelError(f"setting {unknown[0]!r} is not known to {cls.architecture}")
        if not isinstance(eight := declared.get("turned", False), bool):
            raise ModelError("setting 'turned' is neither true nor false")

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
            window = channels("flow.refine.conv1.weight", 1) - 2 * levels[1] - 2 - 2 - hidden
        else:
            window = channels("flow.steps.0.conv1.weight", 1) - 2 * levels[-1] - 2
        return WarpINRConfig(
            levels=levels,
            hidden=hidden,
            radius=(math.isqrt(max(window, 0)) - 1) // 2 if window > 0 else 0,
            refined=refined,
            width=channels("fuse.weight"),
            blocks=count("trunk.", ".conv1.weight"),
            lattice=channels("decoder.time_flow.weight", 1),
            patterns=channels("decoder.detail.patterns.weight", 1),
            rounds=count("decoder.backprojection.", ".gather.weight"),
            turned=eight,
        )

    def declared(self) -> dict[str, str | int | float | bool]:
        """See `Network.declared`."""
        return {"turned": True} if self.config.turned else {}

    def encode(self, frame0: Tensor, frame1: Tensor) -> WarpField:
        """See `Network.encode`."""
        return self.encode_with_flows(frame0, frame1)[0]

    def encode_with_flows(self, frame0: Tensor, frame1: Tensor) -> tuple[WarpField, list[Tensor]]:
        """Encode, and return the estimated flows of all levels too, coarsest first, as training supervises them.

        Each flow is (2B, 2, h', w'): frame 0 → 1 in the first half of the batch, frame 1 → 0 in the second.
        """
        frame0, frame1 = self.checked_frames(frame0, frame1)
        batch = frame0.shape[0]
        exposure = Exposure.between(frame0, frame1)
        this = _both(*exposure.alike(frame0, frame1))
        levels, flows, state = self._motion(this)
        still = Stillness.between(frame0, frame1)
        reach = torch.cat((still.reach, still.reach))
        flow = flows[-1] * (1 - at_rest(reach, flows[-1]))
        told = _told((frame0, frame1), flow, still, exposure)

        def maps_turned(turn: int) -> tuple[Tensor, Tensor]:
            alike0, alike1 = (turned(frame, turn) for frame in exposure.alike(frame0, frame1))
            return self._maps_of(alike0, alike1, turned_ways(torch.cat((told.onward, told.back)), turn))

        maps = self._maps(this, levels[0], state, flow, batch)
        flow = flow + self.flow_out(maps).float()
        flows.append(flow)
        flow = flow * (1 - at_rest(reach, flow))
        field = WarpField(
            self.decoder,
            frame0,
            frame1,
            (maps[:batch].contiguous(), maps[batch:].contiguous()),
            (flow[:batch].contiguous(), flow[batch:].contiguous()),
            told,
            still,
            exposure,
            maps_turned if self.config.turned and not self.training else None,
        )
        return field, flows

    def encode_held(self, frame: Tensor) -> WarpField:
        """What `encode` makes of a frame (B, 3, h, w) and itself but for rounding, sooner: for training.

        Nothing is looked for that could have moved, and the frame is looked at once. Frames are not turned.
        """
        weight = self.fuse.weight
        frame = frame.to(device=weight.device, dtype=weight.dtype)
        exposure, still = Exposure.between(frame, frame), Stillness.between(frame, frame)
        this = frame.contiguous(memory_format=torch.channels_last)
        levels = self.pyramid(this - 0.5)
        _, state = self.flow(levels, levels)
        rest = torch.zeros_like(this[:, :2]).float()
        maps = self._maps(this, levels[0], state, rest, 0).contiguous()
        told = _told((frame, frame), torch.cat((rest, rest)), still, exposure)
        return WarpField(self.decoder, frame, frame, (maps, maps), (rest, rest), told, still, exposure, None)

    def flows(self, frame0: Tensor, frame1: Tensor) -> Flows:
        """See `Network.flows`."""
        frame0, frame1 = self.checked_frames(frame0, frame1)
        exposure = Exposure.between(frame0, frame1)
        flow = self._motion(_both(*exposure.alike(frame0, frame1)))[1][-1]
        still = Stillness.between(frame0, frame1)
        reach = torch.cat((still.reach, still.reach))
        return _told((frame0, frame1), flow * (1 - at_rest(reach, flow)), still, exposure)

    def flow_levels(self, frame0: Tensor, frame1: Tensor) -> list[Tensor]:
        """The flows of `encode_with_flows` without what follows them, for training the motion alone."""
        return self._motion(_both(*Exposure.between(frame0, frame1).alike(frame0, frame1)))[1]

    def _maps(self, this: Tensor, level: Tensor, state: Tensor, flow: Tensor, apart: int) -> Tensor:
        """Feature maps of frames `this`, which move by `flow`, from what pyramid and estimator say.

        The frame to which one moves is `apart` places from it: 0 for frames that are held.
        """
        x = F.leaky_relu(self.fuse(self._clues(this, level, state, flow, apart)), SLOPE)
        maps: Tensor = x + self.trunk(x)
        return maps

    def _clues(self, this: Tensor, level: Tensor, state: Tensor, flow: Tensor, apart: int) -> Tensor:
        """What `_maps` begins with; by itself, so that its parts are let go of before the trunk takes as much again."""
        error = (this - warp(this.roll(apart, 0), flow)).abs() * CONTRAST
        other = warp(level.roll(apart, 0), flow)
        # Nothing, except where something is hidden. Where there is nothing to see, as in black frames, it can lead
        # anywhere, farther than in anything that was learned from, and would spoil all that follows.
        round_trip = (flow + warp(flow.roll(apart, 0), flow)).clamp(-LOST, LOST)
        phase = flow * (2 * math.pi)  # how far between two pixels the other frame's content lies
        motion = torch.cat((flow / 8, round_trip / 8, phase.sin(), phase.cos()), 1).to(this.dtype)
        height, width = this.shape[-2:]
        hidden = F.interpolate(state, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
        return torch.cat((level, other, hidden, this - 0.5, error, motion), 1)

    def _maps_of(self, frame0: Tensor, frame1: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps of a pair of frames of the same exposure of which it is known already how they move."""
        this = _both(frame0, frame1)
        levels = self.pyramid(this - 0.5)
        _, state = self.flow(levels, [level.roll(this.shape[0] // 2, 0) for level in levels])
        maps = self._maps(this, levels[0], state, flow, len(this) // 2)
        maps0, maps1 = maps.contiguous().chunk(2)
        return maps0, maps1

    def _motion(self, this: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Features, flows and state of both directions; the last flow is of the frames' own size.

        All else, but the features at full size, is of frames extended to whole pixels of the coarsest level.
        """

        def other(both: Tensor) -> Tensor:
            return both.roll(this.shape[0] // 2, 0)

        levels = self.pyramid(this - 0.5)
        flows, state = self.flow(levels, [other(level) for level in levels])
        if self.flow.refine is not None:
            flows.append(self.flow.refine(levels[1], other(levels[1]), flows[-1], state)[0])
        height, width = this.shape[-2:]
        this = whole(this, 2)
        half = F.avg_pool2d(this, 2)
        flow = flows[-1][..., : half.shape[-2], : half.shape[-1]]
        flow = reconsider(flow, half, other(half))
        flow = enlarge(sharpen(flow, half, other(half), reach=6, damping=1e-3))[..., :height, :width]
        this = this[..., :height, :width]
        flow = reconsider(flow, this, other(this))
        flow = settle(sharpen(flow, this, other(this), reach=3, damping=3e-3))
        return levels, [*flows, flow], state
