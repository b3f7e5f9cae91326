"""WarpINR: the declared variant of VideoINR that our own models use.

It keeps the paper's plan (encode a pair once; then a space-time coordinate is led by a predicted flow to both frames,
features are sampled there and a sine network turns them into RGB) and changes what makes it slow to learn and to run:

* motion comes from a coarse-to-fine flow between the frames, estimated once per pair and then made exact by what the
  pictures themselves say (`motion.py`);
* the result is a difference from the two frames' bicubic enlargements, warped and blended with occlusion weights;
* the flow at time t is found on the low-resolution grid, and the decoder sees each frame's features by themselves
  before they are blended with the same weights; where nothing changes nothing moves, so a still picture stays still;
* sampling uses one consistent grid (pixel centres) and border padding everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.errors import ModelError
from vs_videoinr.model.base import Network, Shapes, VideoField
from vs_videoinr.model.motion import (
    SLOPE,
    FlowEstimator,
    Pyramid,
    ResidualBlock,
    enlarge,
    pixel_grid,
    sample_at,
    sharpen,
    start_small,
    warp,
)

STILL = 0.5 / 255  # two frames that differ by less in a pixel are taken to rest there
EDGES = 8.0  # brings a picture's differences from its own blur to the size of features
CHUNK = 1 << 16  # output pixels decoded at a time, which bounds the memory that sampling takes


@dataclass(frozen=True)
class WarpINRConfig:
    """Sizes of a `WarpINR`; every one of them can be read off a checkpoint's shapes."""

    levels: tuple[int, ...] = (32, 32, 48, 64, 64)  # channels of the frame pyramid, full size first
    hidden: int = 32  # state passed down the flow estimator
    radius: int = 3  # of the correlation, in pixels of its level
    width: int = 48  # channels of the feature maps
    blocks: int = 6  # residual blocks of the trunk
    lattice: int = 24  # channels of the network that finds the flow at time t
    decoder: int = 48  # width of the sine layers


