"""Pieces of pictures that are held: one frame and nothing to follow, so that a step costs a fraction of others.

What a frame shows by itself is most of its detail, and takes most to learn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.data.bars import barred
from scripts.data.batch import Batch, Kind, Target, disturb, pick_scale, pick_window, seed_of, shrink
from scripts.data.photographs import most_detailed

LARGEST = 4.0  # scale of half of the batches: there is most to learn


class Held:
    """Batches of frames that are pairs with themselves, made from their number alone."""

    def __init__(self, images: list[Tensor], kind: Kind, seed: int) -> None:
        """`images`, (3, H, W) uint8 each, may be photographs, frames or drawings."""
        self.images, self.kind, self.seed, self.random = images, kind, seed, torch.Generator()

    def make(self, number: int) -> Batch:
        """Cut one batch at one scale."""
        self.random.manual_seed(seed_of(self.seed, number))
        side = self.kind.side
        scale = LARGEST if float(torch.rand((), generator=self.random)) < 0.5 else pick_scale(self.random)
        high = max(round(side * scale), side + 1)  # at its own size a frame has all its detail
        pieces = [most_detailed(self.images, (high, high), high, self.random) for _ in range(self.kind.batch)]
        pictures = torch.stack([barred(piece, high / side, self.random) for piece in pieces])
        low = shrink(pictures, (side, side))
        if float(torch.rand((), generator=self.random)) < 0.15:
            low = disturb([low], self.kind.compressed, self.random)[0]
        top, left, height, width = window = pick_window((high, high), self.kind.window, self.random)
        truth = pictures[..., top : top + height, left : left + width]
        return Batch(low, low, (high, high), [Target(0.0, window, truth)])
