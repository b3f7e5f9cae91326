"""Batches of single frames, with which nothing moves, so that a step costs a fraction of others.

What a frame shows by itself is most of its detail, and takes most to learn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.data.bars import add_bars
from scripts.data.batch import MAX_SCALE, Batch, BatchSpec, Target, batch_random, pick_scale
from scripts.data.degradation import degrade_some, reduce_bicubic
from scripts.data.pictures import cut_detailed

LARGEST_SHARE = 0.5  # of the batches are at MAX_SCALE: there is most to learn


class SingleFrames:
    """Makes batches of frames that are pairs with themselves."""

    def __init__(self, images: list[Tensor], spec: BatchSpec, seed: int) -> None:
        """`images`, (3, H, W) uint8 each, may be photographs, frames or drawings."""
        self.images, self.spec, self.seed = images, spec, seed

    def make(self, number: int) -> Batch:
        """Batch `number`, at one scale."""
        random, side = batch_random(self.seed, number), self.spec.side
        largest = float(torch.rand((), generator=random)) < LARGEST_SHARE
        scale = MAX_SCALE if largest else pick_scale(random)
        high = max(round(side * scale), side + 1)  # at its own size a frame has all its detail
        pieces = [cut_detailed(self.images, (high, high), high, random) for _ in range(self.spec.batch)]
        pictures = torch.stack([add_bars(piece, high / side, random) for piece in pieces])
        (low,) = degrade_some([reduce_bicubic(pictures, (side, side))], self.spec.compressed, random)
        return Batch(low, low, (high, high), [Target(0.0, pictures)])
