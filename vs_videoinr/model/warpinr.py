"""WarpINR: the declared variant of VideoINR that our own models use.

It keeps the paper's plan (encode a pair once; then a space-time coordinate is led by a predicted flow to both frames,
features are sampled there and a sine network turns them into RGB) and changes what makes it slow to learn and to run:

* motion comes from a coarse-to-fine flow between the frames, estimated once per pair and then made exact by what the
  pictures themselves say (`motion.py`);
* both frames are enlarged once per pair and size: bicubic, and a difference from it that the network says for every
  sixteenth of a low-resolution pixel, brought to the size asked for like any picture; none at the frames' own size;
* that difference is made better by what the frames around one show of it (`backprojection.py`);
* a picture at time t is both, warped and blended with occlusion weights, and repaired where they disagree. All of that
  is found on the low-resolution grid; where nothing changes, or there is nothing to be seen, nothing moves, so a still
  picture stays still (`stillness.py`);
* what moves need not move evenly: where it came from before the pair and where it goes after it bend its way;
* motion, and what is hidden, are looked for in frames of the same exposure, so that fades are neither (`exposure.py`);
* sampling uses one consistent grid (pixel centres) and border padding everywhere.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.errors import ModelError
from vs_videoinr.model.backprojection import CONTRAST, FINE, LOST, BackProjection, Neighbour
from vs_videoinr.model.base import Flows, Network, Shapes, VideoField
from vs_videoinr.model.exposure import Exposure
from vs_videoinr.model.motion import (
    SLOPE,
    FlowEstimator,
    Pyramid,
    ResidualBlock,
    enlarge,
    pixel_grid,
    reconsider,
    sample_at,
    settle,
    sharpen,
    start_small,
    warp,
)
from vs_videoinr.model.stillness import Stillness, at_rest

REPAIR = 0.25  # of what the frames disagree by around a place, at most, is added to what they show there
BEND = 0.8  # of what the frames around a pair say of how its motion changes; flows are not exact, and less errs less
CHUNK = 1 << 16  # output pixels warped at a time: beside what is kept, sampling takes little, and can be abandoned


@dataclass(frozen=True)
class WarpINRConfig:
    """Sizes of a `WarpINR`; every one of them can be read off a checkpoint's shapes."""

    levels: tuple[int, ...] = (32, 32, 48, 64, 64)  # channels of the frame pyramid, full size first
    hidden: int = 32  # state passed down the flow estimator
    radius: int = 3  # of the correlation, in pixels of its level
    width: int = 64  # channels of the feature maps
    blocks: int = 8  # residual blocks of the trunk
    lattice: int = 32  # channels of the network that finds what there is at time t
    rounds: int = 3  # of back-projection; with 0 a frame is enlarged without what its neighbours show


