"""Where a picture at time t comes from in both frames of a pair; nothing here is learned."""

from __future__ import annotations

import torch
from torch import Tensor

from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.static_regions import static_mask

ITERATIONS = 3  # of the search for the source pixel that has come to a place


def accelerations(pair: PairMotion, before: PairMotion | None, after: PairMotion | None) -> Tensor | None:
    """Return by how much the motion of what frames 0 and 1 show changes, from pair to pair: (B, 4, h, w), x and y each.

    Of frame 0 the pair `before` tells, of frame 1 the one `after`; None if neither is known.
    """
    if before is None and after is None:
        return None
    nothing = torch.zeros_like(pair.flow01)
    first = nothing if before is None else (pair.flow01 + before.flow10) * ~(pair.textureless | before.textureless)
    second = nothing if after is None else (pair.flow10 + after.flow01) * ~(pair.textureless | after.textureless)
    return torch.cat((first, second), 1)


def flows_at(pair: PairMotion, acceleration: Tensor | None, t: float) -> Tensor:
    """Return the flows at time `t` to frame 0 and to frame 1, (B, 4, h, w), x and y each, low-resolution pixels.

    A pixel at time t was led here by the motion that its source pixel has: v(x) = flow01(x - t·v). Solved by iteration,
    once for what frame 0 shows and once for what frame 1 shows. With a velocity that changes by a from pair to pair,
    what is at 0 and at 1 where the frames have it is a·t·(1 - t)/2 behind between them (Xu et al., Quadratic Video
    Interpolation, 2019); a is the mean of what both frames tell.
    """

    def offset_at(to0: Tensor, to1: Tensor) -> Tensor:
        if acceleration is None:
            return torch.zeros_like(to0)
        return t * (1 - t) / 4 * (warp(acceleration[:, :2], to0) + warp(acceleration[:, 2:], to1))

    v0 = v1 = (1 - t) * pair.flow01 - t * pair.flow10
    offset = offset_at(-t * v0, (1 - t) * v1)
    for _ in range(ITERATIONS):
        v0 = warp(pair.flow01, offset - t * v0)
        v1 = -warp(pair.flow10, offset + (1 - t) * v1)
        offset = offset_at(offset - t * v0, offset + (1 - t) * v1)
    static0, static1 = static_mask(pair.static.reach, v0), static_mask(pair.static.reach, v1)
    offset = offset * (1 - static0 * static1)
    return torch.cat((offset - t * v0 * (1 - static0), offset + (1 - t) * v1 * (1 - static1)), 1)
