"""Batches that fade, and of which there is hardly anything to be seen.

Films have both, and what has only learned from rich pictures makes something of nothing there. A fade is linear in
the share of the picture that is visible and in the colour behind it, from frame to frame, as editors make them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.data.batch import Batch, Target
from scripts.data.degradation import quantise

EMPTY_SHARE = 0.33  # of the samples are nearly or wholly empty
MIN_VISIBLE = 0.03  # share of a picture below which its motion cannot be told


def _colours(count: int, random: torch.Generator) -> Tensor:
    """What is faded to, (count, 3, 1, 1): black most often, any grey or colour."""
    kind, grey = torch.rand(2, count, 1, generator=random)
    colour = torch.where(kind < 0.75, grey.expand(-1, 3), torch.rand(count, 3, generator=random))
    return torch.where(kind < 0.5, torch.zeros(()), colour)[:, :, None, None]


def _visible(count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """The share of each of `count` pictures that is visible in the first and in the last frame, (count, 1, 1, 1)."""
    start, change, kind, faint = torch.rand(4, count, 1, 1, 1, generator=random)
    change = change * 2 - 1
    end = (start + change * change.abs() * 0.6).clamp(0, 1)
    empty = (faint * 2 - 1).clamp(0, 1) * MIN_VISIBLE
    return torch.where(kind < EMPTY_SHARE, empty, start), torch.where(kind < EMPTY_SHARE, empty, end)


def fade(batch: Batch, random: torch.Generator) -> Batch:
    """The same batch with each of its samples fading, or hardly to be seen."""
    count = batch.frame0.shape[0]
    first, last = _visible(count, random)
    behind, drift = _colours(count, random), torch.rand(2, count, 1, 1, 1, generator=random)
    # the colour behind changes as well, in some
    later = (behind + (drift[0] - 0.5) * 0.4 * (drift[1] < 0.4)).clamp(0, 1)

    def faded(picture: Tensor, t: float) -> Tensor:
        visible, colour = (first + (last - first) * t).to(picture), (behind + (later - behind) * t).to(picture)
        return colour + (picture - colour) * visible

    def low(frame: Tensor, t: float) -> Tensor:
        return quantise(faded(frame, t))

    def truth(target: Target) -> Target:
        return Target(target.t, faded(target.rgb, target.t))

    flow = batch.flow
    if flow is not None:  # what cannot be seen to move is best taken to rest
        seen = (torch.minimum(first, last) > MIN_VISIBLE).to(flow)
        flow = flow * torch.cat((seen, seen))
    middle = None if batch.middle is None else (low(batch.middle[0], batch.middle[1].t), truth(batch.middle[1]))
    ends = low(batch.frame0, 0.0), low(batch.frame1, 1.0)
    following = None if batch.following is None else low(batch.following, 1.0)  # it fades no farther
    return Batch(*ends, batch.size, [truth(target) for target in batch.targets], flow, middle, following)