def _unit(frame: Tensor, multiple: int) -> Tensor:
    """Extend a frame to whole `multiple`s, to the right and below, by its border."""
    height, width = frame.shape[-2:]
    return F.pad(frame, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (B, C, h, w) to `size`, in float32: bicubic (a = -0.5), antialiased where that is smaller."""
    image = image.float()
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)


def _told(frames: tuple[Tensor, Tensor], flow: Tensor, still: Stillness, exposure: Exposure) -> Flows:
    """What a pair's neighbours are told: `flow` (2B, 2, H, W) in both directions, of which the pair has (h, w)."""
    onward, back = flow[..., : still.rest.shape[-2], : still.rest.shape[-1]].contiguous().chunk(2)
    return Flows(*frames, onward, back, still.reach > still.rest, (still.reach == 0) & exposure.close(), exposure)


def _followed(pairs: list[Flows | None]) -> list[Neighbour]:
    """What the first frame of `pairs` that follow one another sees of all other frames, until one pair is not known.

    All of them are exposed like that first one.
    """
    seen: list[Neighbour] = []
    for number, pair in enumerate(pairs):
        if pair is None:
            break
        frame, there, back, telling = pair.frame1, pair.onward, pair.back, pair.telling
        for before in pairs[: number + 1][::-1]:
            assert before is not None
            frame = before.exposure.like_first(frame)
        if seen:
            last = seen[-1]
            there, back = last.there + warp(there, last.there), back + warp(last.back, back)
            telling = last.known & (warp(pair.telling.float(), last.there) > 0.5)
        seen.append(Neighbour(frame, there, back, telling))
    return seen


@dataclass(frozen=True)
class _Large:
    """A frame at the size asked for last, and what was known of the pairs around then."""

    picture: Tensor
    around: tuple[Flows | None, Flows | None]


class Decoder(nn.Module):
    """Feature maps and flows of a pair → detail of both frames, and what a picture at time t is made of.

    The paper's SpatialINR, TemporalINR and decoder; all of it on the low-resolution grid, whatever size is asked for.
    """

    def __init__(self, config: WarpINRConfig) -> None:
        super().__init__()
        lattice = config.lattice
        self.detail = nn.Conv2d(config.width, 3 * FINE**2, 3, padding=1)
        self.backprojection = BackProjection(config.width, config.rounds) if config.rounds else None
        # Applied to the maps before they are warped (sampling and a linear layer commute).
        self.time0 = nn.Conv2d(config.width, lattice, 1)
        self.time1 = nn.Conv2d(config.width, lattice, 1, bias=False)
        self.time_motion = nn.Conv2d(11, lattice, 1, bias=False)
        self.time_trunk = nn.Sequential(ResidualBlock(lattice), ResidualBlock(lattice))
        self.time_flow = nn.Conv2d(lattice, 4, 3, padding=1)
        self.time_fine = nn.Conv2d(lattice, 4 * FINE**2, 3, padding=1)
        for layer in (self.detail, self.time_flow, self.time_fine):
            start_small(layer)

    def lattice(self, field: WarpField, t: float) -> tuple[Tensor, Tensor]:
        """What there is at time `t`, float32: the ways to both frames, and how they are put together there.

        Returns (B, 4, h, w), flow to frame 0 (x, y) and to frame 1 (x, y) in low-resolution pixels, and
        (B, 4, FINE·h, FINE·w): the occlusion logit, positive where frame 1 is the one to believe, and an RGB repair.
        """
        flow01, flow10 = field.flow01, field.flow10
        # A pixel at time t was led here by the motion that its source pixel has: v(x) = flow01(x - t·v). Solved by
        # iteration, once for what frame 0 shows and once for what frame 1 shows. Where motion changes it lies aside.
        va = vb = (1 - t) * flow01 - t * flow10
        aside = field.aside(t, -t * va, (1 - t) * vb)
        for _ in range(3):
            va = warp(flow01, aside - t * va)
            vb = -warp(flow10, aside + (1 - t) * vb)
            aside = field.aside(t, aside - t * va, aside + (1 - t) * vb)
        to0, to1 = aside - t * va, aside + (1 - t) * vb
        alike0, alike1 = field.exposure.alike(warp(field.frame0, to0), warp(field.frame1, to1))
        differ = (alike0 - alike1) * CONTRAST
        motion = torch.cat((va / 8, vb / 8, torch.full_like(va[:, :1], t)), 1).to(differ.dtype)
        x = warp(field.time0, to0) + warp(field.time1, to1)
        x = x + self.time_motion(torch.cat((motion, differ, differ.abs()), 1))
        x = self.time_trunk(F.leaky_relu(x, SLOPE))
        change = self.time_flow(x).float()
        still_a, still_b = at_rest(field.reach, va), at_rest(field.reach, vb)
        aside = aside * (1 - still_a * still_b)
        to0 = aside - t * (va + change[:, :2]) * (1 - still_a)
        to1 = aside + (1 - t) * (vb + change[:, 2:]) * (1 - still_b)
        # where neither moves both are blended
        fine = self.time_fine(x).float() * (1 - still_a * still_b)
        odds, repair = fine.split((FINE**2, 3 * FINE**2), 1)
        # nothing to repair at source times, nor where nothing changes, and little where the frames nearly agree
        apart = differ.detach().abs().amax(1, keepdim=True).float() / CONTRAST
        most = REPAIR * F.max_pool2d(apart, 5, stride=1, padding=2)
        share0, share1 = field.exposure.shares()
        share = (1 - t) * share0 + t * share1
        repair = repair.clamp(-most, most) * (4 * t * (1 - t) * share * (field.rest == 0))
        return torch.cat((to0, to1), 1), F.pixel_shuffle(torch.cat((odds, repair), 1), FINE)


class WarpField(VideoField):
    """A pair of frames encoded by `WarpINR`. Batch size B, low-resolution size (h, w)."""

    def __init__(
        self,
        decoder: Decoder,
        frame0: Tensor,
        frame1: Tensor,
        maps: tuple[Tensor, Tensor],
        flows: tuple[Tensor, Tensor],
        told: Flows,
        still: Stillness,
        exposure: Exposure,
    ) -> None:
        self.decoder = decoder
        self._flows = told
        self._around: tuple[Flows | None, Flows | None] = None, None
        self._turns: tuple[Tensor, Tensor] | None = None
        self.frame0, self.frame1 = frame0, frame1
        self.exposure = exposure
        self.rest, self.reach = still.rest, still.reach
        self.flow01, self.flow10 = flows
        # back to the network's own precision: training works under autocast
        own = frame0.dtype
        self.time0, self.time1 = decoder.time0(maps[0]).to(own), decoder.time1(maps[1]).to(own)
        self._maps = tuple(one.to(own) for one in maps)
        self._blank = still.blank.chunk(2)
        self._large: dict[int, _Large] = {}

    @property
    def flows(self) -> Flows:
        """See `VideoField.flows`."""
        return self._flows

    def among(self, before: Flows | None, after: Flows | None) -> WarpField:
        """See `VideoField.among`; what this field keeps of its frames is kept for both."""
        own = self._flows
        nothing = torch.zeros_like(own.onward)
        field = copy.copy(self)
        field._around = before, after
        # by how much the motion of what either frame shows changes, from pair to pair
        field._turns = (
            nothing if before is None else (own.onward + before.back) * ~(own.unseen | before.unseen),
            nothing if after is None else (own.back + after.onward) * ~(own.unseen | after.unseen),
        )
        return field

    def aside(self, t: float, to0: Tensor, to1: Tensor) -> Tensor:
        """How far a picture's content at time `t` lies from where even motion would have it: (B, 2, h, w), pixels back.

        `to0` and `to1` lead to it in both frames. With a velocity that changes by a from pair to pair, what is at 0 and
        at 1 where the frames have it is a·t·(1 - t)/2 behind between them (Xu et al., Quadratic Video Interpolation,
        2019); a is the mean of what both frames say.
        """
        if self._turns is None:
            return torch.zeros_like(to0)
        return BEND / 4 * t * (1 - t) * (warp(self._turns[0], to0) + warp(self._turns[1], to1))

    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.sample`."""
        check = check or (lambda: None)
        if t in (0, 1):
            check()
            return self._enlarged(int(t), size).clone()
        height, width = size
        rows = max(1, CHUNK // (width * self.frame0.shape[0]))
        between = self._between(t, size, check)
        parts = []
        for row in range(0, height, rows):
            check()
            parts.append(self._window(between, t, size, (row, 0, min(rows, height - row), width)))
        return torch.cat(parts, 2)

    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.motion`."""
        if check is not None:
            check()
        return self._ways(self.decoder.lattice(self, t)[0], size, (0, 0, *size))

    def sample_window(self, t: float, size: tuple[int, int], window: tuple[int, int, int, int]) -> Tensor:
        """The part (top, left, height, width) of what `sample` returns: what training looks at."""
        if t in (0, 1):
            top, left, height, width = window
            return self._enlarged(int(t), size)[..., top : top + height, left : left + width]
        return self._window(self._between(t, size, lambda: None), t, size, window)

    def _enlarged(self, number: int, size: tuple[int, int]) -> Tensor:
        """Frame 0 or 1 at the size asked for, float32 (B, 3, *size): bicubic, and its detail. The last size is kept."""
        kept = self._large.get(number)
        known = kept is not None and all(map(operator.is_, kept.around, self._around))
        if kept is None or not known or kept.picture.shape[-2:] != size:
            frame = (self.frame0, self.frame1)[number]
            large = resize(frame, size)
            if frame.shape[-2:] != size:  # at its own size a frame has all its detail
                large = large + resize(F.pixel_shuffle(self._detail(number), FINE), size)
            self._large[number] = kept = _Large(large, self._around)
        return kept.picture

    def _detail(self, number: int) -> Tensor:
        """What frame 0 or 1 has in addition to its bicubic enlargement, float32 (B, 3·FINE², h, w)."""
        maps, decoder = self._maps[number], self.decoder
        detail: Tensor = decoder.detail(maps).float()
        if decoder.backprojection is not None:
            frame = self.exposure.alike(self.frame0, self.frame1)[number]
            detail = decoder.backprojection.improve(frame, detail, maps, self._neighbours(number))
        # what is of one colour, as bars above and below a film, stays so
        return detail * self.exposure.shares()[number] * ~self._blank[number]

    def _neighbours(self, number: int) -> list[Neighbour]:
        """All other frames that are known, as frame 0 or 1 sees them, exposed like the one with more contrast."""
        before, after = self._around
        onward = [self._flows, after][number:]
        back = [pair and pair.reversed() for pair in (before, self._flows)[: 1 + number]][::-1]
        seen = _followed(onward) + _followed(back)
        return [replace(one, frame=self.exposure.alike(one.frame, one.frame)[number]) for one in seen]

    def _between(
        self, t: float, size: tuple[int, int], check: Callable[[], None]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both frames and the lattice (see `Decoder.lattice`), all but its ways at `size`."""
        there, fine = self.decoder.lattice(self, t)
        check()
        large0 = self._enlarged(0, size)
        check()
        large1 = self._enlarged(1, size)
        check()
        return there, large0, large1, resize(fine, size)

    def _window(
        self,
        between: tuple[Tensor, Tensor, Tensor, Tensor],
        t: float,
        size: tuple[int, int],
        window: tuple[int, int, int, int],
    ) -> Tensor:
        there, large0, large1, fine = between
        top, left, height, width = window
        here = pixel_grid(height, width, there) + there.new_tensor([left, top]).view(1, 2, 1, 1)
        ways = self._ways(there, size, window)
        colour0 = sample_at(large0, here + ways[:, 0:2], "bicubic")
        colour1 = sample_at(large1, here + ways[:, 2:4], "bicubic")
        fine = fine[..., top : top + height, left : left + width]
        odds = fine[:, :1].clamp(-12, 12).exp() * (t / (1 - t))
        weight1 = odds / (1 + odds)
        return colour0 + weight1 * (colour1 - colour0) + fine[:, 1:]

    def _ways(self, there: Tensor, size: tuple[int, int], window: tuple[int, int, int, int]) -> Tensor:
        """The lattice's ways for a window of a picture of `size`, in that picture's pixels."""
        top, left, height, width = window
        low = there.shape[-2:]
        shrink = there.new_tensor([low[1] / size[1], low[0] / size[0]]).view(1, 2, 1, 1)
        corner = there.new_tensor([left + 0.5, top + 0.5]).view(1, 2, 1, 1)
        query = (pixel_grid(height, width, there) + corner) * shrink - 0.5
        return sample_at(there, query.expand(there.shape[0], -1, -1, -1)) / shrink.repeat(1, 2, 1, 1)

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        tensors = (*vars(self).values(), *self._maps, *(large.picture for large in self._large.values()))
        return sum(v.nbytes for v in tensors if isinstance(v, Tensor)) + self._flows.nbytes()


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
        self.flow = FlowEstimator(config.levels, config.hidden, config.radius)
        inputs = 2 * config.levels[0] + config.hidden + 3 + 3 + 2 + 2 + 4
        self.fuse = nn.Conv2d(inputs, config.width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(config.width) for _ in range(config.blocks)))
        self.flow_out = nn.Conv2d(config.width, 2, 3, padding=1)
        self.decoder = Decoder(config)
        start_small(self.flow_out)

    @classmethod
    def recognises(cls, shapes: Shapes) -> bool:
        """See `Network.recognises`."""
        return any(name.startswith("pyramid.reduce.") for name in shapes)

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, declared: Mapping[str, object]) -> WarpINRConfig:
        """See `Network.config_from_shapes`; nothing needs declaring."""
        if declared:
            raise ModelError(f"setting {sorted(declared)[0]!r} is not known to {cls.architecture}")

        def channels(name: str, axis: int = 0) -> int:
            if name not in shapes or len(shapes[name]) != 4:
                raise ModelError(f"tensor {name} is missing or misshapen")
            return shapes[name][axis]

        count = sum(name.startswith("pyramid.reduce.") and name.endswith(".weight") for name in shapes)
        levels = tuple(channels(f"pyramid.reduce.{level}.weight") for level in range(count))
        # the coarsest flow step sees both feature maps, the correlation and the displacement it suggests, nothing else
        window = channels("flow.steps.0.conv1.weight", 1) - 2 * levels[-1] - 2
        return WarpINRConfig(
            levels=levels,
            hidden=channels("flow.steps.0.conv3.weight"),
            radius=(math.isqrt(max(window, 0)) - 1) // 2 if window > 0 else 0,
            width=channels("fuse.weight"),
            blocks=sum(name.startswith("trunk.") and name.endswith(".conv1.weight") for name in shapes),
            lattice=channels("decoder.time_flow.weight", 1),
            rounds=sum(
                name.startswith("decoder.backprojection.") and name.endswith(".gather.weight") for name in shapes
            ),
        )

    def declared(self) -> dict[str, str | int | float | bool]:
        """See `Network.declared`: every setting shows in the shapes."""
        return {}

    def encode(self, frame0: Tensor, frame1: Tensor) -> WarpField:
        """See `Network.encode`."""
        return self.encode_with_flows(frame0, frame1)[0]

    def encode_with_flows(self, frame0: Tensor, frame1: Tensor) -> tuple[WarpField, list[Tensor]]:
        """Encode, and return the estimated flows of all levels too, coarsest first, as training supervises them.

        Each flow is (2B, 2, h', w'): frame 0 → 1 in the first half of the batch, frame 1 → 0 in the second.
        """
        weight = self.fuse.weight
        frame0, frame1 = (f.to(device=weight.device, dtype=weight.dtype) for f in (frame0, frame1))
        height, width = frame0.shape[-2:]
        batch = frame0.shape[0]
        exposure = Exposure.between(frame0, frame1)
        this = self._both(*exposure.alike(frame0, frame1))
        levels, flows, hidden = self._motion(this)
        still = Stillness.between(frame0, frame1)
        reach = _unit(torch.cat((still.reach, still.reach)), self._multiple)
        flow = flows[-1] * (1 - at_rest(reach, flows[-1]))
        told = _told((frame0, frame1), flow, still, exposure)
        error = (this - warp(this.roll(batch, 0), flow)).abs() * CONTRAST
        other = warp(levels[0].roll(batch, 0), flow)
        # Nothing, except where something is hidden. Where there is nothing to see, as in black frames, it can lead
        # anywhere, farther than in anything that was learned from, and would spoil all that follows.
        round_trip = (flow + warp(flow.roll(batch, 0), flow)).clamp(-LOST, LOST)
        phase = flow * (2 * math.pi)  # how far between two pixels the other frame's content lies
        motion = torch.cat((flow / 8, round_trip / 8, phase.sin(), phase.cos()), 1).to(this.dtype)
        x = torch.cat((levels[0], other, hidden, this - 0.5, error, motion), 1)
        x = F.leaky_relu(self.fuse(x), SLOPE)
        maps = x + self.trunk(x)
        flow = flow + self.flow_out(maps).float()
        flows.append(flow)
        flow = flow * (1 - at_rest(reach, flow))
        maps, flow = maps[..., :height, :width], flow[..., :height, :width]
        field = WarpField(
            self.decoder,
            frame0,
            frame1,
            (maps[:batch].contiguous(), maps[batch:].contiguous()),
            (flow[:batch].contiguous(), flow[batch:].contiguous()),
            told,
            still,
            exposure,
        )
        return field, flows

    def flows(self, frame0: Tensor, frame1: Tensor) -> Flows:
        """See `Network.flows`."""
        weight = self.fuse.weight
        frame0, frame1 = (f.to(device=weight.device, dtype=weight.dtype) for f in (frame0, frame1))
        exposure = Exposure.between(frame0, frame1)
        flow = self._motion(self._both(*exposure.alike(frame0, frame1)))[1][-1]
        still = Stillness.between(frame0, frame1)
        reach = _unit(torch.cat((still.reach, still.reach)), self._multiple)
        return _told((frame0, frame1), flow * (1 - at_rest(reach, flow)), still, exposure)

    def flow_levels(self, frame0: Tensor, frame1: Tensor) -> list[Tensor]:
        """The flows of `encode_with_flows` without what follows them, for training the motion alone."""
        return self._motion(self._both(*Exposure.between(frame0, frame1).alike(frame0, frame1)))[1]

    @property
    def _multiple(self) -> int:
        """Of what frames' sides must be, for every level of the pyramid to be half as large as the one before."""
        return 1 << len(self.config.levels) - 1

    def _both(self, frame0: Tensor, frame1: Tensor) -> Tensor:
        """Both frames, and so both directions of everything between them, as one batch of whole multiples."""
        return _unit(torch.cat((frame0, frame1)), self._multiple).contiguous(memory_format=torch.channels_last)

    def _motion(self, this: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        def other(both: Tensor) -> Tensor:
            return both.roll(this.shape[0] // 2, 0)

        levels = self.pyramid(this - 0.5)
        flows, hidden = self.flow(levels, [other(level) for level in levels])
        half = F.avg_pool2d(this, 2)
        flow = reconsider(flows[-1], half, other(half))
        flow = enlarge(sharpen(flow, half, other(half), reach=6, damping=1e-3))
        flow = reconsider(flow, this, other(this))
        flow = settle(sharpen(flow, this, other(this), reach=3, damping=3e-3))
        return levels, [*flows, flow], hidden
