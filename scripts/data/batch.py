"""One training batch, however it was made, and what all sources of batches decide in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

MAX_SCALE = 4.0  # of the true pictures / the frames that a network sees
FAVOURED_SCALES = (2.0, 3.0, MAX_SCALE, MAX_SCALE)  # what people ask for most; at the largest is most to learn


@dataclass(frozen=True)
class BatchSpec:
    """What batches are to be like, whoever makes them.

    Attributes:
        batch: How many samples.
        side: Of the frames that a network sees, low-resolution pixels.
        compressed: Share of the degraded batches that go through H.264, too.
    """

    batch: int
    side: int
    compressed: float


@dataclass
class Target:
    """The true picture at time `t`."""

    t: float  # 0 at the first frame, 1 at the second
    rgb: Tensor  # (B, 3, H, W) in [0, 1]


@dataclass
class Batch:
    """A pair of low-resolution frames and the truth at some times between them.

    Attributes:
        frame0: (B, 3, h, w) in [0, 1].
        frame1: The same; the very same object where a single frame is a pair with itself.
        size: (H, W) of the truth.
        targets: What the network should make.
        flow: (2B, 2, h, w), 0 → 1 then 1 → 0, low-resolution pixels; None where it is not known.
        middle: A frame (B, 3, h, w) between both, and what it should look like.
        following: The frame as far after frame 1 as the middle one is before it.
    """

    frame0: Tensor
    frame1: Tensor
    size: tuple[int, int]
    targets: list[Target]
    flow: Tensor | None = None
    middle: tuple[Tensor, Target] | None = None
    following: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the same on a device."""
        return self._map(lambda one: one.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Each tensor changed, once however often it occurs: a frame that is its own pair stays one."""
        made: dict[int, Tensor] = {}

        def once(one: Tensor) -> Tensor:
            if id(one) not in made:
                made[id(one)] = change(one)
            return made[id(one)]

        def target(one: Target) -> Target:
            return Target(one.t, once(one.rgb))

        return Batch(
            once(self.frame0),
            once(self.frame1),
            self.size,
            [target(one) for one in self.targets],
            None if self.flow is None else once(self.flow),
            None if self.middle is None else (once(self.middle[0]), target(self.middle[1])),
            None if self.following is None else once(self.following),
        )


class Source(Protocol):
    """Makes batches, each from its number alone, so that any process can make any of them."""

    def make(self, number: int) -> Batch:
        """Batch `number`."""


def batch_random(seed: int, number: int) -> torch.Generator:
    """The random numbers of one batch: training can stop and go on anywhere, and batches can be made in any order."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number)


def pick_int(end: int, random: torch.Generator) -> int:
    """A whole number from 0 to below `end`."""
    return int(torch.randint(end, (), generator=random))


def pick_scale(random: torch.Generator) -> float:
    """A real scale from 1 to MAX_SCALE, or every second time one of FAVOURED_SCALES."""
    if float(torch.rand((), generator=random)) < 0.5:
        return 1 + (MAX_SCALE - 1) * float(torch.rand((), generator=random))
    return FAVOURED_SCALES[pick_int(len(FAVOURED_SCALES), random)]
