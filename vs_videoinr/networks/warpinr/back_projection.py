"""Detail that a frame's neighbours saw: iterated back-projection (Irani and Peleg, 1991), and what a network adds.

A low-resolution frame is what the enlarged one would look like if it were reduced. So are its neighbours, of what lies
elsewhere in them by fractions of a pixel: where they do not look so, they tell what is missing. Each round compares all
of them with what the enlarged frame predicts, brings the residuals back to their places, and changes the detail by
them. A few rounds of that alone help already; the network learns whom to trust where, and how to go on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks.cancellation import between_layers
from vs_videoinr.networks.sampling import pixel_grid, resize_bicubic, sample_at, warp
from vs_videoinr.networks.warpinr.blocks import COLOUR_GAIN, FLOW, LEAKY_SLOPE, RGB, ResidualBlock
from vs_videoinr.networks.warpinr.clues import ROUND_TRIP_LIMIT_PX
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE, ResidualDetail

RESIDUAL_LIMIT = 0.06  # of brightness: what differs by more was not predicted wrongly, something else is wrong
NEIGHBOUR_WEIGHT = 0.5  # of a neighbour that is trusted, where the frame itself has 1
TRUST_CHANNELS = 16
BAND_PIXELS = 1 << 20  # fine places, about, that are worked on at a time: what is said of all of them takes gigabytes


@dataclass(frozen=True)
class TrackedNeighbour:
    """A neighbour as every round needs it.

    Attributes:
        frame: (B, 3, h, w).
        position: (B, 2, h, w): where its pixels lie in the enlarged frame, in pixels of that.
        flow_to: (B, 2, h, w): from the frame that is enlarged, low-resolution pixels.
        trust: (B, 1, h, w).
    """

    frame: Tensor
    position: Tensor
    flow_to: Tensor
    trust: Tensor


@lru_cache(maxsize=2)
def _reduction_kernel(device: torch.device) -> Tensor:
    """The weights of an antialiased bicubic reduction (a = -0.5) to a DETAIL_SCALE-th."""
    with torch.inference_mode(False):  # or training could not go on with it
        x = torch.arange(1 - 2 * DETAIL_SCALE, 2 * DETAIL_SCALE, device=device).abs() / DETAIL_SCALE
        near, far = (1.5 * x - 2.5) * x**2 + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        weights = torch.where(x < 1, near, far)
        return weights / weights.sum()


def _bands(frame: Tensor) -> Iterator[tuple[int, int]]:
    """Rows of a frame (B, 3, h, w), from and to, of which the enlarged frame is worked on at a time."""
    batch, _, height, width = frame.shape
    rows = max(1, BAND_PIXELS // (batch * DETAIL_SCALE**2 * width))
    for top in range(0, height, rows):
        between_layers()
        yield top, min(top + rows, height)


def _reduce_around(fine: Tensor, top: int, bottom: int) -> Tensor:
    """What reducing would make of (B, 3, H, W) around every place of the rows from `top` to `bottom`."""
    weights = _reduction_kernel(fine.device)
    reach, planes = len(weights) // 2, fine.shape[1]
    above, below = max(top - reach, 0), min(bottom + reach, fine.shape[-2])
    missing = (reach, reach, above - (top - reach), bottom + reach - below)
    # convolutions of single planes are several times faster in this layout
    band = F.pad(fine[..., above:below, :], missing, mode="replicate").contiguous(memory_format=torch.channels_last)
    with torch.autocast(fine.device.type, enabled=False):  # residuals are finer than half precision
        band = F.conv2d(band, weights.view(1, 1, 1, -1).expand(planes, -1, -1, -1), groups=planes)
        return F.conv2d(band, weights.view(1, 1, -1, 1).expand(planes, -1, -1, -1), groups=planes)


def _enlarge(coarse: Tensor) -> Tensor:
    return resize_bicubic(coarse, (DETAIL_SCALE * coarse.shape[-2], DETAIL_SCALE * coarse.shape[-1]))


def _spread(coarse: Tensor, top: int, bottom: int) -> Tensor:
    """Rows from `top` to `bottom` of (B, C, h, w), for all fine places of theirs."""
    above, below = max(top - 1, 0), min(bottom + 1, coarse.shape[-2])  # what the outermost are interpolated with
    fine = F.interpolate(coarse[..., above:below, :], scale_factor=DETAIL_SCALE, mode="bilinear", align_corners=False)
    return fine[..., DETAIL_SCALE * (top - above) : DETAIL_SCALE * (bottom - above), :]


def _clamp(residual: Tensor) -> Tensor:
    """A residual of at most RESIDUAL_LIMIT, and where it is more, the less the more it is: of the same sign."""
    return residual * (RESIDUAL_LIMIT / residual.abs().clamp_min(RESIDUAL_LIMIT))


class Round(nn.Module):
    """One round: feature maps (B, width, h, w) changed by residuals, and detail changed by the maps."""

    def __init__(self, width: int, patterns: int) -> None:
        super().__init__()
        inputs = width + RGB + RGB * DETAIL_SCALE**2 + 1  # maps, own residual, the neighbours', and their trust
        self.gather = nn.Conv2d(inputs, width, 3, padding=1)
        self.block = ResidualBlock(width)
        self.change = ResidualDetail(width, patterns)
        self.pace = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor, own: Tensor, others: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed maps, and by what the detail changes.

        Args:
            maps: (B, width, h, w).
            own: Residual of the frame itself, (B, 3, h, w).
            others: Residual of its neighbours, (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w).
            trust: Sum of the weights of all neighbours, (B, 1, h, w).
        """
        # what the block need not have is large, and gets no name that would keep it
        maps = self.block(maps + F.leaky_relu(self.gather(self._inputs(maps, own, others, trust)), LEAKY_SLOPE))
        return maps, self.pace * (_enlarge(own) + others) + F.pixel_shuffle(self.change(maps).float(), DETAIL_SCALE)

    def _inputs(self, maps: Tensor, own: Tensor, others: Tensor, trust: Tensor) -> Tensor:
        """All that `forward` is given, side by side on the low-resolution grid."""
        parts = own * COLOUR_GAIN, F.pixel_unshuffle(others * COLOUR_GAIN, DETAIL_SCALE), trust
        return torch.cat((maps, *(part.to(maps.dtype) for part in parts)), 1)


