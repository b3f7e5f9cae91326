"""Batches from all sources in order of their numbers, made ahead by processes where there are cores for it."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from scripts.data.batch import Batch, Source, batch_random
from scripts.data.fades import fade
from scripts.data.photographs import Photographs

#: Batches that each process makes ahead.
AHEAD = 2

Key = tuple[int, bool]  # a batch's number, and whether it is for the flow alone


class Batches(Dataset[Batch]):
    """What to train on at every step; the same for a number however often training was stopped before it."""

    def __init__(self, motion: Photographs, sources: Sequence[tuple[float, Source]], fades: float, seed: int) -> None:
        """Take batches from `motion` for the flow alone, all others from `sources`, with their shares of them.

        A share `fades` of the others fades; `seed` is of what is picked.
        """
        self.motion, self.sources = motion, [source for _, source in sources]
        self.shares, self.fades, self.seed = torch.tensor([float(share) for share, _ in sources]), fades, seed

    def __getitem__(self, key: Key) -> Batch:
        number, motion = key
        if motion:
            return self.motion.make_motion(number)
        random = batch_random(self.seed + 1, number)
        source = self.sources[int(torch.multinomial(self.shares, 1, generator=random))]
        batch = source.make(number)
        return fade(batch, random) if float(torch.rand((), generator=random)) < self.fades else batch


class Feed:
    """Hands out batches, on a device, by their numbers."""

    def __init__(self, batches: Batches, workers: int, device: torch.device) -> None:
        """Let `workers` processes make batches; with 0 every batch is made when asked for."""
        self.batches, self.workers, self.device = batches, workers, device
        self.due: Key | None = None
        self.coming: Iterator[Batch] = iter(())

    def get(self, number: int, motion: bool) -> Batch:
        """Batch `number`; with `motion` it is one for the flow alone."""
        if self.workers == 0:
            return self.batches[number, motion].to(self.device)
        if self.due != (number, motion):
            self.close()
            self.due = number, motion
            self.coming = iter(self._loader(number, motion))
        self.due = number + 1, motion
        return next(self.coming).to(self.device)

    def close(self) -> None:
        """Make no more, and wait for what is being made: processes that are ended meanwhile complain on stderr."""
        self.due = None
        for _ in self.coming:
            pass

    def _loader(self, number: int, motion: bool) -> DataLoader[Batch]:
        """Batches from a number on, for as long as any are due.

        Their processes are not forks of this one: those hung for good where a GPU had been used before.
        """
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=((later, motion) for later in itertools.takewhile(self._is_due, itertools.count(number))),
            num_workers=self.workers,
            prefetch_factor=AHEAD,
            multiprocessing_context="spawn",
            worker_init_fn=_leave_interrupts,
        )

    def _is_due(self, _: int) -> bool:
        return self.due is not None


def _leave_interrupts(_: int) -> None:
    """Ctrl-C goes to all processes of a terminal, but only the one that trains knows how to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
