"""Batches from real clips: pieces in which something moves; frames left out are the truth for times in between."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scripts.data.batch import MAX_SCALE, Batch, BatchSpec, Target, batch_random, pick_int, pick_scale
from scripts.data.degradation import degrade_some, reduce_bicubic
from scripts.data.video import Frames, frame_rate, opened, to_tensor
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform

CUT_CHANGE = 0.12  # mean absolute difference, of 1, between neighbours from which on they are of different shots
MIN_SHOT_FRAMES = 3
PAIR_DISTANCES = (2, 2, 2, 3, 4)  # frames from the first to the second of a pair
FAST_FPS = 50  # from this rate on every second pair lies twice as far apart
CANDIDATES = 4  # pieces of which the liveliest is taken, for much of the footage stands still


def shots(frames: Frames) -> list[tuple[int, int]]:
    """Stretches (first, end) without cuts."""
    small = frames[:, ::16, ::16].astype(np.float32) / 255
    change = np.abs(np.diff(small, axis=0)).mean((1, 2, 3))
    cuts = [0, *(int(i) + 1 for i in np.flatnonzero(change > CUT_CHANGE)), len(frames)]
    return [(first, end) for first, end in itertools.pairwise(cuts) if end - first >= MIN_SHOT_FRAMES]


class Clips:
    """Makes batches of moving pieces of clips."""

    def __init__(self, files: list[Path], cache: Path, spec: BatchSpec, seed: int) -> None:
        self.cache, self.spec, self.seed = cache, spec, seed
        self.clips = [(path, shots(opened(path, cache)), frame_rate(path) >= FAST_FPS) for path in files]
        largest, longest = round(spec.side * MAX_SCALE), 2 * max(PAIR_DISTANCES)
        if not any(
            min(opened(path, cache).shape[1:3]) >= largest and any(end - first >= longest for first, end in found)
            for path, found, _ in self.clips
        ):
            raise SystemExit(
                f"no clip has a shot of {longest} frames of at least {largest}x{largest} pixels to cut pieces from: "
                "give larger ones, or leave out the share of clips"
            )
        lengths = [sum(end - first for first, end in found) for _, found, _ in self.clips]
        self.weights = torch.tensor([float(length) ** 0.5 for length in lengths])

    def make(self, number: int) -> Batch:
        """Batch `number`, at one scale and one time between frames."""
        random, side = batch_random(self.seed, number), self.spec.side
        high = round(side * pick_scale(random))
        distance = PAIR_DISTANCES[pick_int(len(PAIR_DISTANCES), random)]
        t = (1 + pick_int(distance - 1, random)) / distance
        pieces = [self._piece(high, t, distance, random) for _ in range(self.spec.batch)]
        first, middle, last, following = (torch.stack(frames) for frames in zip(*pieces, strict=True))
        low = [reduce_bicubic(frame, (side, side)) for frame in (first, middle, last, following)]
        low = degrade_some(low, self.spec.compressed, random)
        targets = [Target(t, middle), Target(0.0, first), Target(1.0, last)]
        return Batch(low[0], low[2], (high, high), targets, middle=(low[1], targets[0]), following=low[3])

    def _piece(self, high: int, t: float, distance: int, random: torch.Generator) -> list[Tensor]:
        """One piece (3, high, high) at four times: the pair's first, the one at `t`, its second, the following one."""
        best: list[Tensor] = []
        most = -1.0
        while not best:
            for _ in range(CANDIDATES):
                path, stretches, fast = self.clips[int(torch.multinomial(self.weights, 1, generator=random))]
                frames = opened(path, self.cache)
                span = distance * 2 if fast and pick_int(2, random) else distance
                middle, following = round(t * span), 2 * span - round(t * span)
                fitting = [(first, end) for first, end in stretches if end - first > following]
                if not fitting or min(frames.shape[1:3]) < high:
                    continue
                first, end = fitting[pick_int(len(fitting), random)]
                start = first + pick_int(end - following - first, random)
                top, left = (pick_int(length - high + 1, random) for length in frames.shape[1:3])
                window = (slice(top, top + high), slice(left, left + high))
                piece = [frames[start + n][window] for n in (0, middle, span, following)]
                motion = float(np.abs(piece[0][::4, ::4].astype(np.int16) - piece[2][::4, ::4]).mean())
                if motion > most:
                    most, best = motion, [to_tensor(frame) for frame in piece]
        turn = pick_int(TRANSFORMS, random)
        return [transform(frame, turn) for frame in best]
