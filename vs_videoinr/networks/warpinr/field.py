"""A pair of frames encoded by WarpINR, and how it is sampled."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vs_videoinr.networks import bands
from vs_videoinr.networks.base import VideoField, checked_query
from vs_videoinr.networks.warp_blend import SampledFrame, enlarge_flow, is_large, sampled_frame, warp_and_blend
from vs_videoinr.networks.warpinr.fusion import accelerations, flows_at
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.pair_motion import EnlargedFrame, PairMotion
from vs_videoinr.networks.warpinr.stages import Stage

if TYPE_CHECKING:
    from vs_videoinr.networks.warpinr.network import WarpINR

Check = Callable[[], None]


class WarpField(VideoField):
    """A pair of frames encoded by `WarpINR`. Batch size B, low-resolution size (h, w)."""

    def __init__(self, network: WarpINR, motion: PairMotion) -> None:
        """Prepare to sample a pair that moves by `motion`."""
        self._network = network
        self._motion = motion
        self._neighbours: tuple[PairMotion | None, PairMotion | None] = None, None
        self._acceleration: Tensor | None = None
        self._last_flow: tuple[float, Tensor] | None = None  # the time that was sampled last, and the flows at it

    @property
    def pair_motion(self) -> PairMotion:
        """See `VideoField.pair_motion`."""
        return self._motion

    def with_neighbours(self, before: PairMotion | None, after: PairMotion | None) -> WarpField:
        """See `VideoField.with_neighbours`."""
        if not self._network.uses(Stage.NEIGHBOURS):
            return self
        field = copy.copy(self)
        field._neighbours = before, after
        field._acceleration = accelerations(self._motion, before, after)
        field._last_flow = None
        return field

    def sample(self, t: float, size: tuple[int, int], *, check: Check | None = None) -> Tensor:
        """See `VideoField.sample`."""
        t, size = checked_query(t, size)
        check = check or (lambda: None)
        if t in (0, 1):
            check()
            return self._enlarged(int(t), size).picture.clone(memory_format=torch.contiguous_format)
        check()
        frame0 = self._enlarged(0, size)
        check()
        frame1 = self._enlarged(1, size)
        flow, own = self._flows_at(t), self._motion.frame0.shape
        bands.trim_after(frame0.picture)
        return warp_and_blend(frame0, frame1, flow, t, large=is_large(size, (own[-2], own[-1])), check=check)

    def motion(self, t: float, size: tuple[int, int], *, check: Check | None = None) -> Tensor:
        """See `VideoField.motion`."""
        t, size = checked_query(t, size)
        if check is not None:
            check()
        return enlarge_flow(self._flows_at(t), size)

    def _flows_at(self, t: float) -> Tensor:
        # What goes past the network is led along the motion of the frame that was sampled just now.
        if self._last_flow is None or self._last_flow[0] != t:
            self._last_flow = t, flows_at(self._motion, self._acceleration, t)
        return self._last_flow[1]

    def _enlarged(self, number: int, size: tuple[int, int]) -> SampledFrame:
        """Frame 0 or 1 at the size asked for; both pairs that it belongs to have it once."""
        around = self._neighbours[0], self._motion, self._neighbours[1]
        earlier, later = around[number : number + 2]
        keeper, slot, other = (self._motion, 1, None) if later is None else (later, 0, earlier)
        kept = keeper.enlarged.get(slot)
        if kept is None or not kept.matches(size, other):
            frame = sampled_frame(self._enlarge(number, size, earlier, later))
            kept = EnlargedFrame(frame, None if other is None else weakref.ref(other))
            keeper.enlarged[slot] = kept
        return kept.frame

    def _enlarge(
        self, number: int, size: tuple[int, int], earlier: PairMotion | None, later: PairMotion | None
    ) -> Tensor:
        """Frame 0 or 1, which the `earlier` pair ends and the `later` one begins with."""
        frame = (self._motion.frame0, self._motion.frame1)[number]
        after = [] if later is None else [Neighbour.after(later)]
        before = [] if earlier is None else [Neighbour.before(earlier)]
        return self._network.enlarge(frame, after + before, self._motion.static.blank.chunk(2)[number], size)

    def release(self) -> None:
        """See `VideoField.release`."""
        self._motion.enlarged.clear()

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        own = (self._acceleration, None if self._last_flow is None else self._last_flow[1])
        return sum(tensor.nbytes for tensor in own if tensor is not None) + self._motion.nbytes()
