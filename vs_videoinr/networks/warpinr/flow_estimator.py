"""Motion between two frames, as a network sees it: a feature pyramid per frame and a coarse-to-fine flow.

Flow is in pixels of the grid it lives on, channels (x, y): `flow01[:, :, y, x]` leads from that pixel of frame 0 to
where its content lies in frame 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks import bands, kernels
from vs_videoinr.networks.fused import fused
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.blocks import (
    FLOW,
    FLOW_SCALE_PX,
    LEAKY_SLOPE,
    RGB,
    ResidualBlock,
    extend,
    init_near_zero,
    pad_to_multiple,
)

#: Of both frames of pairs, side by side: tensors that make (2B, C, h, w) together.
Features = Sequence[Tensor]

PRODUCTS_AT_A_TIME = 1 << 25  # of features, on a GPU: 128 MB

#: Rows around those that are made of features: of a level with its block, and at half size one more, for what the first
#: stage makes of squares, or for the first row of a band, which has none above it at full size.
FULL_SIZE_REACH, HALF_SIZE_REACH = 3, 4

#: Rows around those that a `FlowStep` makes: one of each layer.
STEP_REACH = 4

CORRELATION_SHARPNESS = 20.0  # of the soft maximum over correlations, before training


def upsample_flow(flow: Tensor) -> Tensor:
    """Return a flow (B, 2, h, w) at twice the resolution: twice the pixels, twice their lengths."""
    return F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False) * 2


def other_frame(both: Tensor) -> Tensor:
    """For each frame of a batch of both frames, (2B, …), the one that it is paired with."""
    return both.roll(both.shape[0] // 2, 0)


def upsample_rows(maps: Tensor, top: int, bottom: int) -> Tensor:
    """Return rows from `top` to `bottom` of maps (B, C, h, w) at twice the resolution, bilinear."""
    above, below = max(top // 2 - 1, 0), min(bottom // 2 + 1, maps.shape[-2])
    fine = F.interpolate(maps[..., above:below, :], scale_factor=2, mode="bilinear", align_corners=False)
    return fine[..., top - 2 * above : bottom - 2 * above, :]


def correlate(a: Tensor, b: Tensor, means: Tensor, radius: int) -> Tensor:
    """Cosine of every feature of `a` with the (2·radius+1)² features of `b` around the same place.

    What all features of a frame have in common, their `means`, tells places apart no better than nothing would, and is
    taken off.
    """
    a, b = F.normalize(torch.cat((a, b)) - means, dim=1).chunk(2)
    b = F.pad(b, (radius,) * 4)
    return products_by_place(a, b, radius) if a.device.type == "cpu" else products_by_row(a, b, radius)


def match(correlation: Tensor, sharpness: Tensor, radius: int) -> Tensor:
    """Return the displacement that a correlation alone would choose, (B, 2, h, w).

    A soft maximum of some `sharpness` (1, 1, 1, 1), so that there is flow from step one.
    """
    chance = (correlation * (sharpness * CORRELATION_SHARPNESS)).softmax(1)
    offsets = _offsets(radius, correlation.device).expand(len(chance), -1, -1)
    return torch.bmm(offsets, chance.flatten(2)).view(-1, FLOW, *correlation.shape[2:])


def _correlate_by_torch(a: Tensor, b: Tensor, means: Tensor, sharpness: Tensor, radius: int) -> Tensor:
    """Return what `correlate` and `match` do, one behind the other, (B, (2·radius+1)² + 2, h, w): the kernels' twin."""
    correlation = correlate(a, b, means, radius)
    return torch.cat((correlation, match(correlation, sharpness, radius)), 1)


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
        self.has_full_size = full_size
        channels = (RGB if full_size else RGB * 4, *widths)
        same_size = 1 if full_size else 2  # stages that leave the size as it is
        self.reduce = nn.ModuleList(
            nn.Conv2d(channels[level], width, 3, stride=1 if level < same_size else 2, padding=1)
            for level, width in enumerate(widths)
        )
        self.block = nn.ModuleList(
            ResidualBlock(width) if level or full_size else nn.Identity() for level, width in enumerate(widths)
        )

    def forward(self, frame: Tensor) -> list[Tensor]:
        """(B, 3, h, w) → features of every level, full size first; the others as `from_half_size` returns them."""
        levels = [self.full_size(frame)]
        below = pad_to_multiple(levels[0], 1 << len(self.reduce) - 1)
        for level in range(1, len(self.reduce)):
            below = self._stage(level, below)
            levels.append(below)
        return levels

    def full_size(self, frame: Tensor) -> Tensor:
        """(B, 3, h, w) → features at full size. Nothing is extended: a line along the border would look like a bar."""
        return self._stage(0, frame)

    def from_half_size(self, frame: Tensor) -> list[Tensor]:
        """(B, 3, h, w) → features of every level but full size, whose are let go of band by band.

        They are of a frame that is extended to a whole multiple of the coarsest level's pixels.
        """
        height, width = (-(-side >> len(self.reduce) - 1) << len(self.reduce) - 2 for side in frame.shape[-2:])
        row_bytes = 4 * len(frame) * width * self._numbers_at_half_size()
        rows = bands.bands(height, row_bytes, frame.device, HALF_SIZE_REACH)
        levels = [*bands.in_bands(lambda top, bottom: (self._half_size(frame, top, bottom),), rows)]
        for level in range(2, len(self.reduce)):
            levels.append(self._stage(level, levels[-1]))
        return levels

    def _stage(self, level: int, below: Tensor) -> Tensor:
        features: Tensor = self.block[level](F.leaky_relu(self.reduce[level](below), LEAKY_SLOPE, inplace=True))
        return features

    def _numbers_at_half_size(self) -> int:
        """Numbers that a place at half size takes while its features are made."""
        first, half = (len(next(reduce.parameters())) for reduce in self.reduce[:2])
        places = 4 if self.has_full_size else 1  # of the first stage
        return max(places * 3 * first, places * first + 3 * half)

    def _half_size(self, frame: Tensor, top: int, bottom: int) -> Tensor:
        """Features at half size, rows from `top` to `bottom`."""
        height, multiple = frame.shape[-2], 1 << len(self.reduce) - 1
        whole = -(-height // multiple) * multiple // 2
        first, end = max(top - HALF_SIZE_REACH, 0), min(bottom + HALF_SIZE_REACH, whole)
        start, stop = min(2 * first, height - 1), min(2 * end, height)
        if self.has_full_size:
            above, below = max(start - FULL_SIZE_REACH, 0), min(stop + FULL_SIZE_REACH, height)
            rows = self.full_size(frame[..., above:below, :])[..., start - above : stop - above, :]
        else:
            rows = frame[..., start:stop, :]
        rows = extend(extend(rows, 3, -rows.shape[3] % multiple), 2, 2 * (end - first) - rows.shape[2])
        if not self.has_full_size:
            squares = F.pixel_unshuffle(rows, 2).contiguous(memory_format=torch.channels_last)
            rows = self._stage(0, squares)
        return self._stage(1, rows)[..., top - first : bottom - first, :]


@dataclass(frozen=True)
class StepInputs:
    """What a `FlowStep` is given of frames."""

    features: Tensor  # (B, C, h, w)
    other: Tensor  # of the frames that they are paired with
    flow: Tensor | None  # so far
    hidden: Tensor | None
    means: Tensor | None = None  # of features, see `feature_means`; of a single band they are taken as it is worked on

    def warped(self, top: int, bottom: int) -> Tensor:
        """Rows from `top` to `bottom` of the other features, fetched from where the flow leads if there is one."""
        if self.flow is None:
            return self.other[..., top:bottom, :]
        return warp(self.other, self.flow[..., top:bottom, :], top=top)


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

    def _kernel(self, a: Tensor, b: Tensor) -> kernels.Kernels | None:
        kernel = kernels.kernels_for(a, b, self.sharpness)
        return kernel if self.radius <= kernels.MAX_CORRELATION_RADIUS else None

    def feature_means(self, a: Tensor, b: Tensor) -> Tensor:
        """Return what `correlate_and_match` takes off the features of two frames, (2B, C, 1, 1)."""
        kernel = self._kernel(a, b)
        if kernel is None:
            return torch.cat((a, b)).float().mean((2, 3), keepdim=True)
        batch, channels, height, width = a.shape
        a, b = (features.permute(0, 2, 3, 1).contiguous() for features in (a, b))
        sums, means = a.new_empty(2 * height, channels), a.new_empty(batch, 2, channels)
        job = kernels.Correlate(sums=sums.data_ptr(), height=height, width=width, channels=channels)
        scratch = kernel.scratch_for(job)
        for item in range(batch):
            job.a, job.b, job.means = a[item].data_ptr(), b[item].data_ptr(), means[item].data_ptr()
            kernel.work("correlate_means", job, scratch)
        return means.transpose(0, 1).reshape(2 * batch, channels, 1, 1)

    def correlate_and_match(self, a: Tensor, b: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return the correlation of two frames' features (B, C, h, w), and what `match` makes of it.

        Both by kernels, in C (native/correlation.h) or in Triton, where there is one that can. The features may be a
        band of rows; `means` are of the whole, see `feature_means`.
        """
        kernel = self._kernel(a, b)
        if kernel is None:
            sharpness = self.sharpness.float().view(1, 1, 1, 1)
            both = fused("correlate", _correlate_by_torch, a.float(), b.float(), means, sharpness, self.radius)
            return both[:, :-FLOW], both[:, -FLOW:]
        batch, channels, height, width = a.shape
        a, b = (features.permute(0, 2, 3, 1).contiguous() for features in (a, b))
        means = means.view(2, batch, channels).transpose(0, 1).contiguous()
        correlation = a.new_empty(batch, height, width, (2 * self.radius + 1) ** 2)
        found = a.new_empty(batch, height, width, FLOW)
        job = kernels.Correlate(
            height=height,
            width=width,
            stride=kernels.row_stride(width),
            channels=channels,
            radius=self.radius,
            sharpness=self.sharpness.item() * CORRELATION_SHARPNESS,
        )
        scratch = kernel.scratch_for(job)
        for item in range(batch):
            job.a, job.b, job.means = a[item].data_ptr(), b[item].data_ptr(), means[item].data_ptr()
            job.correlation, job.found = correlation[item].data_ptr(), found[item].data_ptr()
            kernel.work("correlate", job, scratch)
        return correlation.permute(0, 3, 1, 2), found.permute(0, 3, 1, 2)

    def forward(self, features: Features, flow: Tensor | None, hidden: Tensor | None) -> tuple[Tensor, ...]:
        """Return flow and state of this level, (2B, …); where the state is of no use any more, flow alone.

        Args:
            features: Of both frames.
            flow: So far, of this size; None at the coarsest level.
            hidden: State so far, of this size or half of it; None at the coarsest level.
        """
        batch, (height, width) = sum(map(len, features)), features[0].shape[-2:]
        row_bytes = features[0].element_size() * width * self._numbers()
        if self.training or batch * height * row_bytes <= bands.budget(features[0].device):
            both = features[0] if len(features) == 1 else torch.cat(list(features))
            return self._step(StepInputs(both, other_frame(both), flow, hidden), [(0, height)])
        rows = bands.bands(height, row_bytes, features[0].device, STEP_REACH)
        frames = [frame for part in features for frame in part.chunk(len(part))]
        wholes: list[Tensor] = []
        for item, frame in enumerate(frames):
            so_far = (None if maps is None else maps[item : item + 1] for maps in (flow, hidden))
            parts = self._step(StepInputs(frame, frames[item - batch // 2], *so_far), rows)
            wholes = wholes or [bands.empty_like(part, batch, height) for part in parts]
            for whole, part in zip(wholes, parts, strict=True):
                whole[item] = part[0]
        return tuple(wholes)

    def _numbers(self) -> int:
        """Numbers that a place takes while it is worked on: all that is known of it twice, and of two layers."""
        return 2 * (self.conv1.in_channels + self.conv1.out_channels)

    def _step(self, inputs: StepInputs, rows: list[tuple[int, int]]) -> tuple[Tensor, ...]:
        """The same in bands of `rows`, for each frame that there are features of."""
        if self.radius and len(rows) > 1:
            inputs = replace(inputs, means=self._means_in_bands(inputs, rows))
        return bands.in_bands(lambda top, bottom: self._band(inputs, top, bottom), rows)

    def _means_in_bands(self, inputs: StepInputs, rows: list[tuple[int, int]]) -> Tensor:
        """`feature_means` of the whole, for which the other features are warped band by band and let go of."""
        height = inputs.features.shape[-2]
        means: Tensor | None = None
        for top, bottom in rows:
            mean = self.feature_means(inputs.features[..., top:bottom, :], inputs.warped(top, bottom))
            mean = mean * ((bottom - top) / height)
            means = mean if means is None else means + mean
        assert means is not None
        return means

    def _band(self, inputs: StepInputs, top: int, bottom: int) -> tuple[Tensor, ...]:
        above, below = max(top - STEP_REACH, 0), min(bottom + STEP_REACH, inputs.features.shape[-2])
        x, found = self._known(inputs, above, below)
        x = F.leaky_relu(self.conv1(x), LEAKY_SLOPE, inplace=True)
        x = F.leaky_relu(self.conv2(x), LEAKY_SLOPE, inplace=True)
        state = F.leaky_relu(self.conv3(x), LEAKY_SLOPE, inplace=True)
        update = self.flow(state).float()
        if found is not None and not self.refines:
            update = update + found
        if inputs.flow is not None:
            update = inputs.flow[..., above:below, :] + update
        rows = slice(top - above, bottom - above)
        return (update[..., rows, :],) if self.refines else (update[..., rows, :], state[..., rows, :])

    def _known(self, inputs: StepInputs, top: int, bottom: int) -> tuple[Tensor, Tensor | None]:
        """All that is known of rows from `top` to `bottom` side by side, and what correlation would choose.

        By itself, so that its parts are let go of before the layers take as much.
        """
        features, flow, hidden = inputs.features, inputs.flow, inputs.hidden
        height, found = features.shape[-2], None
        above, below = max(top - self.radius, 0), min(bottom + self.radius, height)
        a, b = features[..., above:below, :], inputs.warped(above, below)
        rows = slice(top - above, bottom - above)
        parts = [a[..., rows, :], b[..., rows, :]]
        if flow is not None and hidden is not None:
            whole = hidden.shape[-2] == height
            parts.append((flow[..., top:bottom, :] / FLOW_SCALE_PX).to(a.dtype))
            parts.append(hidden[..., top:bottom, :] if whole else upsample_rows(hidden, top, bottom))
        if self.radius:
            means = self.feature_means(a, b) if inputs.means is None else inputs.means
            correlation, found = (maps[..., rows, :] for maps in self.correlate_and_match(a, b, means))
            parts += [correlation.to(a.dtype), (found / self.radius).to(a.dtype)]
        if a.device.type == "cpu":  # in one layout, or their concatenation and all that follows is slow
            parts = [part.contiguous(memory_format=torch.channels_last) for part in parts]
        return torch.cat(parts, 1), found


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

    def forward(self, levels: Sequence[Features], refine: bool = True) -> list[Tensor]:
        """Return the flows between two frames, coarsest first, down to 1/2 size; without `refine` the last is rough.

        In both directions, (2B, 2, …), as features of both frames are given, from 1/2 size on.
        """
        flows, state = self._run_steps(levels)
        flow = flows[-1]
        if self.finest > 1:
            flow = upsample_flow(flow)
        if refine:
            (flow,) = self.refine(levels[0], flow, state)
        return [*flows, flow]

    def half_size_state(self, levels: Sequence[Features]) -> Tensor:
        """Return the state that has led to the flow at 1/2 size, (2B, hidden, …), where there is a step."""
        return self._run_steps(levels)[1]

    def _run_steps(self, levels: Sequence[Features]) -> tuple[list[Tensor], Tensor]:
        flows: list[Tensor] = []
        flow: Tensor | None = None
        state: Tensor | None = None
        for features, step in zip(reversed(levels[self.finest - 1 :]), self.steps, strict=True):
            flow, state = step(features, None if flow is None else upsample_flow(flow), state)
            flows.append(flow)
        assert state is not None
        return flows, state
