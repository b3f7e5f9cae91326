"""Motion between two frames for `WarpINR`: a feature pyramid per frame and a coarse-to-fine flow in both directions.

Flow is in pixels of the grid it lives on, channels (x, y): `flow01[:, :, y, x]` leads from that pixel of frame 0 to
where its content lies in frame 1. All sampling uses pixel centres (align_corners=False) and the border's colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.model.interrupt import between_layers

SLOPE = 0.1  # of every LeakyReLU
SPREAD = 4  # pixels between a place and those whose motion it may take over
DOUBT = 0.2  # by how large a share that must fit better
NOISE = 0.5, 0.2  # pixels by which both directions differ, and places near by, that are of the same motion
SHARPNESS = 20.0  # of the soft maximum over correlations, before training


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel coordinates (1, 2, height, width), channels (x, y), float32."""
    y = torch.arange(height, device=like.device, dtype=torch.float32)
    x = torch.arange(width, device=like.device, dtype=torch.float32)
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None]


def sample_at(image: Tensor, position: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample (B, C, h, w) at pixel `position`s (B, 2, H, W), channels (x, y); outside lies the border's colour."""
    height, width = image.shape[-2:]
    size = position.new_tensor([width, height])
    grid = (position.permute(0, 2, 3, 1) * 2 + 1) / size - 1
    # float32 throughout: half precision cannot address more than a few hundred pixels.
    return F.grid_sample(image.float(), grid, mode=mode, padding_mode="border", align_corners=False).to(image.dtype)


def warp(image: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Fetch (B, C, h, w) `image` from where `flow` (B, 2, h, w) leads."""
    height, width = flow.shape[-2:]
    return sample_at(image, pixel_grid(height, width, flow) + flow, mode)


def enlarge(flow: Tensor) -> Tensor:
    """Bring a flow to twice the resolution: twice the pixels, twice their lengths."""
    return F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False) * 2


def correlate(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """Cosine of every feature of `a` with the (2·radius+1)² features of `b` around the same place.

    What all features of a frame have in common tells places apart no better than nothing would, and is taken off.
    """
    height, width = a.shape[-2:]
    a, b = (F.normalize(x - x.mean((2, 3), keepdim=True), dim=1) for x in (a.float(), b.float()))
    b = F.pad(b, (radius,) * 4)
    span = range(2 * radius + 1)
    return torch.stack([(a * b[:, :, i : i + height, j : j + width]).sum(1) for i in span for j in span], 1)


def _around(values: Tensor, reach: int) -> Tensor:
    """Means over the square of `reach` pixels around each."""
    side = 2 * reach + 1
    values = F.pad(values, (reach,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(values, (1, side), 1), (side, 1), 1)


def _tent(values: Tensor, reach: int) -> Tensor:
    """Means over the square of `reach` pixels around each, weighed the less the farther off."""
    return _around(_around(values, (reach + 1) // 2), reach // 2)


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences in x and y over five pixels; over three, what is fine would seem less steep than it is."""
    height, width = image.shape[-2:]
    wide = F.pad(image, (2, 2, 2, 2), mode="replicate")
    x = [wide[..., 2:-2, i : i + width] for i in range(5)]
    y = [wide[..., i : i + height, 2:-2] for i in range(5)]
    return tuple((8 * (line[3] - line[1]) - (line[4] - line[0])) / 12 for line in (x, y))  # type: ignore[return-value]


def sharpen(flow: Tensor, a: Tensor, b: Tensor, reach: int, damping: float) -> Tensor:
    """Improve a flow from image `a` to `b` to fractions of a pixel, by what the pictures themselves say.

    Lucas and Kanade's method (1981), three steps of at most a pixel each: the displacement that best explains, in the
    square of `reach` around each pixel, how the images still differ; taken where it does explain more. Images are
    sampled bicubically: what bilinear sampling blurs would be taken for motion. A network that estimates flow is good
    at finding about where something went, and this at saying exactly where. Nothing in it is learned, and the gradient
    passes by it.
    """
    with torch.no_grad():
        better = flow
        a, b = a.float(), b.float()
        slopes_a, seen = _slopes(a), warp(b, flow, "bicubic")
        for _ in range(3):
            between_layers()
            miss = a - seen
            x, y = ((one + other) / 2 for one, other in zip(slopes_a, _slopes(seen), strict=True))
            products = torch.stack([(p * q).sum(1) for p, q in ((x, x), (x, y), (y, y), (x, miss), (y, miss))], 1)
            xx, xy, yy, x_miss, y_miss = _tent(products, reach).unbind(1)
            xx, yy = xx + damping, yy + damping
            step = torch.stack((yy * x_miss - xy * y_miss, xx * y_miss - xy * x_miss), 1)
            step = step / (xx * yy - xy * xy)[:, None]
            step = step / step.square().sum(1, keepdim=True).sqrt().clamp_min(1)
            tried = warp(b, better + step, "bicubic")
            before, after = (_tent(error.square().sum(1, keepdim=True), reach) for error in (miss, a - tried))
            closer = after < before
            better, seen = torch.where(closer, better + step, better), torch.where(closer, tried, seen)
    return flow + (better - flow.detach())


def settle(flow: Tensor) -> Tensor:
    """Even out the noise that is left in the flows (2B, 2, h, w) of pairs, both directions one after the other.

    What the one direction says of a place and what the other does are two estimates of the same, and so are those of
    its neighbours: their mean errs less. Where they differ by more than noise would, they are of different things, and
    stay as they are. Nothing in it is learned, and the gradient passes by it.
    """
    with torch.no_grad():
        settled = flow
        other = -warp(settled.roll(flow.shape[0] // 2, 0), settled)
        settled = settled + (other - settled) / 2 * _near(settled, other, NOISE[0])
        mean = _around(settled, 2)
        settled = torch.where(_near(settled, mean, NOISE[1]), mean, settled)
    return flow + (settled - flow.detach())


def _near(a: Tensor, b: Tensor, distance: float) -> Tensor:
    """Where two flows (B, 2, h, w) differ by less than a `distance` in pixels: (B, 1, h, w)."""
    return (a - b).square().sum(1, keepdim=True) < distance**2


def reconsider(flow: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Let places of a flow from image `a` to `b` move as others SPREAD pixels away do, where that fits better.

    How well a motion fits is how little the images differ along it, on average over the 5x5 pixels around each; what
    is there stays unless another leaves a share of DOUBT less of that. Candidates are those of PatchMatch (Barnes et
    al., 2009), which brings motion up to the edges of what moves. Rest is not one of them, as it is in block
    matching: where a camera pans over patterns that repeat it fits too often. Nothing in it is learned, and the
    gradient passes by it.
    """
    with torch.no_grad():
        a, b = a.float(), b.float()
        height, width = flow.shape[-2:]
        wide = F.pad(flow, (SPREAD,) * 4, mode="replicate")
        corners = ((0, SPREAD), (2 * SPREAD, SPREAD), (SPREAD, 0), (SPREAD, 2 * SPREAD))
        others = [wide[..., top : top + height, left : left + width] for top, left in corners]

        def misfit(motion: Tensor) -> Tensor:
            return _around((a - warp(b, motion)).abs().mean(1, keepdim=True), 2)

        best, least = flow, misfit(flow) * (1 - DOUBT)
        for motion in others:
            between_layers()
            found = misfit(motion)
            best, least = torch.where(found < least, motion, best), torch.minimum(found, least)
    return flow + (best - flow.detach())


def start_small(layer: nn.Conv2d) -> None:
    """Let a layer that adds to something begin by adding little."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        if layer.bias is not None:
            layer.bias.zero_()


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), started close to the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        start_small(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) → the same."""
        result: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return result


def whole(image: Tensor, multiple: int) -> Tensor:
    """Extend an image (B, C, h, w) to whole `multiple`s, to the right and below, by its border."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")


class Pyramid(nn.Module):
    """Features of one frame at full size, 1/2, 1/4, …: one stage per entry of `widths`."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            nn.Conv2d(before, width, 3, stride=1 if level == 0 else 2, padding=1)
            for level, (before, width) in enumerate(zip((3, *widths[:-1]), widths, strict=True))
        )
        self.block = nn.ModuleList(ResidualBlock(width) for width in widths)

    def forward(self, frame: Tensor) -> list[Tensor]:
        """(B, 3, h, w) → features of every level, full size first; those of the others go on below and to the right.

        They are of a frame that is extended to a whole multiple of the coarsest level's pixels. At full size nothing
        is: a line along the border would look like a bar.
        """
        levels = []
        for level, (reduce, block) in enumerate(zip(self.reduce, self.block, strict=True)):
            frame = block(F.leaky_relu(reduce(frame), SLOPE))
            levels.append(frame)
            if level == 0:
                frame = whole(frame, 1 << len(self.reduce) - 1)
        return levels


class FlowStep(nn.Module):
    """Improve the flow at one level of the pyramid and pass a hidden state on to the next finer one."""

    def __init__(self, width: int, hidden: int, radius: int, coarsest: bool, refines: bool = False) -> None:
        """`refines`: the flow is about right, so what correlation would choose is looked at, not added to it."""
        super().__init__()
        self.radius, self.refines = radius, refines
        inputs = 2 * width + ((2 * radius + 1) ** 2 + 2 if radius else 0) + (0 if coarsest else 2 + hidden)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, hidden, 3, padding=1)
        self.flow = nn.Conv2d(hidden, 2, 3, padding=1)
        start_small(self.flow)
        if radius:
            self.sharpness = nn.Parameter(torch.ones(()))  # in units that move at the pace of a weight

    def match(self, correlation: Tensor) -> Tensor:
        """The displacement that correlation alone would choose: a soft maximum, so that there is flow from step one."""
        line = torch.arange(-self.radius, self.radius + 1, device=correlation.device, dtype=torch.float32)
        y, x = torch.meshgrid(line, line, indexing="ij")
        chance = (correlation.float() * self.sharpness.float() * SHARPNESS).softmax(1)
        return torch.einsum("bkhw,kc->bchw", chance, torch.stack((x.flatten(), y.flatten()), 1))

    def forward(self, a: Tensor, b: Tensor, flow: Tensor | None, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both frames' features, flow and state so far (None at the coarsest level) → flow and state of this level."""
        if flow is None or hidden is None:
            parts = [a, b]
        else:
            b = warp(b, flow)
            parts = [a, b, (flow / 8).to(a.dtype), hidden]
        found = None
        if self.radius:
            correlation = correlate(a, b, self.radius)
            found = self.match(correlation)
            parts += [correlation.to(a.dtype), (found / self.radius).to(a.dtype)]
        x = F.leaky_relu(self.conv1(torch.cat(parts, 1)), SLOPE)
        x = F.leaky_relu(self.conv2(x), SLOPE)
        state = F.leaky_relu(self.conv3(x), SLOPE)
        update = self.flow(state).float()
        if found is not None and not self.refines:
            update = update + found
        return (update if flow is None else flow + update), state


class FlowEstimator(nn.Module):
    """Coarse-to-fine flow from the coarsest level down to 1/2 size; correlation from 1/4 size upwards.

    What is small and fast is hardly seen there, and looked for once more at 1/2 size. That step, `refine`, changes
    nothing but the last flow, so that it could be learned when all that sees the hidden state had been.
    """

    def __init__(self, widths: Sequence[int], hidden: int, radius: int, refined: bool) -> None:
        super().__init__()
        last = len(widths) - 1
        self.steps = nn.ModuleList(
            FlowStep(widths[level], hidden, radius if level >= 2 else 0, coarsest=level == last)
            for level in range(last, 0, -1)
        )
        self.refine = FlowStep(widths[1], hidden, radius, coarsest=False, refines=True) if refined else None

    def forward(self, a: list[Tensor], b: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the flows from `a` to `b`, coarsest first, down to 1/2 size, and the hidden state there."""
        flows: list[Tensor] = []
        flow: Tensor | None = None
        hidden: Tensor | None = None
        for step, level in zip(self.steps, range(len(a) - 1, 0, -1), strict=True):
            flow, hidden = step(a[level], b[level], flow, hidden)
            flows.append(flow)
            if level > 1:
                flow = enlarge(flow)
                hidden = F.interpolate(hidden, scale_factor=2, mode="bilinear", align_corners=False)
        assert hidden is not None
        return flows, hidden
