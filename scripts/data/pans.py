"""Cameras that pan over photographs by whole pixels: nothing is rendered, so every frame is as sharp as a photograph.

Only motion in a straight line, and nothing hidden; but exact, without the softness of interpolation, and it costs next
to nothing to make.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.data.batch import Batch, Kind, Target, disturb, pick_scale, pick_window, seed_of, shrink
from scripts.data.photographs import most_detailed


class Pans:
    """Batches of pairs of frames of one photograph each, made from their number alone."""

    def __init__(self, images: list[Tensor], kind: Kind, reach: float, seed: int, between: bool = True) -> None:
        """As in `Photographs`; `reach`: farthest that the camera goes.

        Without `between` only the frames themselves are wanted, which trains in little more than half the time.
        """
        self.images, self.batch, self.side, self.kind = images, kind.batch, kind.side, kind
        self.reach, self.seed, self.between, self.random = reach, seed, between, torch.Generator()

    def _step(self, scale: float, steps: int) -> tuple[int, int]:
        """How far (x, y) the camera goes in each of `steps`, in full-size pixels; often slow, sometimes not at all."""
        chance, speed, angle = torch.rand(3, generator=self.random)
        length = self.reach * scale / steps * float(speed) ** 2 * (float(chance) > 0.15)
        way = length * torch.stack(((angle * 2 * torch.pi).cos(), (angle * 2 * torch.pi).sin()))
        return int(way[0].round()), int(way[1].round())

    def make(self, number: int) -> Batch:
        """Cut one batch at one random scale."""
        self.random.manual_seed(seed_of(self.seed, number))
        high = round(self.side * pick_scale(self.random))
        if not self.between:  # at its own size a frame has all its detail, and there would be nothing to learn
            high = max(high, self.side + 1)
        steps = int(torch.randint(2, 9, (), generator=self.random))
        now = int(torch.randint(1, steps, (), generator=self.random))
        last = 2 * steps - now
        seen: dict[int, list[Tensor]] = {0: [], now: [], steps: [], last: []}
        flows = []
        for _ in range(self.batch):
            x, y = self._step(high / self.side, steps)
            wide, tall = high + abs(x) * last, high + abs(y) * last
            photograph = most_detailed(self.images, (max(wide, tall),) * 2, high, self.random)
            corner = (max(0, -x * last), max(0, -y * last))
            for step, frames in seen.items():
                left, top = corner[0] + x * step, corner[1] + y * step
                frames.append(photograph[:, top : top + high, left : left + high])
            flows.append(torch.tensor([-x, -y], device=photograph.device) * (steps * self.side / high))
        pictures = {step: torch.stack(frames) for step, frames in seen.items()}
        low = [shrink(pictures[step], (self.side, self.side)) for step in seen]
        if float(torch.rand((), generator=self.random)) < 0.15:
            low = disturb(low, self.kind.compressed, self.random)
        targets = []
        for step in (now, 0, steps):
            top, left, height, width = window = pick_window((high, high), self.kind.window, self.random)
            targets.append(Target(step / steps, window, pictures[step][..., top : top + height, left : left + width]))
        middle, beyond = (low[1], targets[0]), low[3]
        if not self.between:
            return Batch(low[0], low[2], (high, high), targets[1:], middle=middle, beyond=beyond)
        there = torch.stack(flows)[:, :, None, None].expand(-1, -1, self.side, self.side)
        return Batch(low[0], low[2], (high, high), targets, torch.cat((there, -there)), middle, beyond)
