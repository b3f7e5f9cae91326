"""A pair of frames encoded by WarpINR, and how it is sampled."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vs_videoinr.networks.base import VideoField, checked_query
from vs_videoinr.networks.sampling import pixel_grid, sample_at
from vs_videoinr.networks.warpinr.fusion import accelerations, flows_at
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.pair_motion import EnlargedFrame, PairMotion
from vs_videoinr.networks.warpinr.stages import Stage

if TYPE_CHECKING:
    from vs_videoinr.networks.warpinr.network import WarpINR

#: Output pixels warped at a time: beside what is kept, sampling takes little memory, and can be abandoned.
CHUNK_PIXELS = 1 << 16

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
            return self._enlarged(int(t), size).clone()
        frames = []
        for number in range(2):
            check()
            frames.append(self._enlarged(number, size))
        flow = self._flows_at(t)
        height, width = size
        rows = max(1, CHUNK_PIXELS // (width * len(flow)))
        parts = []
        for row in range(0, height, rows):
            check()
            here = _flow_window(flow, size, (row, 0, min(rows, height - row), width))
            parts.append(_blend(frames, here, row, t))
        return torch.cat(parts, 2)

    def motion(self, t: float, size: tuple[int, int], *, check: Check | None = None) -> Tensor:
        """See `VideoField.motion`."""
        t, size = checked_query(t, size)
        if check is not None:
            check()
        return _flow_window(self._flows_at(t), size, (0, 0, *size))

    def _flows_at(self, t: float) -> Tensor:
        # What goes past the network is led along the motion of the frame that was sampled just now.
        if self._last_flow is None or self._last_flow[0] != t:
            self._last_flow = t, flows_at(self._motion, self._acceleration, t)
        return self._last_flow[1]

    def _enlarged(self, number: int, size: tuple[int, int]) -> Tensor:
        """Frame 0 or 1 at the size asked for, float32 (B, 3, *size); both pairs that it belongs to have it once."""
        before, after = self._neighbours
        if number == 0:
            earlier, later = before, self._motion
        else:
            earlier, later = self._motion, after
        keeper, slot, other = (earlier, 1, None) if later is None else (later, 0, earlier)
        assert keeper is not None
        kept = keeper.enlarged.get(slot)
        if kept is None or not kept.matches(size, other):
            picture = self._enlarge(number, size, earlier, later)
            kept = EnlargedFrame(picture, None if other is None else weakref.ref(other))
            keeper.enlarged[slot] = kept
        return kept.picture

    def _enlarge(
        self, number: int, size: tuple[int, int], earlier: PairMotion | None, later: PairMotion | None
    ) -> Tensor:
        """Frame 0 or 1, which the `earlier` pair ends and the `later` one begins with."""
        frame = (self._motion.frame0, self._motion.frame1)[number]
        after = [] if later is None else [Neighbour.after(later)]
        before = [] if earlier is None else [Neighbour.before(earlier)]
        return self._network.enlarge(frame, after + before, self._motion.static.blank.chunk(2)[number], size)

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        own = (self._acceleration, None if self._last_flow is None else self._last_flow[1])
        return sum(tensor.nbytes for tensor in own if tensor is not None) + self._motion.nbytes()


def _blend(frames: list[Tensor], flow: Tensor, top: int, t: float) -> Tensor:
    """The rows from `top` on of the picture at time `t`, from both enlarged frames; `flow` leads to them."""
    height, width = flow.shape[-2:]
    here = pixel_grid(height, width, flow) + flow.new_tensor([0, top]).view(1, 2, 1, 1)
    colour0, colour1 = (
        sample_at(frame, here + way, "bicubic") for frame, way in zip(frames, flow.split(2, 1), strict=True)
    )
    return colour0 + t * (colour1 - colour0)


def _flow_window(flow: Tensor, size: tuple[int, int], window: tuple[int, int, int, int]) -> Tensor:
    """A low-resolution flow (B, 4, h, w) in a window of a picture of `size`, in that picture's pixels."""
    top, left, height, width = window
    low = flow.shape[-2:]
    shrink = flow.new_tensor([low[1] / size[1], low[0] / size[0]]).view(1, 2, 1, 1)
    corner = flow.new_tensor([left + 0.5, top + 0.5]).view(1, 2, 1, 1)
    query = (pixel_grid(height, width, flow) + corner) * shrink - 0.5
    return sample_at(flow, query.expand(flow.shape[0], -1, -1, -1)) / shrink.repeat(1, 2, 1, 1)
