"""Detail that a frame's neighbours saw: iterated back-projection (Irani and Peleg, 1991), and what a network adds.

A low-resolution frame is what the enlarged one would look like if it were reduced. So are its neighbours, of what lies
elsewhere in them by fractions of a pixel: where they do not look so, they say what is missing. Each round compares all
of them with what the enlarged frame predicts, brings what is left over back to its places, and changes the detail by
it. A few rounds of that alone help already; the network learns whom to trust where, and how to go on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.model.detail import FINE, Detail
from vs_videoinr.model.interrupt import between_layers
from vs_videoinr.model.motion import SLOPE, ResidualBlock, pixel_grid, sample_at, warp
from vs_videoinr.model.sampling import resize
from vs_videoinr.model.turns import turned, turned_ways

CONTRAST = 8.0  # brings differences of colours to the size of features
MOST = 0.06  # of what is left over, at most, is believed
LOST = 4.0  # pixels: a way there and back that ends farther off than this tells no more than that it is lost
WEIGHT = 0.5  # of a neighbour that is trusted, where the frame itself has 1
BAND = 1 << 20  # fine places, about, that are worked on at a time: what is said of all of them takes gigabytes


@dataclass(frozen=True)
class Neighbour:
    """Another frame (B, 3, h, w), and the ways to it and back (B, 2, h, w), low-resolution pixels."""

    frame: Tensor
    there: Tensor  # from the frame that is enlarged
    back: Tensor
    known: Tensor  # (B, 1, h, w) bool: where it can have something to say

    def turned(self, turn: int) -> Neighbour:
        """The same where all frames are turned."""
        there, back = turned_ways(self.there, turn), turned_ways(self.back, turn)
        return Neighbour(turned(self.frame, turn), there, back, turned(self.known, turn))


@dataclass(frozen=True)
class _Seen:
    """A neighbour as every round needs it."""

    frame: Tensor  # (B, 3, h, w)
    where: Tensor  # (B, 2, h, w): where its pixels lie in the enlarged frame
    there: Tensor  # (B, 2, h, w): the way to it, low-resolution pixels
    trust: Tensor  # (B, 1, h, w)


def _reduction() -> Tensor:
    """What an antialiased bicubic reduction (a = -0.5) to a FINE-th weighs the fine places around one with."""
    x = torch.arange(1 - 2 * FINE, 2 * FINE).abs() / FINE
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    weights = torch.where(x < 1, near, far)
    return weights / weights.sum()


def _bands(frame: Tensor) -> Iterator[tuple[int, int]]:
    """Rows of a frame (B, 3, h, w), from and to, of which the enlarged frame is worked on at a time."""
    batch, _, height, width = frame.shape
    rows = max(1, BAND // (batch * FINE**2 * width))
    for top in range(0, height, rows):
        between_layers()
        yield top, min(top + rows, height)


def _reduced(fine: Tensor, top: int, bottom: int) -> Tensor:
    """What reducing would make of (B, 3, H, W) around every place of the rows from `top` to `bottom`."""
    weights = _reduction().to(fine)
    reach, planes = len(weights) // 2, fine.shape[1]
    above, below = max(top - reach, 0), min(bottom + reach, fine.shape[-2])
    missing = (reach, reach, above - (top - reach), bottom + reach - below)
    # convolutions of single planes are several times faster in this layout
    band = F.pad(fine[..., above:below, :], missing, mode="replicate").contiguous(memory_format=torch.channels_last)
    with torch.autocast(fine.device.type, enabled=False):  # what is left over is finer than half precision
        band = F.conv2d(band, weights.view(1, 1, 1, -1).expand(planes, -1, -1, -1), groups=planes)
        return F.conv2d(band, weights.view(1, 1, -1, 1).expand(planes, -1, -1, -1), groups=planes)


def _enlarged(coarse: Tensor) -> Tensor:
    return resize(coarse, (FINE * coarse.shape[-2], FINE * coarse.shape[-1]))


def _spread(coarse: Tensor, top: int, bottom: int) -> Tensor:
    """Rows from `top` to `bottom` of (B, C, h, w), for all fine places of theirs."""
    above, below = max(top - 1, 0), min(bottom + 1, coarse.shape[-2])  # what the outermost are interpolated with
    fine = F.interpolate(coarse[..., above:below, :], scale_factor=FINE, mode="bilinear", align_corners=False)
    return fine[..., FINE * (top - above) : FINE * (bottom - above), :]


def _believed(left: Tensor) -> Tensor:
    """What is left over, but where it is so much that something else is wrong: of that MOST, of the same sign."""
    return left * (MOST / left.abs().clamp_min(MOST))


class Round(nn.Module):
    """What is changed in one round: feature maps (B, width, h, w) by what was left over, and detail by the maps."""

    def __init__(self, width: int, patterns: int) -> None:
        super().__init__()
        self.gather = nn.Conv2d(width + 3 + 3 * FINE**2 + 1, width, 3, padding=1)
        self.block = ResidualBlock(width)
        self.change = Detail(width, patterns)
        self.pace = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor, own: Tensor, others: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
        """What the frame `own` (B, 3, h, w) and `others` (B, 3, FINE·h, FINE·w) say → maps, and a change of the detail.

        `trust` (B, 1, h, w) is what all others were weighed with together.
        """
        # what the block need not have is large, and gets no name that would keep it
        maps = self.block(maps + F.leaky_relu(self.gather(self._told(maps, own, others, trust)), SLOPE))
        return maps, self.pace * (_enlarged(own) + others) + F.pixel_shuffle(self.change(maps).float(), FINE)

    def _told(self, maps: Tensor, own: Tensor, others: Tensor, trust: Tensor) -> Tensor:
        """All that `forward` is given, side by side on the low-resolution grid."""
        parts = own * CONTRAST, F.pixel_unshuffle(others * CONTRAST, FINE), trust
        return torch.cat((maps, *(part.to(maps.dtype) for part in parts)), 1)


class BackProjection(nn.Module):
    """Detail of a frame, changed by what its neighbours say."""

    def __init__(self, width: int, rounds: int, patterns: int) -> None:
        """With feature maps of `width` channels, `rounds` of changes, which are mixed from `patterns`."""
        super().__init__()
        self.clues = nn.Conv2d(3 + 3 + 2 + 2, 16, 3, padding=1)
        self.trust = nn.Conv2d(16, 1, 3, padding=1)
        self.rounds = nn.ModuleList(Round(width, patterns) for _ in range(rounds))
        assert self.trust.bias is not None
        nn.init.constant_(self.trust.bias, 1.0)  # until it knows better it believes

    def improve(self, frame: Tensor, detail: Tensor, maps: Tensor, neighbours: Sequence[Neighbour]) -> Tensor:
        """Improve `detail` (B, 3·FINE², h, w) of a frame (B, 3, h, w) with feature `maps` (B, width, h, w).

        The result is float32 (B, 3, FINE·h, FINE·w). Neighbours are nothing but added up: their order does not matter.
        """
        frame = frame.float()
        detail = F.pixel_shuffle(detail.float(), FINE)
        seen = [self._seen(frame, neighbour) for neighbour in neighbours]
        trust = sum((one.trust for one in seen), torch.zeros_like(frame[:, :1]))
        for change in self.rounds:
            between_layers()
            fine = _enlarged(frame) + detail
            own = _believed(frame - resize(fine, (frame.shape[-2], frame.shape[-1])))
            others = self._left(fine, seen, trust) if seen else torch.zeros_like(detail)
            del fine  # not needed while the round computes, and large
            maps, more = change(maps, own / (1 + trust), others, trust)
            detail = detail + more
            del more
        return detail

    def _left(self, fine: Tensor, seen: Sequence[_Seen], trust: Tensor) -> Tensor:
        """What the `fine` frame (B, 3, FINE·h, FINE·w) leaves over of neighbours, at its places; `trust` is of all."""
        frame = seen[0].frame
        around = torch.cat([_reduced(fine, FINE * top, FINE * bottom) for top, bottom in _bands(frame)], 2)
        left = []
        for one in seen:
            between_layers()
            left.append(_believed(one.frame - sample_at(around, one.where, "bicubic")))
        del around
        parts = []
        for top, bottom in _bands(frame):
            size = FINE * (bottom - top), fine.shape[-1]
            places = (pixel_grid(*size, fine) + fine.new_tensor([0, FINE * top]).view(1, 2, 1, 1) + 0.5) / FINE - 0.5
            part = fine.new_zeros(*fine.shape[:2], *size)
            for one, what in zip(seen, left, strict=True):
                where = places + _spread(one.there, top, bottom)
                part = part + _spread(one.trust, top, bottom) * sample_at(what, where, "bicubic")
            parts.append(part / (1 + _spread(trust, top, bottom)))
        return torch.cat(parts, 2)

    def _seen(self, frame: Tensor, neighbour: Neighbour) -> _Seen:
        height, width = frame.shape[-2:]
        other, there, back = neighbour.frame.float(), neighbour.there, neighbour.back
        error = (frame - warp(other, there)) * CONTRAST
        round_trip = (there + warp(back, there)).clamp(-LOST, LOST)
        clues = torch.cat((error, error.abs(), round_trip, round_trip.abs()), 1).to(self.clues.weight.dtype)
        trust = self.trust(F.leaky_relu(self.clues(clues), SLOPE)).float().sigmoid() * (WEIGHT * neighbour.known)
        where = (pixel_grid(height, width, frame) + back + 0.5) * FINE - 0.5
        return _Seen(other, where, there, trust)
