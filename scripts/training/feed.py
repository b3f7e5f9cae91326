"""Batches in order of their numbers, made ahead by threads where there are cores for it."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from training.clips import Clips
from training.pans import Pans
from training.photographs import Photographs
from training.sample import Batch, seed_of

Sources = tuple[Photographs, Pans, Clips]


class Feed:
    """What to train on at every step; the same for a number however often training was stopped before it."""

    def __init__(
        self, photographs: Photographs, pans: Pans, clips: Clips, shares: list[float], seed: int, workers: int
    ) -> None:
        """`shares` of the batches that each of the three makes; `workers` threads make batches ahead, 0 when asked."""
        self.sources: Sources = photographs, pans, clips
        self.shares, self.seed = torch.tensor(shares), seed
        self.local = threading.local()
        self.ahead = 2 * workers
        self.pool = ThreadPoolExecutor(workers) if workers else None
        self.made: dict[tuple[int, bool], Future[Batch]] = {}

    def get(self, number: int, motion: bool) -> Batch:
        """Batch `number`; with `motion` it is one for the flow alone."""
        if self.pool is None:
            return self._make(number, motion)
        self.made = {key: future for key, future in self.made.items() if key[0] >= number and key[1] == motion}
        for later in range(number, number + self.ahead + 1):
            if (later, motion) not in self.made:
                self.made[later, motion] = self.pool.submit(self._make, later, motion)
        return self.made.pop((number, motion)).result()

    def close(self) -> None:
        """Make no more."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _make(self, number: int, motion: bool) -> Batch:
        sources = self._own_sources()
        if motion:
            return sources[0].make_motion(number)
        choice = torch.Generator().manual_seed(seed_of(self.seed + 1, number))
        return sources[int(torch.multinomial(self.shares, 1, generator=choice))].make(number)

    def _own_sources(self) -> Sources:
        """This thread's: they share pictures and frames, but not the generator."""
        if not hasattr(self.local, "sources"):
            photographs, pans, clips = (copy.copy(source) for source in self.sources)
            for source in (photographs, pans, clips):
                source.random = torch.Generator()
            self.local.sources = photographs, pans, clips
        found: Sources = self.local.sources
        return found
