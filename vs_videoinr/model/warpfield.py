"""What `WarpINR` makes of a pair of frames, and how that is sampled: the decoder, and the field that uses it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.model.backprojection import CONTRAST, BackProjection, Neighbour
from vs_videoinr.model.base import Flows, VideoField
from vs_videoinr.model.detail import FINE, Detail
from vs_videoinr.model.exposure import Exposure
from vs_videoinr.model.motion import SLOPE, ResidualBlock, pixel_grid, sample_at, start_small, warp
from vs_videoinr.model.sampling import resize
from vs_videoinr.model.stillness import Stillness, at_rest
from vs_videoinr.model.turns import TURNS, turned, turned_back

REPAIR = 0.25  # of what the frames disagree by around a place, at most, is added to what they show there
CHUNK = 1 << 16  # output pixels warped at a time: beside what is kept, sampling takes little, and can be abandoned


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

    def __init__(self, width: int, lattice: int, rounds: int, patterns: int) -> None:
        """For feature maps of `width` channels; `lattice` channels are computed in, `rounds` are of back-projection.

        Detail is mixed from `patterns`.
        """
        super().__init__()
        self.detail = Detail(width, patterns)
        self.backprojection = BackProjection(width, rounds, patterns) if rounds else None
        # Applied to the maps before they are warped (sampling and a linear layer commute).
        self.time0 = nn.Conv2d(width, lattice, 1)
        self.time1 = nn.Conv2d(width, lattice, 1, bias=False)
        self.time_motion = nn.Conv2d(11, lattice, 1, bias=False)
        self.time_trunk = nn.Sequential(ResidualBlock(lattice), ResidualBlock(lattice))
        self.time_flow = nn.Conv2d(lattice, 4, 3, padding=1)
        self.time_fine = nn.Conv2d(lattice, 4 * FINE**2, 3, padding=1)
        for layer in (self.time_flow, self.time_fine):
            start_small(layer)

    def enlarge(self, frame: Tensor, maps: Tensor, neighbours: list[Neighbour]) -> Tensor:
        """What a frame (B, 3, h, w) has in addition to its bicubic enlargement, float32 (B, 3, FINE·h, FINE·w)."""
        if self.backprojection is not None:
            return self.backprojection.improve(frame, self.detail(maps), maps, neighbours)
        return F.pixel_shuffle(self.detail(maps).float(), FINE)

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
        maps_turned: Callable[[int], tuple[Tensor, Tensor]] | None,
    ) -> None:
        """`maps_turned` gives `maps` of the pair turned one of the other ways, if they are wanted."""
        self.decoder = decoder
        self._maps_turned = maps_turned
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
        return t * (1 - t) / 4 * (warp(self._turns[0], to0) + warp(self._turns[1], to1))

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
            # most of what looking at a turned pair costs is spent for both of its frames anyway
            numbers = (number,) if self._maps_turned is None else (0, 1)
            pictures = [resize((self.frame0, self.frame1)[one], size) for one in numbers]
            if self.frame0.shape[-2:] != size:  # at its own size a frame has all its detail
                details = self._details(numbers)
                pictures = [picture + resize(detail, size) for picture, detail in zip(pictures, details, strict=True)]
            for one, picture in zip(numbers, pictures, strict=True):
                self._large[one] = _Large(picture, self._around)
        return self._large[number].picture

    def _details(self, numbers: tuple[int, ...]) -> list[Tensor]:
        """What frames 0 and 1, or one of them, have in addition to bicubic, float32 (B, 3, FINE·h, FINE·w)."""
        alike = self.exposure.alike(self.frame0, self.frame1)
        frames, seen = [alike[number] for number in numbers], [self._neighbours(number) for number in numbers]

        def said(turn: int) -> list[Tensor]:
            """Of all of them turned one way."""
            maps = self._maps if turn == 0 or self._maps_turned is None else self._maps_turned(turn)
            found = []
            for number, frame, neighbours in zip(numbers, frames, seen, strict=True):
                around = [one.turned(turn) for one in neighbours]
                found.append(turned_back(self.decoder.enlarge(turned(frame, turn), maps[number], around), turn))
            return found

        details = said(0)
        if self._maps_turned is not None:
            for turn in range(1, TURNS):
                details = [detail + more for detail, more in zip(details, said(turn), strict=True)]
            details = [detail / TURNS for detail in details]
        shares = self.exposure.shares()
        # what is of one colour, as bars above and below a film, stays so
        return [
            detail * shares[number] * ~F.interpolate(self._blank[number].float(), scale_factor=FINE).bool()
            for number, detail in zip(numbers, details, strict=True)
        ]

    def _neighbours(self, number: int) -> list[Neighbour]:
        """All other frames that are known, as frame 0 or 1 sees them, exposed like the one with more contrast."""
        before, after = self._around
        onward = [self._flows, after][number:]
        back = [pair and pair.reversed() for pair in (before, self._flows)[: 1 + number]][::-1]
        seen = _followed(onward) + _followed(back)
        seen = [one for one in seen if one.known.any()]  # not those that repeat the frame, as where a picture is held
        return [replace(one, frame=self.exposure.alike(one.frame, one.frame)[number]) for one in seen]

    def _between(
        self, t: float, size: tuple[int, int], check: Callable[[], None]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both frames and the lattice (see `Decoder.lattice`), all but its ways at `size`."""
        large0 = self._enlarged(0, size)
        check()
        large1 = self._enlarged(1, size)
        check()
        there, fine = self.decoder.lattice(self, t)  # not before: it is large
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
