"""Motion between two frames, as a network sees it: a feature pyramid per frame and a coarse-to-fine flow.

Flow is in pixels of the grid it lives on, channels (x, y): `flow01[:, :, y, x]` leads from that pixel of frame 0 to
where its content lies in frame 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks import kernels
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.blocks import (
    FLOW,
    FLOW_SCALE_PX,
    LEAKY_SLOPE,
    RGB,
    ResidualBlock,
    init_near_zero,
    pad_to_multiple,
)

PRODUCTS_AT_A_TIME = 1 << 25  # of features, on a GPU: 128 MB
CORRELATION_SHARPNESS = 20.0  # of the soft maximum over correlations, before training


def upsample_flow(flow: Tensor) -> Tensor:
    """Return a flow (B, 2, h, w) at twice the resolution: twice the pixels, twice their lengths."""
    return F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False) * 2


def _upsample(state: Tensor) -> Tensor:
    return F.interpolate(state, scale_factor=2, mode="bilinear", align_corners=False)


def other_frame(both: Tensor) -> Tensor:
    """For each frame of a batch of both frames, (2B, …), the one that it is paired with."""
    return both.roll(both.shape[0] // 2, 0)


def correlate(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """Cosine of every feature of `a` with the (2·radius+1)² features of `b` around the same place.

    What all features of a frame have in common tells places apart no better than nothing would, and is taken off.
    """
    both = torch.cat((a, b)).float()
    a, b = F.normalize(both - both.mean((2, 3), keepdim=True), dim=1).chunk(2)
    b = F.pad(b, (radius,) * 4)
    return products_by_place(a, b, radius) if a.device.type == "cpu" else products_by_row(a, b, radius)


def products_by_place(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """Products of features of `a` (B, C, h, w) and those around in `b` (B, C, h + 2·radius, w + 2·radius).

    One after the other, as it is quickest on a CPU, in pieces that stay in the cache.
    """
    (height, width), span = a.shape[-2:], range(2 * radius + 1)
    return torch.stack([(a * b[:, :, i : i + height, j : j + width]).sum(1) for i in span for j in span], 1)


def products_by_row(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """The same, rows of places at a time, all that fit: a GPU takes as long to begin a small piece of work as to do it.

    No fewer than one.
    """
    side = 2 * radius + 1
    around = b.unfold(2, side, 1).unfold(3, side, 1)  # (B, C, h, w, side, side)
    rows = max(1, PRODUCTS_AT_A_TIME // (a.numel() * side))
    parts = [around[..., top : top + rows, :] for top in range(0, side, rows)]
    return torch.cat([(a[..., None, None] * part).sum(1).flatten(3) for part in parts], 3).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _offsets(radius: int, device: torch.device) -> Tensor:
    """The (2·radius+1)² places around one, row by row: (1, 2, n), x and y."""
    with torch.inference_mode(False):  # or training could not go on with it
        line = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32)
        y, x = torch.meshgrid(line, line, indexing="ij")
        return torch.stack((x.flatten(), y.flatten()))[None]


class Pyramid(nn.Module):
    """Features of one frame at full size, 1/2, 1/4, …: one stage per entry of `widths`.

    Motion needs them from half size on. Where nothing else does (not `full_size`), the first stage looks at squares of
    2x2 pixels instead, for a fraction of the work.
    """

    def __init__(self, widths: Sequence[int], full_size: bool) -> None:
        super().__init__()
        self.full_size = full_size
        channels = (RGB if full_size else RGB * 4, *widths)
        at_full_rate = 1 if full_size else 2  # stages that leave the size as it is
        self.reduce = nn.ModuleList(
            nn.Conv2d(channels[level], width, 3, stride=1 if level < at_full_rate else 2, padding=1)
            for level, width in enumerate(widths)
        )
        self.block = nn.ModuleList(
            ResidualBlock(width) if level or full_size else nn.Identity() for level, width in enumerate(widths)
        )

    def forward(self, frame: Tensor) -> list[Tensor]:
        """(B, 3, h, w) → features of every level; without full size, the first two are of half size.

        They are of a frame that is extended to a whole multiple of the coarsest level's pixels. At full size nothing
        is: a line along the border would look like a bar.
        """
        multiple = 1 << len(self.reduce) - 1
        if not self.full_size:
            frame = F.pixel_unshuffle(pad_to_multiple(frame, multiple), 2).contiguous(memory_format=torch.channels_last)
        levels = []
        for level, (reduce, block) in enumerate(zip(self.reduce, self.block, strict=True)):
            frame = block(F.leaky_relu(reduce(frame), LEAKY_SLOPE))
            levels.append(frame)
            if level == 0 and self.full_size:
                frame = pad_to_multiple(frame, multiple)
        return levels


class FlowStep(nn.Module):
    """Improve the flow at one level of the pyramid and pass a hidden state on to the next finer one."""

    def __init__(self, width: int, hidden: int, radius: int, coarsest: bool, refines: bool = False) -> None:
        """`refines`: the flow is about right, so what correlation would choose is looked at, not added to it."""
        super().__init__()
        self.radius, self.refines = radius, refines
        both_features = 2 * width
        correlation = (2 * radius + 1) ** 2 + FLOW if radius else 0  # and the displacement that it suggests
        so_far = 0 if coarsest else FLOW + hidden
        inputs = both_features + correlation + so_far
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, hidden, 3, padding=1)
        self.flow = nn.Conv2d(hidden, FLOW, 3, padding=1)
        init_near_zero(self.flow)
        if radius:
            self.sharpness = nn.Parameter(torch.ones(()))  # in units that move at the pace of a weight

    def match(self, correlation: Tensor) -> Tensor:
        """The displacement that correlation alone would choose: a soft maximum, so that there is flow from step one."""
        chance = (correlation.float() * (self.sharpness.float() * CORRELATION_SHARPNESS)).softmax(1)
        offsets = _offsets(self.radius, correlation.device).expand(len(chance), -1, -1)
        return torch.bmm(offsets, chance.flatten(2)).view(-1, FLOW, *correlation.shape[2:])

    def correlate_and_match(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the correlation of two frames' features (B, C, h, w), and what `match` makes of it.

        Both by a kernel (native/correlation.h), where there is one that can.
        """
        kernel = kernels.kernels_for(a, b, self.sharpness)
        if kernel is None or self.radius > kernels.MAX_CORRELATION_RADIUS:
            correlation = correlate(a, b, self.radius)
            return correlation, self.match(correlation)
        batch, channels, height, width = a.shape
        a, b = (features.permute(0, 2, 3, 1).contiguous() for features in (a, b))
        sums = a.new_empty(2 * height + 2, channels)
        correlation = a.new_empty(batch, height, width, (2 * self.radius + 1) ** 2)
        found = a.new_empty(batch, height, width, FLOW)
        job = kernels.Correlate(
            sums=sums.data_ptr(),
            height=height,
            width=width,
            stride=kernels.row_stride(width),
            channels=channels,
            radius=self.radius,
            sharpness=self.sharpness.item() * CORRELATION_SHARPNESS,
        )
        scratch = kernel.scratch_for(job)
        for item in range(batch):
            job.a, job.b = a[item].data_ptr(), b[item].data_ptr()
            job.correlation, job.found = correlation[item].data_ptr(), found[item].data_ptr()
            kernel.work("correlate", job, scratch)
        return correlation.permute(0, 3, 1, 2), found.permute(0, 3, 1, 2)

    def forward(self, a: Tensor, b: Tensor, flow: Tensor | None, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both frames' features, flow and state so far (None at the coarsest level) → flow and state of this level."""
        if flow is None or hidden is None:
            parts = [a, b]
        else:
            b = warp(b, flow)
            parts = [a, b, (flow / FLOW_SCALE_PX).to(a.dtype), hidden]
        found = None
        if self.radius:
            correlation, found = self.correlate_and_match(a, b)
            parts += [correlation.to(a.dtype), (found / self.radius).to(a.dtype)]
        if a.device.type == "cpu":  # in one layout, or their concatenation and all that follows is slow
            parts = [part.contiguous(memory_format=torch.channels_last) for part in parts]
        x = F.leaky_relu(self.conv1(torch.cat(parts, 1)), LEAKY_SLOPE)
        x = F.leaky_relu(self.conv2(x), LEAKY_SLOPE)
        state = F.leaky_relu(self.conv3(x), LEAKY_SLOPE)
        update = self.flow(state).float()
        if found is not None and not self.refines:
            update = update + found
        return (update if flow is None else flow + update), state


class FlowEstimator(nn.Module):
    """Coarse-to-fine flow from the coarsest level down to 1/2 size; correlation from 1/4 size upwards, and at the end.

    What is small and fast is hardly seen at 1/4 size, and looked for at 1/2 size by `refine`. Of the steps there is one
    at 1/2 size too where something beside the flow needs their state in that size (`half_size_state`).
    """

    def __init__(self, widths: Sequence[int], hidden: int, radius: int, half_size_state: bool) -> None:
        super().__init__()
        last = len(widths) - 1
        self.finest = 1 if half_size_state else min(2, last)  # level of the last step
        self.steps = nn.ModuleList(
            FlowStep(widths[level], hidden, radius if level >= 2 else 0, coarsest=level == last)
            for level in range(last, self.finest - 1, -1)
        )
        self.refine = FlowStep(widths[1], hidden, radius, coarsest=False, refines=True)

    def forward(self, levels: list[Tensor], refine: bool = True) -> list[Tensor]:
        """Return the flows between two frames, coarsest first, down to 1/2 size; without `refine` the last is rough.

        In both directions, (2B, 2, …), as features of both frames are given, from 1/2 size on.
        """
        flows, state = self._run_steps(levels)
        flow = flows[-1]
        if self.finest > 1:
            flow, state = upsample_flow(flow), _upsample(state)
        if refine:
            flow = self.refine(levels[0], other_frame(levels[0]), flow, state)[0]
        return [*flows, flow]

    def half_size_state(self, levels: list[Tensor]) -> Tensor:
        """Return the state that has led to the flow at 1/2 size, (2B, hidden, …), where there is a step."""
        return self._run_steps(levels)[1]

    def _run_steps(self, levels: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        flows: list[Tensor] = []
        flow: Tensor | None = None
        state: Tensor | None = None
        for features, step in zip(reversed(levels[self.finest - 1 :]), self.steps, strict=True):
            if flow is not None and state is not None:
                flow, state = upsample_flow(flow), _upsample(state)
            flow, state = step(features, other_frame(features), flow, state)
            flows.append(flow)
        assert state is not None
        return flows, state
