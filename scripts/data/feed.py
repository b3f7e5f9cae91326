"""Batches from all sources in order of their numbers, made ahead by threads where there are cores for it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from scripts.data.batch import Batch, Source, batch_random
from scripts.data.fades import fade
from scripts.data.photographs import Photographs


class Feed:
    """What to train on at every step; the same for a number however often training was stopped before it."""

    def __init__(
        self, motion: Photographs, sources: Sequence[tuple[float, Source]], fades: float, seed: int, workers: int
    ) -> None:
        """Take batches from `motion` for the flow alone, all others from `sources`.

        Args:
            motion: Makes batches for the flow alone.
            sources: Make all others, with their shares of them.
            fades: Share of those that fade.
            seed: Of what is picked.
            workers: Threads that make batches ahead; 0: every batch is made when asked for.
        """
        self.motion, self.sources = motion, [source for _, source in sources]
        self.shares, self.fades, self.seed = torch.tensor([float(share) for share, _ in sources]), fades, seed
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
        if motion:
            return self.motion.make_motion(number)
        random = batch_random(self.seed + 1, number)
        source = self.sources[int(torch.multinomial(self.shares, 1, generator=random))]
        batch = source.make(number)
        return fade(batch, random) if float(torch.rand((), generator=random)) < self.fades else batch
