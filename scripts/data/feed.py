"""Batches in order of their numbers, made ahead by threads where there are cores for it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from scripts.data.batch import Batch, seed_of
from scripts.data.clips import Clips
from scripts.data.fades import fade
from scripts.data.pans import Pans
from scripts.data.photographs import Photographs
from scripts.data.single_frames import Held

Source = Photographs | Pans | Clips | Held


class Feed:
    """What to train on at every step; the same for a number however often training was stopped before it."""

    def __init__(
        self,
        motion: Photographs,
        sources: Sequence[tuple[float, Source]],
        fades: float,
        seed: int,
        workers: int,
    ) -> None:
        """`motion` makes batches for the flow alone; `sources` are the makers of all others, with their shares of them.

        A share `fades` of those fades. `workers` threads make batches ahead, 0 when asked.
        """
        self.motion, self.sources = motion, [source for _, source in sources]
        self.shares, self.fades, self.seed = torch.tensor([float(share) for share, _ in sources]), fades, seed
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
        if motion:
            return self._own(self.motion).make_motion(number)
        choice = torch.Generator().manual_seed(seed_of(self.seed + 1, number))
        source = self._own(self.sources[int(torch.multinomial(self.shares, 1, generator=choice))])
        batch = source.make(number)
        return fade(batch, choice) if float(torch.rand((), generator=choice)) < self.fades else batch

    def _own[S: Photographs | Pans | Clips | Held](self, source: S) -> S:
        """This thread's copy of a source: pictures and frames are shared, the generator is not."""
        own = self.local.__dict__.setdefault("sources", {})
        if id(source) not in own:
            own[id(source)] = copy.copy(source)
            own[id(source)].random = torch.Generator()
        found: S = own[id(source)]
        return found