def _unit(frame: Tensor, multiple: int) -> Tensor:
    """Extend a frame to whole `multiple`s, to the right and below, by its border."""
    height, width = frame.shape[-2:]
    return F.pad(frame, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def reach_of_rest(frame0: Tensor, frame1: Tensor) -> Tensor:
    """How far around each pixel nothing changes between the frames: (B, 1, h, w), one of 0, 1, 4, 16, infinity."""
    change = (frame0 - frame1).abs().amax(1, keepdim=True).float()
    rest = torch.where(change.amax((2, 3), keepdim=True) < STILL, math.inf, torch.zeros_like(change))
    for reach in (1, 4, 16):
        # a square's maximum is a row's maximum of columns' maxima
        row = F.max_pool2d(change, (1, 2 * reach + 1), stride=1, padding=(0, reach))
        square = F.max_pool2d(row, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
        rest = torch.where(square < STILL, rest.clamp_min(reach), rest)
    return rest


def settle(flow: Tensor, rest: Tensor, motion: Tensor) -> Tensor:
    """Take away a flow where nothing changes as far around as `motion` leads.

    A still picture stays exactly still, while what hurries across it between the frames keeps its longer motion.
    """
    # Nothing is learned through the gate itself: the length of no motion at all has no gradient.
    within = (rest + 1 - motion.detach().square().sum(1, keepdim=True).sqrt()).clamp(0, 1)
    return flow * (1 - within * (rest > 0))


class Decoder(nn.Module):
    """Feature maps and flows of a pair → RGB at time t (the paper's TemporalINR and decoder)."""

    def __init__(self, config: WarpINRConfig) -> None:
        super().__init__()
        lattice, width = config.lattice, config.decoder
        # TemporalINR: applied to the maps before they are warped (sampling and a linear layer commute).
        self.time0 = nn.Conv2d(config.width, lattice, 1)
        self.time1 = nn.Conv2d(config.width, lattice, 1, bias=False)
        self.time_motion = nn.Conv2d(5, lattice, 1, bias=False)
        self.time_conv = nn.Conv2d(lattice, lattice, 3, padding=1)
        self.time_out = nn.Conv2d(lattice, 5, 3, padding=1)
        # decoder: amplitudes, again from the maps before they are sampled, times sines of the place in the pixel
        self.amplitude = nn.Conv2d(config.width, width, 1)
        self.edges = nn.Conv2d(3, width, 5, padding=2, padding_mode="replicate", bias=False)
        self.phase = nn.Conv2d(4, width, 1)
        self.cell = nn.Conv2d(2, width, 1)
        self.detail = nn.Conv2d(width, 3, 1, bias=False)
        self.mix = nn.Conv2d(2 * width, width, 1)
        self.rgb = nn.Conv2d(width, 3, 1)
        with torch.no_grad():
            # SIREN's initialisation with its frequency inside the weights.
            for layer in (self.phase, self.mix):
                bound = math.sqrt(6 / layer.in_channels)
                layer.weight.uniform_(-bound, bound)
            # how much of a feature there is at a pixel size: the same at all, to begin with
            for parameter, value in zip(self.cell.parameters(), (0.0, 1.0), strict=True):
                parameter.fill_(value)
        start_small(self.time_out)
        start_small(self.detail)
        start_small(self.rgb)

    def lattice(self, field: WarpField, t: float) -> Tensor:
        """Return flow to frame 0 (x, y), to frame 1 (x, y) and the occlusion logit at time `t`: (B, 5, h, w)."""
        flow01, flow10 = field.flow01, field.flow10
        # A pixel at time t was led here by the motion that its source pixel has: v(x) = flow01(x - t·v). Solved by
        # iteration, once for what frame 0 shows and once for what frame 1 shows.
        va = vb = (1 - t) * flow01 - t * flow10
        for _ in range(3):
            va = warp(flow01, -t * va)
            vb = -warp(flow10, (1 - t) * vb)
        motion = torch.cat((va / 8, vb / 8, torch.full_like(va[:, :1], t)), 1).to(field.time0.dtype)
        x = warp(field.time0, -t * va) + warp(field.time1, (1 - t) * vb) + self.time_motion(motion)
        x = F.leaky_relu(self.time_conv(F.leaky_relu(x, SLOPE)), SLOPE)
        change = self.time_out(x).float()
        to0 = settle(va + change[:, :2], field.rest, va)
        to1 = settle(vb + change[:, 2:4], field.rest, vb)
        return torch.cat((-t * to0, (1 - t) * to1, change[:, 4:]), 1)

    def amplitudes(self, frame: Tensor, features: Tensor) -> Tensor:
        """What the sines are multiplied by, (B, width, h, w), from the feature map and straight from the frame's edges.

        The straight way is a linear filter of the frame, which is learned at once and spares the trunk the work.
        """
        mean = F.avg_pool2d(F.pad(frame, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        amplitudes: Tensor = self.amplitude(features) + self.edges((frame - mean) * EDGES)
        return amplitudes

    def look(self, frame: Tensor, amplitudes: Tensor, position: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Sample one frame at `position`: its bicubic colour, and its features as they are at that place in the pixel.

        The features are a local Fourier series: amplitudes that belong to the picture times sines that belong to the
        place. Detail is linear in the amplitudes, which is why it can be learned from nothing.
        """
        colour = sample_at(frame, position, "bicubic")
        angle = 2 * math.pi * position
        phase = self.phase(torch.cat((angle.sin(), angle.cos()), 1).to(amplitudes.dtype))
        return colour, sample_at(amplitudes, position) * torch.sin(phase) * cell

    def decode(self, field: WarpField, lattice: Tensor | None, t: float, query: Tensor, cell: Tensor) -> Tensor:
        """RGB (B, 3, H, W) at the low-resolution pixel positions `query` (1, 2, H, W); no `lattice` at source times."""
        query = query.expand(field.frame0.shape[0], -1, -1, -1)
        cell = self.cell(cell)
        if lattice is None:
            frame, amplitudes = (field.frame0, field.amplitudes0) if t == 0 else (field.frame1, field.amplitudes1)
            colour, h = self.look(frame, amplitudes, query, cell)
            differ = torch.zeros_like(h)
        else:
            there = sample_at(lattice, query)
            colour0, h0 = self.look(field.frame0, field.amplitudes0, query + there[:, 0:2], cell)
            colour1, h1 = self.look(field.frame1, field.amplitudes1, query + there[:, 2:4], cell)
            odds = there[:, 4:].clamp(-12, 12).exp() * (t / (1 - t))
            weight1 = (odds / (1 + odds)).to(h0.dtype)
            weight0 = 1 - weight1
            colour = weight0 * colour0 + weight1 * colour1
            h = weight0 * h0 + weight1 * h1
            differ = 4 * weight0 * weight1 * (h0 - h1).abs()
        result: Tensor = colour + self.detail(h) + self.rgb(torch.sin(self.mix(torch.cat((h, differ), 1))))
        return result.float()


class WarpField(VideoField):
    """A pair of frames encoded by `WarpINR`. Batch size B, low-resolution size (h, w)."""

    def __init__(
        self,
        decoder: Decoder,
        frame0: Tensor,
        frame1: Tensor,
        maps: tuple[Tensor, Tensor],
        flows: tuple[Tensor, Tensor],
    ) -> None:
        self.decoder = decoder
        self.frame0, self.frame1 = frame0, frame1
        self.rest = reach_of_rest(frame0, frame1)
        self.flow01, self.flow10 = (settle(flow, self.rest, flow) for flow in flows)
        # back to the network's own precision: training encodes under autocast and decodes without
        own = frame0.dtype
        self.time0, self.time1 = decoder.time0(maps[0]).to(own), decoder.time1(maps[1]).to(own)
        self.amplitudes0 = decoder.amplitudes(frame0, maps[0]).to(own)
        self.amplitudes1 = decoder.amplitudes(frame1, maps[1]).to(own)

    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.sample`."""
        height, width = size
        rows = max(1, CHUNK // (width * self.frame0.shape[0]))
        lattice = self._lattice(t)
        parts = []
        for row in range(0, height, rows):
            if check is not None:
                check()
            parts.append(self._window(lattice, t, size, (row, 0, min(rows, height - row), width)))
        return torch.cat(parts, 2)

    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.motion`."""
        if check is not None:
            check()
        there = sample_at(
            self.decoder.lattice(self, t)[:, :4],
            self._query(size, (0, 0, *size)).expand(self.frame0.shape[0], -1, -1, -1),
        )
        shape = self.frame0.shape[-2:]
        return there * there.new_tensor([size[1] / shape[1], size[0] / shape[0]] * 2).view(1, 4, 1, 1)

    def sample_window(self, t: float, size: tuple[int, int], window: tuple[int, int, int, int]) -> Tensor:
        """The part (top, left, height, width) of what `sample` returns: what training looks at."""
        return self._window(self._lattice(t), t, size, window)

    def _lattice(self, t: float) -> Tensor | None:
        # At a source time the flow to its frame is nothing and the other frame has no say.
        return None if t in (0, 1) else self.decoder.lattice(self, t)

    def _window(
        self, lattice: Tensor | None, t: float, size: tuple[int, int], window: tuple[int, int, int, int]
    ) -> Tensor:
        step = [low / high for low, high in zip(self.frame0.shape[-2:], size, strict=True)]
        cell = self.amplitudes0.new_tensor([math.log2(s) for s in step]).view(1, 2, 1, 1)
        return self.decoder.decode(self, lattice, t, self._query(size, window), cell)

    def _query(self, size: tuple[int, int], window: tuple[int, int, int, int]) -> Tensor:
        """Where the pixels of a window of a picture of `size` lie in the frames: (1, 2, height, width)."""
        top, left, height, width = window
        step = [low / high for low, high in zip(self.frame0.shape[-2:], size, strict=True)]
        corner = self.flow01.new_tensor([left + 0.5, top + 0.5]).view(1, 2, 1, 1)
        scale = self.flow01.new_tensor(step[::-1]).view(1, 2, 1, 1)
        return (pixel_grid(height, width, scale) + corner) * scale - 0.5

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        return sum(v.nbytes for v in vars(self).values() if isinstance(v, Tensor))


class WarpINR(Network):
    """The variant of VideoINR described at the top of this module."""

    architecture = "warpinr"
    Config = WarpINRConfig
    config: WarpINRConfig

    def __init__(self, config: WarpINRConfig) -> None:
        super().__init__(config)
        self.config = config
        self.pyramid = Pyramid(config.levels)
        self.flow = FlowEstimator(config.levels, config.hidden, config.radius)
        inputs = 2 * config.levels[0] + config.hidden + 3 + 3 + 2
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
            lattice=channels("decoder.time_conv.weight"),
            decoder=channels("decoder.amplitude.weight"),
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
        this = self._both(frame0, frame1)
        levels, flows, hidden = self._motion(this)
        flow = flows[-1]
        error = (this - warp(this.roll(batch, 0), flow)).abs()
        other = warp(levels[0].roll(batch, 0), flow)
        x = torch.cat((levels[0], other, hidden, this - 0.5, error, (flow / 8).to(this.dtype)), 1)
        x = F.leaky_relu(self.fuse(x), SLOPE)
        maps = x + self.trunk(x)
        flow = flow + self.flow_out(maps).float()
        maps, flow = maps[..., :height, :width], flow[..., :height, :width]
        field = WarpField(
            self.decoder,
            frame0,
            frame1,
            (maps[:batch].contiguous(), maps[batch:].contiguous()),
            (flow[:batch].contiguous(), flow[batch:].contiguous()),
        )
        return field, [*flows, flow]

    def flows(self, frame0: Tensor, frame1: Tensor) -> list[Tensor]:
        """The flows of `encode_with_flows` without what follows them, for training the motion alone."""
        return self._motion(self._both(frame0, frame1))[1]

    def _both(self, frame0: Tensor, frame1: Tensor) -> Tensor:
        """Both frames, and so both directions of everything between them, as one batch of whole multiples."""
        multiple = 2 ** (len(self.config.levels) - 1)
        return _unit(torch.cat((frame0, frame1)), multiple).contiguous(memory_format=torch.channels_last)

    def _motion(self, this: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        def other(both: Tensor) -> Tensor:
            return both.roll(this.shape[0] // 2, 0)

        levels = self.pyramid(this - 0.5)
        flows, hidden = self.flow(levels, [other(level) for level in levels])
        half = F.avg_pool2d(this, 2)
        flow = enlarge(sharpen(flows[-1], half, other(half), reach=3, damping=1e-3))
        flow = sharpen(flow, this, other(this), reach=2, damping=3e-3)
        return levels, [*flows, flow], hidden
