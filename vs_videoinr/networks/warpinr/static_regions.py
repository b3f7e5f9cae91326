"""Where nothing changes between two frames, and where there is nothing to be seen that could move."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STILL = 0.5 / 255  # two frames that differ by less in a pixel are taken to rest there
BLANK = 1.5 / 255  # what differs by less around a place shows nothing there that could be followed
BLOCK = 4  # pixels a side of the squares of which that is told
FAR = 64  # pixels: what moves farther than about that is not found


def _square(values: Tensor, reach: int) -> Tensor:
    """Maxima over the square of `reach` around each place: a row's maxima of columns' maxima."""
    row = F.max_pool2d(values, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return F.max_pool2d(row, (2 * reach + 1, 1), stride=1, padding=(reach, 0))


def reach_of_rest(frame0: Tensor, frame1: Tensor) -> Tensor:
    """How far around each pixel nothing changes between the frames: (B, 1, h, w), one of 0, 1, 4, 16, infinity."""
    change = (frame0 - frame1).abs().amax(1, keepdim=True).float()
    rest = torch.where(change.amax((2, 3), keepdim=True) < STILL, math.inf, torch.zeros_like(change))
    for reach in (1, 4, 16):
        rest = torch.where(_square(change, reach) < STILL, rest.clamp_min(reach), rest)
    return rest


def reach_of_colour(frames: Tensor) -> Tensor:
    """How far around each pixel frames (B, 3, h, w) are of one colour: (B, 1, h, w), one of 0, 4, 16, 64."""
    height, width = frames.shape[-2:]
    frames = frames.float()
    extremes = torch.cat([F.max_pool2d(values, BLOCK, ceil_mode=True) for values in (frames, -frames)], 1)
    reach = torch.zeros_like(extremes[:, :1])
    for blocks in (1, 4, FAR // BLOCK):
        highest, lowest = _square(extremes, blocks).chunk(2, 1)
        reach = torch.where((highest + lowest).amax(1, keepdim=True) < BLANK, blocks * BLOCK, reach)
    return F.interpolate(reach, scale_factor=BLOCK, mode="nearest")[..., :height, :width]


@dataclass(frozen=True)
class Stillness:
    """What is known of a pair of frames without knowing its motion."""

    rest: Tensor  # (B, 1, h, w): see reach_of_rest
    reach: Tensor  # (B, 1, h, w): how far around each pixel nothing changes, or there is nothing to follow
    blank: Tensor  # (2B, 1, h, w) bool: where each frame is of one colour

    @classmethod
    def between(cls, frame0: Tensor, frame1: Tensor, colour: bool = True) -> Stillness:
        """What there is to know of two frames (B, 3, h, w); without `colour`, where nothing changes and no more.

        There is nothing to follow where both frames are of one colour each; or where one of them is as far as motion
        can be found, as in a picture that comes out of black. What is found there instead of motion can be anything.
        """
        rest, frames = reach_of_rest(frame0, frame1), torch.cat((frame0, frame1))
        one_colour = reach_of_colour(frames) if colour else torch.zeros_like(frames[:, :1]).float()
        first, second = one_colour.chunk(2)
        nothing = torch.where(torch.maximum(first, second) >= FAR, math.inf, torch.minimum(first, second))
        return cls(rest, torch.maximum(rest, nothing), one_colour > 0)


def at_rest(reach: Tensor, motion: Tensor) -> Tensor:
    """Where nothing changes, or can be seen to move, as far around as `motion` leads: (B, 1, h, w) in [0, 1].

    A still picture stays exactly still, while what hurries across it between the frames keeps its longer motion.
    """
    # Nothing is learned through the gate itself: the length of no motion at all has no gradient.
    return (reach + 1 - motion.detach().square().sum(1, keepdim=True).sqrt()).clamp(0, 1) * (reach > 0)
