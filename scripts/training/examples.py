"""What a network learns from: frames with their neighbours and what they should look like, and pairs with their motion.

How the frames move is found by the network's own motion, which takes longer than learning from them does. So batches
are taken in groups, and each is used several times, mirrored and turned in another way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scripts.data.batch import Batch, Target, batch_random, pick_int
from scripts.data.feed import Feed
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.network import WarpINR
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform
from vs_videoinr.networks.warpinr.static_regions import reach_of_colour

GROUP_BATCHES = 48  # that are taken in turns, in a random order
FULL_SIZE_PX = 120  # side of what is seen of true pictures
ALONE_SHARE, ONE_NEIGHBOUR_SHARE = 0.1, 0.1  # of the steps show no neighbour, or one


@dataclass(frozen=True)
class MotionExample:
    """Pairs of frames (B, 3, h, w), and the flow between them: (2B, 2, h, w), 0 → 1, then 1 → 0."""

    frame0: Tensor
    frame1: Tensor
    flow: Tensor


class MotionExamples:
    """Pairs by the number of the step."""

    def __init__(self, feed: Feed, teacher: WarpINR | None) -> None:
        """Take photographs in motion from `feed`, whose true flow is known; with a `teacher` batches of all sources.

        It is asked for the flow of those that do not have one. Every second time it sees them at their own size.
        """
        self.feed, self.teacher = feed, teacher

    def get(self, step: int) -> MotionExample:
        """The example of a step."""
        batch = self.feed.get(step, motion=self.teacher is None)
        if batch.flow is not None:
            return MotionExample(batch.frame0, batch.frame1, batch.flow)
        assert self.teacher is not None
        frames = batch.frame0, batch.frame1
        if step % 2 and {0.0, 1.0} <= {target.t for target in batch.targets}:
            frames = _full_size_pair(batch)
        with torch.no_grad():
            return MotionExample(*frames, self.teacher.flow_levels(*frames)[-1])


def _full_size_pair(batch: Batch) -> tuple[Tensor, Tensor]:
    """The middle of the first true pictures, as of what is shown at its own size; about as many pixels as of frames."""
    side, pictures = FULL_SIZE_PX, max(1, len(batch.frame0) // 2)
    at = {target.t: target.rgb for target in batch.targets}
    top, left = (max(length - side, 0) // 2 for length in batch.size)
    first, last = (at[t][:pictures, :, top : top + side, left : left + side] for t in (0.0, 1.0))
    return first, last


@dataclass(frozen=True)
class Example:
    """Frames (B, 3, h, w) to enlarge.

    Attributes:
        frame: The frames.
        neighbours: The frames next to them: the one before and the one after, or none.
        truth: What they should look like, (B, 3, H, W).
        taught: What the teacher makes of them, (B, 3, H, W), if there is one.
    """

    frame: Tensor
    neighbours: list[Neighbour]
    truth: Tensor
    taught: Tensor | None = None

    def transform(self, way: int) -> Example:
        """Return the same in another view; see `self_ensemble`."""
        neighbours = [one.transform(way) for one in self.neighbours]
        taught = None if self.taught is None else transform(self.taught, way)
        return Example(transform(self.frame, way), neighbours, transform(self.truth, way), taught)

    def enlarged(self, net: WarpINR) -> Tensor:
        """Return what a network makes of the frames, of the truth's size."""
        height, width = self.truth.shape[-2:]
        return net.enlarge(self.frame, self.neighbours, reach_of_colour(self.frame) > 0, (height, width))


class Examples:
    """Examples by the number of the step; the same for a number however often training was stopped before it."""

    def __init__(self, feed: Feed, net: WarpINR, teacher: WarpINR | None, repeats: int, seed: int) -> None:
        """Take batches from `feed` and their motion from `net`, and use each `repeats` times.

        What the `teacher` makes of a frame, with all of its neighbours, goes with it.
        """
        self.feed, self.net, self.teacher, self.repeats, self.seed = feed, net, teacher, repeats, seed
        self.group = -1
        self.examples: list[Example] = []

    def get(self, step: int) -> Example:
        """The example of a step."""
        group, place = divmod(step, GROUP_BATCHES * self.repeats)
        if group != self.group:
            self.group = group
            numbers = range(group * GROUP_BATCHES, (group + 1) * GROUP_BATCHES)
            self.examples = [one for number in numbers for one in self._examples(self.feed.get(number, motion=False))]
        turn = batch_random(self.seed + 3, group * GROUP_BATCHES * self.repeats + place // len(self.examples))
        number = int(torch.randperm(len(self.examples), generator=turn)[place % len(self.examples)])
        random = batch_random(self.seed + 2, step)
        example = self.examples[number].transform(pick_int(TRANSFORMS, random))
        chance = float(torch.rand((), generator=random))
        if chance < ALONE_SHARE:
            return replace(example, neighbours=[])
        if chance < ALONE_SHARE + ONE_NEIGHBOUR_SHARE:
            side = pick_int(2, random)  # the one before or the one after
            return replace(example, neighbours=example.neighbours[side : side + 1])
        return example

    @torch.no_grad()
    def _examples(self, batch: Batch) -> list[Example]:
        if batch.middle is None:
            return [self._taught(Example(batch.frame0, [], batch.targets[0].rgb))]
        frame, truth = batch.middle
        before, after = self.net.estimate_motion(batch.frame0, frame), self.net.estimate_motion(frame, batch.frame1)
        examples = [Example(frame, [Neighbour.before(before), Neighbour.after(after)], truth.rgb)]
        if batch.following is not None:
            later = self.net.estimate_motion(batch.frame1, batch.following)
            neighbours = [Neighbour.before(after), Neighbour.after(later)]
            examples.append(Example(batch.frame1, neighbours, _at_last(batch).rgb))
        return [self._taught(example) for example in examples]

    def _taught(self, example: Example) -> Example:
        return example if self.teacher is None else replace(example, taught=example.enlarged(self.teacher))


def _at_last(batch: Batch) -> Target:
    """What a batch's last frame should look like."""
    return next(target for target in batch.targets if target.t == 1)
