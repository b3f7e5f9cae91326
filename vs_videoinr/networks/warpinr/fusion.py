"""Where a picture at time t comes from in both frames of a pair; nothing here is learned."""

from __future__ import annotations

import torch
from torch import Tensor

from vs_videoinr.networks import bands, kernels
from vs_videoinr.networks.fused import fused
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.blocks import FLOW
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.static_regions import static_mask

NUMBERS = 40  # that a pixel takes while its flows are found
ITERATIONS = 3  # of the search for the source pixel that has come to a place


def accelerations(pair: PairMotion, before: PairMotion | None, after: PairMotion | None) -> Tensor | None:
    """Return by how much the motion of what frames 0 and 1 show changes, from pair to pair: (2B, 2, h, w).

    Frame 0's is the first half of the batch, of which the pair `before` tells, frame 1's the second, of which the one
    `after` does; None if neither is known.
    """
    if before is None and after is None:
        return None
    nothing = torch.zeros_like(pair.flow01)
    first = nothing if before is None else (pair.flow01 + before.flow10) * ~(pair.textureless | before.textureless)
    second = nothing if after is None else (pair.flow10 + after.flow01) * ~(pair.textureless | after.textureless)
    return torch.cat((first, second))


def flows_at(pair: PairMotion, acceleration: Tensor | None, t: float) -> Tensor:
    """Return the flows at time `t` to frame 0 and to frame 1, (B, 4, h, w), x and y each, low-resolution pixels.

    A pixel at time t was led here by the motion that its source pixel has: v(x) = flow01(x - t·v). Solved by iteration,
    once for what frame 0 shows and once for what frame 1 shows. With a velocity that changes by a from pair to pair,
    what is at 0 and at 1 where the frames have it is a·t·(1 - t)/2 behind between them (Xu et al., Quadratic Video
    Interpolation, 2019); a is the mean of what both frames tell.
    """
    given = pair.flow01, pair.flow10, acceleration, pair.static.reach, t, ITERATIONS
    kernel = kernels.kernels_for(*(one for one in given if isinstance(one, Tensor)))
    return fused("flows_at", _flows_by_torch, *given) if kernel is None else kernel.flows_at(*given)


def _flows_by_torch(
    flow01: Tensor, flow10: Tensor, acceleration: Tensor | None, reach: Tensor, t: float, iterations: int
) -> Tensor:
    """The kernels' twin."""
    motion = torch.cat((flow01, -flow10))
    bend = None if acceleration is None else acceleration * (t * (1 - t) / 4)
    batch, _, height, width = flow01.shape
    rows = bands.bands(height, 4 * batch * width * NUMBERS, motion.device)
    (flows,) = bands.in_bands(lambda *band: (_flows_of_rows(reach, motion, bend, t, iterations, band),), rows)
    return flows


def _flows_of_rows(
    reach: Tensor, motion: Tensor, bend: Tensor | None, t: float, iterations: int, rows: tuple[int, int]
) -> Tensor:
    top, bottom = rows
    reach = reach[..., top:bottom, :]
    # What either frame shows is one half of a batch: a GPU takes as long to begin the work as to do it.
    first, second = motion[..., top:bottom, :].view(2, -1, FLOW, bottom - top, motion.shape[-1])
    halves = 2, *first.shape
    to_frame = torch.linspace(-t, 1 - t, 2, device=motion.device).view(2, 1, 1, 1, 1)

    def position(offset: Tensor | None, v: Tensor) -> Tensor:
        way = v * to_frame if offset is None else torch.addcmul(offset, v, to_frame)
        return way.flatten(0, 1)

    def offset_at(position: Tensor) -> Tensor | None:
        return None if bend is None else warp(bend, position, top=top).view(halves).sum(0)

    v = torch.lerp(first, second, t).expand(halves)
    offset = offset_at(position(None, v))
    for _ in range(iterations):
        v = warp(motion, position(offset, v), top=top).view(halves)
        offset = offset_at(position(offset, v))
    static = static_mask(torch.cat((reach, reach)), v.flatten(0, 1)).view(2, *reach.shape)
    if offset is not None:
        offset = offset * (1 - static[0] * static[1])
    flows = position(offset, v * (1 - static)).view(halves)
    return flows.transpose(0, 1).flatten(1, 2)
