"""A pair of frames encoded by WarpINR, and how it is sampled."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks.base import VideoField, checked_query
from vs_videoinr.networks.sampling import resize_bicubic, warp
from vs_videoinr.networks.warp_blend import (
    SampledFrame,
    Window,
    flow_in_window,
    is_large,
    sampled_frame,
    warp_and_blend,
)
from vs_videoinr.networks.warpinr.exposure import Exposure
from vs_videoinr.networks.warpinr.fusion import Decoder
from vs_videoinr.networks.warpinr.neighbours import Neighbour, follow
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform, transform_back
from vs_videoinr.networks.warpinr.stages import Stage
from vs_videoinr.networks.warpinr.static_regions import StaticRegions

Check = Callable[[], None]


@dataclass(frozen=True)
class _Enlarged:
    """A frame at the size asked for last, and the neighbouring pairs that were known then."""

    frame: SampledFrame
    neighbours: tuple[PairMotion | None, PairMotion | None]


class WarpField(VideoField):
    """A pair of frames encoded by `WarpINR`. Batch size B, low-resolution size (h, w)."""

    def __init__(
        self,
        decoder: Decoder,
        maps: tuple[Tensor, Tensor],
        flows: tuple[Tensor, Tensor],
        motion: PairMotion,
        static: StaticRegions,
        transformed_maps: Callable[[int], tuple[Tensor, Tensor]] | None,
    ) -> None:
        """Prepare to sample a pair.

        Args:
            decoder: The network's decoder.
            maps: Feature maps of both frames, (B, C, h, w).
            flows: From frame 0 to frame 1 and from frame 1 to frame 0, (B, 2, h, w), low-resolution pixels.
            motion: Both frames, and what neighbouring pairs are told.
            static: Where nothing moves.
            transformed_maps: Gives `maps` of the pair in one of the other ways of the self-ensemble, if it is wanted.
        """
        self.decoder = decoder
        self._transformed_maps = transformed_maps
        self._motion = motion
        self._neighbours: tuple[PairMotion | None, PairMotion | None] = None, None
        self._accelerations: tuple[Tensor, Tensor] | None = None
        self.frame0, self.frame1 = motion.frame0, motion.frame1
        self.exposure: Exposure = motion.exposure
        self.rest, self.reach = static.rest, static.reach
        self.flow01, self.flow10 = flows
        # back to the network's own precision: training works under autocast
        own = self.frame0.dtype
        self.time0, self.time1 = decoder.time0(maps[0]).to(own), decoder.time1(maps[1]).to(own)
        self._maps = tuple(one.to(own) for one in maps)
        self._blank = static.blank.chunk(2)
        self._enlarged_frames: dict[int, _Enlarged] = {}
        self._last_flow: tuple[float, Tensor] | None = None  # the time that was sampled last, and the flow at it

    @property
    def pair_motion(self) -> PairMotion:
        """See `VideoField.pair_motion`."""
        return self._motion

    def with_neighbours(self, before: PairMotion | None, after: PairMotion | None) -> WarpField:
        """See `VideoField.with_neighbours`; what this field keeps of its frames is kept for both."""
        if Stage.NEIGHBOURS in self.decoder.without:
            return self
        own = self._motion
        nothing = torch.zeros_like(own.flow01)
        field = copy.copy(self)
        field._neighbours = before, after
        field._last_flow = None
        # by how much the motion of what either frame shows changes, from pair to pair
        field._accelerations = (
            nothing if before is None else (own.flow01 + before.flow10) * ~(own.textureless | before.textureless),
            nothing if after is None else (own.flow10 + after.flow01) * ~(own.textureless | after.textureless),
        )
        return field

    def acceleration_offset(self, t: float, to0: Tensor, to1: Tensor) -> Tensor:
        """Return how far content at time `t` lies from where even motion would have it, (B, 2, h, w), pixels back.

        `to0` and `to1` lead to it in both frames. With a velocity that changes by a from pair to pair, what is at 0 and
        at 1 where the frames have it is a·t·(1 - t)/2 behind between them (Xu et al., Quadratic Video Interpolation,
        2019); a is the mean of what both frames tell.
        """
        if self._accelerations is None:
            return torch.zeros_like(to0)
        return t * (1 - t) / 4 * (warp(self._accelerations[0], to0) + warp(self._accelerations[1], to1))

    def sample(self, t: float, size: tuple[int, int], *, check: Check | None = None) -> Tensor:
        """See `VideoField.sample`."""
        t, size = checked_query(t, size)
        check = check or (lambda: None)
        if t in (0, 1):
            check()
            return self._enlarge(int(t), size).picture.clone(memory_format=torch.contiguous_format)
        return self._between(t, size, (0, 0, *size), check)

    def motion(self, t: float, size: tuple[int, int], *, check: Check | None = None) -> Tensor:
        """See `VideoField.motion`."""
        t, size = checked_query(t, size)
        if check is not None:
            check()
        # What goes past the network is led along the motion of the frame that was sampled just now.
        if self._last_flow is None or self._last_flow[0] != t:
            self._last_flow = t, self.decoder.fuse_at(self, t)[0]
        return flow_in_window(self._last_flow[1], size, (0, 0, *size))

    def sample_window(self, t: float, size: tuple[int, int], window: Window) -> Tensor:
        """Return the part (top, left, height, width) of what `sample` returns: what training looks at."""
        if t in (0, 1):
            top, left, height, width = window
            return self._enlarge(int(t), size).picture[..., top : top + height, left : left + width]
        return self._between(t, size, window, lambda: None)

    def _enlarge(self, number: int, size: tuple[int, int]) -> SampledFrame:
        """Frame 0 or 1 at the size asked for, float32 (B, 3, *size): bicubic, and its detail. The last size is kept."""
        kept = self._enlarged_frames.get(number)
        known = kept is not None and all(map(operator.is_, kept.neighbours, self._neighbours))
        if kept is None or not known or kept.frame.picture.shape[-2:] != size:
            # most of what looking at a transformed pair costs is spent for both of its frames anyway
            numbers = (number,) if self._transformed_maps is None else (0, 1)
            pictures = [resize_bicubic((self.frame0, self.frame1)[one], size) for one in numbers]
            if self.frame0.shape[-2:] != size and Stage.DETAIL not in self.decoder.without:
                details = self._details(numbers)  # at its own size a frame has all its detail
                pictures = [
                    picture + resize_bicubic(detail, size) for picture, detail in zip(pictures, details, strict=True)
                ]
            for one, picture in zip(numbers, pictures, strict=True):
                self._enlarged_frames[one] = _Enlarged(sampled_frame(picture), self._neighbours)
        return self._enlarged_frames[number].frame

    def _details(self, numbers: tuple[int, ...]) -> list[Tensor]:
        """What frames 0 and 1, or one of them, have beyond bicubic, float32 (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w)."""
        matched = self.exposure.match(self.frame0, self.frame1)
        frames = [matched[number] for number in numbers]
        neighbours = [self._neighbours_of(number) for number in numbers]

        def predict(way: int) -> list[Tensor]:
            """The detail of all frames, seen in one way of the self-ensemble."""
            maps = self._maps if way == 0 or self._transformed_maps is None else self._transformed_maps(way)
            found = []
            for number, frame, seen in zip(numbers, frames, neighbours, strict=True):
                others = [one.transform(way) for one in seen]
                detail = self.decoder.residual_detail(transform(frame, way), maps[number], others)
                found.append(transform_back(detail, way))
            return found

        details = predict(0)
        if self._transformed_maps is not None:
            for way in range(1, TRANSFORMS):
                details = [detail + more for detail, more in zip(details, predict(way), strict=True)]
            details = [detail / TRANSFORMS for detail in details]
        ratios = self.exposure.contrast_ratios()
        # what is of one colour, as bars above and below a film, stays so
        return [
            detail * ratios[number] * ~F.interpolate(self._blank[number].float(), scale_factor=DETAIL_SCALE).bool()
            for number, detail in zip(numbers, details, strict=True)
        ]

    def _neighbours_of(self, number: int) -> list[Neighbour]:
        """All other frames that are known, as frame 0 or 1 sees them, exposed like the one with more contrast."""
        if Stage.NEIGHBOUR_DETAIL in self.decoder.without:
            return []
        before, after = self._neighbours
        later = [self._motion, after][number:]
        earlier = [pair and pair.reversed() for pair in (before, self._motion)[: 1 + number]][::-1]
        seen = follow(later) + follow(earlier)
        seen = [one for one in seen if one.informative.any()]  # not those that repeat the frame, as where it is held
        return [replace(one, frame=self.exposure.match(one.frame, one.frame)[number]) for one in seen]

    def _between(self, t: float, size: tuple[int, int], window: Window, check: Check) -> Tensor:
        """Return a window of the picture at time `t`, which is neither frame's."""
        frame0 = self._enlarge(0, size)
        check()
        frame1 = self._enlarge(1, size)
        check()
        flow, fine = self.decoder.fuse_at(self, t)  # not before: it is large
        self._last_flow = t, flow
        large = is_large(size, (self.frame0.shape[-2], self.frame0.shape[-1]))
        return warp_and_blend(frame0, frame1, flow, fine, t, large=large, window=window, check=check)

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        enlarged = sum(kept.frame.nbytes() for kept in self._enlarged_frames.values())
        last_flow = () if self._last_flow is None else self._last_flow[1:]
        tensors = (*vars(self).values(), *self._maps, *last_flow)
        return sum(v.nbytes for v in tensors if isinstance(v, Tensor)) + enlarged + self._motion.nbytes()