class BackProjection(nn.Module):
    """Detail of a frame, changed by what its neighbours show."""

    def __init__(self, width: int, rounds: int, patterns: int) -> None:
        """With feature maps of `width` channels, `rounds` of changes, which are mixed from `patterns`."""
        super().__init__()
        self.clues = nn.Conv2d(RGB + RGB + FLOW + FLOW, TRUST_CHANNELS, 3, padding=1)
        self.trust = nn.Conv2d(TRUST_CHANNELS, 1, 3, padding=1)
        self.rounds = nn.ModuleList(Round(width, patterns) for _ in range(rounds))
        assert self.trust.bias is not None
        nn.init.constant_(self.trust.bias, 1.0)  # until it knows better it trusts

    def improve(self, frame: Tensor, detail: Tensor, maps: Tensor, neighbours: Sequence[Neighbour]) -> Tensor:
        """Return the detail of a frame, float32 (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w).

        Neighbours are nothing but added up: their order does not matter.

        Args:
            frame: (B, 3, h, w).
            detail: What the network predicts of it alone, (B, 3·DETAIL_SCALE², h, w).
            maps: Its feature maps, (B, width, h, w).
            neighbours: Other frames that show something of it.
        """
        frame = frame.float()
        detail = F.pixel_shuffle(detail.float(), DETAIL_SCALE)
        tracked = [self._track(frame, neighbour) for neighbour in neighbours]
        trust = sum((one.trust for one in tracked), torch.zeros_like(frame[:, :1]))
        for change in self.rounds:
            between_layers()
            fine = _enlarge(frame) + detail
            own = _clamp(frame - resize_bicubic(fine, (frame.shape[-2], frame.shape[-1])))
            others = self._neighbour_residual(fine, tracked, trust) if tracked else torch.zeros_like(detail)
            del fine  # not needed while the round computes, and large
            maps, more = change(maps, own / (1 + trust), others, trust)
            detail = detail + more
            del more
        return detail

    def _neighbour_residual(self, fine: Tensor, tracked: Sequence[TrackedNeighbour], trust: Tensor) -> Tensor:
        """What neighbours show that the `fine` frame (B, 3, H, W) does not predict, at its places.

        `trust` is the sum of all of theirs.
        """
        frame = tracked[0].frame
        reduced = torch.cat(
            [_reduce_around(fine, DETAIL_SCALE * top, DETAIL_SCALE * bottom) for top, bottom in _bands(frame)], 2
        )
        residuals = []
        for one in tracked:
            between_layers()
            residuals.append(_clamp(one.frame - sample_at(reduced, one.position, "bicubic")))
        del reduced
        parts = []
        for top, bottom in _bands(frame):
            size = DETAIL_SCALE * (bottom - top), fine.shape[-1]
            places = (pixel_grid(*size, fine, DETAIL_SCALE * top) + 0.5) / DETAIL_SCALE - 0.5
            part = fine.new_zeros(*fine.shape[:2], *size)
            for one, residual in zip(tracked, residuals, strict=True):
                position = places + _spread(one.flow_to, top, bottom)
                part = part + _spread(one.trust, top, bottom) * sample_at(residual, position, "bicubic")
            parts.append(part / (1 + _spread(trust, top, bottom)))
        return torch.cat(parts, 2)

    def _track(self, frame: Tensor, neighbour: Neighbour) -> TrackedNeighbour:
        height, width = frame.shape[-2:]
        other, flow_to, flow_from = neighbour.frame.float(), neighbour.flow_to, neighbour.flow_from
        error = (frame - warp(other, flow_to)) * COLOUR_GAIN
        round_trip = (flow_to + warp(flow_from, flow_to)).clamp(-ROUND_TRIP_LIMIT_PX, ROUND_TRIP_LIMIT_PX)
        clues = torch.cat((error, error.abs(), round_trip, round_trip.abs()), 1).to(self.clues.weight.dtype)
        trust = self.trust(F.leaky_relu(self.clues(clues), LEAKY_SLOPE)).float().sigmoid()
        trust = trust * (NEIGHBOUR_WEIGHT * neighbour.informative)
        position = (pixel_grid(height, width, frame) + flow_from + 0.5) * DETAIL_SCALE - 0.5
        return TrackedNeighbour(other, position, flow_to, trust)
