"""Batches of cameras that pan over pictures by whole pixels: nothing is rendered, so every frame is as sharp as those.

Only motion in a straight line, and nothing hidden; but exact, without the softness of interpolation, and it costs next
to nothing to make.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.data.batch import Batch, BatchSpec, Target, batch_random, pick_int, pick_scale
from scripts.data.degradation import degrade_some, reduce_bicubic
from scripts.data.pictures import cut_detailed

RESTING_SHARE = 0.15  # of the cameras do not move
MIN_STEPS, MAX_STEPS = 2, 8  # of the camera from the first frame to the second; the frame between lies at one of them


class Pans:
    """Makes batches of pairs of frames of one picture each."""

    def __init__(
        self, images: list[Tensor], spec: BatchSpec, max_motion: float, seed: int, between: bool = True
    ) -> None:
        """Pan over `images`, (3, H, W) uint8 each, at most `max_motion` low-resolution pixels from frame to frame.

        Without `between` only the frames themselves are targets, which trains in little more than half the time.
        """
        self.images, self.spec, self.max_motion, self.seed, self.between = images, spec, max_motion, seed, between

    def _step(self, scale: float, steps: int, random: torch.Generator) -> tuple[int, int]:
        """How far (x, y) the camera goes in each of `steps`, full-size pixels; often slowly."""
        chance, speed, angle = torch.rand(3, generator=random)
        length = self.max_motion * scale / steps * float(speed) ** 2 * (float(chance) > RESTING_SHARE)
        step = length * torch.stack(((angle * 2 * torch.pi).cos(), (angle * 2 * torch.pi).sin()))
        return int(step[0].round()), int(step[1].round())

    def make(self, number: int) -> Batch:
        """Batch `number`, at one scale and one time between frames."""
        random, side = batch_random(self.seed, number), self.spec.side
        high = round(side * pick_scale(random))
        if not self.between:  # at its own size a frame has all its detail, and there would be nothing to learn
            high = max(high, side + 1)
        steps = MIN_STEPS + pick_int(MAX_STEPS + 1 - MIN_STEPS, random)
        middle = 1 + pick_int(steps - 1, random)
        following = 2 * steps - middle
        seen: dict[int, list[Tensor]] = {0: [], middle: [], steps: [], following: []}
        flows = []
        for _ in range(self.spec.batch):
            x, y = self._step(high / side, steps, random)
            wide, tall = high + abs(x) * following, high + abs(y) * following
            picture = cut_detailed(self.images, (max(wide, tall),) * 2, high, random)
            corner = (max(0, -x * following), max(0, -y * following))
            for step, frames in seen.items():
                left, top = corner[0] + x * step, corner[1] + y * step
                frames.append(picture[:, top : top + high, left : left + high])
            flows.append(torch.tensor([-x, -y]) * (steps * side / high))
        pictures = {step: torch.stack(frames) for step, frames in seen.items()}
        low = [reduce_bicubic(picture, (side, side)) for picture in pictures.values()]
        low = degrade_some(low, self.spec.compressed, random)
        targets = [Target(step / steps, pictures[step]) for step in (middle, 0, steps)]
        batch = Batch(low[0], low[2], (high, high), targets, middle=(low[1], targets[0]), following=low[3])
        if not self.between:
            batch.targets = targets[1:]
            return batch
        flow = torch.stack(flows)[:, :, None, None].expand(-1, -1, side, side)
        batch.flow = torch.cat((flow, -flow))
        return batch
