"""Where nothing changes between two frames, and where there is nothing to be seen that could move."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_STATIC_CHANGE = 0.5 / 255  # of a pixel that rests between two frames
MAX_BLANK_CONTRAST = 1.5 / 255  # around a place that shows nothing that could be followed
BLOCK_PX = 4  # side of the squares of which that is told
MAX_BAR_BRIGHTNESS = 12 / 255
MAX_BAR_CHANGE = 3 / 255  # from frame to frame
BAR_EDGE_PX = 2  # beside a bar, where it may be mixed with the picture
GRAIN_BLOCK_PX = 8  # side of the squares over which grain is averaged
MIN_CONTRAST = 2 / 255  # of those squares, in a frame that shows anything
MIN_CONTRAST_RATIO = 0.25  # of a frame to the other one, if both show anything
MAX_MOTION_PX = 64  # what moves farther than about that is not found


def _square_maximum(values: Tensor, reach: int) -> Tensor:
    """Maxima over the square of `reach` around each place: a row's maxima of columns' maxima."""
    row = F.max_pool2d(values, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return F.max_pool2d(row, (2 * reach + 1, 1), stride=1, padding=(reach, 0))


def static_bars(frame0: Tensor, frame1: Tensor) -> Tensor:
    """Where two frames (B, 3, h, w) have black bars along their borders that do not change, (B, 1, h, w) bool.

    With the bars goes what is next to them, which may be a mixture of bar and picture.
    """
    change = (frame0 - frame1).abs().amax(1, keepdim=True)
    black = (torch.maximum(frame0, frame1).amax(1, keepdim=True) < MAX_BAR_BRIGHTNESS) & (change < MAX_BAR_CHANGE)
    bars = torch.zeros_like(black)
    for across, along in ((3, 2), (2, 3)):
        line = black.all(across, keepdim=True).int()
        bars |= (line.cumprod(along) + line.flip(along).cumprod(along).flip(along)).bool()
    return _square_maximum(bars.float(), BAR_EDGE_PX) > 0


def reach_of_rest(frame0: Tensor, frame1: Tensor) -> Tensor:
    """How far around each pixel nothing changes between the frames: (B, 1, h, w), one of 0, 1, 4, 16, infinity."""
    change = (frame0 - frame1).abs().amax(1, keepdim=True).float()
    rest = torch.where(change.amax((2, 3), keepdim=True) < MAX_STATIC_CHANGE, math.inf, torch.zeros_like(change))
    for reach in (1, 4, 16):
        rest = torch.where(_square_maximum(change, reach) < MAX_STATIC_CHANGE, rest.clamp_min(reach), rest)
    return rest


def reach_of_colour(frames: Tensor, ignored: Tensor | None = None) -> Tensor:
    """How far around each pixel frames (B, 3, h, w) are of one colour: (B, 1, h, w), one of 0, 4, 16, 64.

    What is there where `ignored` (B, 1, h, w) is true does not count.
    """
    height, width = frames.shape[-2:]
    frames = frames.float()
    # One after the other: of large frames, both at once would be much.
    extremes = torch.cat([_block_maximum(values, ignored) for values in (frames, -frames)], 1)
    reach = torch.zeros_like(extremes[:, :1])
    for blocks in (1, 4, MAX_MOTION_PX // BLOCK_PX):
        highest, lowest = _square_maximum(extremes, blocks).chunk(2, 1)
        reach = torch.where((highest + lowest).amax(1, keepdim=True) < MAX_BLANK_CONTRAST, blocks * BLOCK_PX, reach)
    return F.interpolate(reach, scale_factor=BLOCK_PX, mode="nearest")[..., :height, :width]


def _block_maximum(values: Tensor, ignored: Tensor | None) -> Tensor:
    if ignored is not None:
        values = values.masked_fill(ignored, -math.inf)
    return F.max_pool2d(values, BLOCK_PX, ceil_mode=True)


def one_is_empty(frame0: Tensor, frame1: Tensor, bars: Tensor) -> Tensor:
    """Whether one of two frames (B, 3, h, w) shows nothing of the other, but grain perhaps: (B, 1, 1, 1) bool.

    What is there where `bars` (B, 1, h, w) is true does not count.
    """
    counts = F.avg_pool2d((~bars).float(), GRAIN_BLOCK_PX, ceil_mode=True)
    counts = torch.cat((counts, counts))
    both = torch.cat((frame0, frame1)).float() * ~torch.cat((bars, bars))
    colours = F.avg_pool2d(both, GRAIN_BLOCK_PX, ceil_mode=True) / counts.clamp_min(1e-6)
    total = counts.sum((2, 3), keepdim=True).clamp_min(1e-6)
    mean = (colours * counts).sum((2, 3), keepdim=True) / total
    variance = ((colours - mean).square() * counts).sum((2, 3), keepdim=True) / total
    contrasts = variance.mean(1, keepdim=True).sqrt().chunk(2)
    fainter, stronger = torch.minimum(*contrasts), torch.maximum(*contrasts)
    return (fainter < MIN_CONTRAST) & (fainter < MIN_CONTRAST_RATIO * stronger)


@dataclass(frozen=True)
class StaticRegions:
    """What is known of a pair of frames without knowing its motion."""

    rest: Tensor  # (B, 1, h, w): see reach_of_rest
    reach: Tensor  # (B, 1, h, w): how far around each pixel nothing changes, or there is nothing to follow
    blank: Tensor  # (2B, 1, h, w) bool: where each frame is of one colour

    @classmethod
    def between(cls, frame0: Tensor, frame1: Tensor, bars: Tensor, colour: bool = True) -> StaticRegions:
        """What there is to know of two frames (B, 3, h, w); without `colour`, where nothing changes and no more.

        There is nothing to follow where both frames are of one colour each; or where one of them is as far as motion
        can be found, as in a picture that comes out of black, or shows nothing but grain. What is found there instead
        of motion can be anything. Black `bars` beside the picture, see `static_bars`, are none of it.
        """
        rest, frames = reach_of_rest(frame0, frame1), torch.cat((frame0, frame1))
        if not colour:
            return cls(rest, rest, torch.zeros_like(frames[:, :1], dtype=torch.bool))
        if frames.device.type == "cpu":
            inside = one_colour = reach_of_colour(frames)
            if bars.any():
                inside = reach_of_colour(frames, torch.cat((bars, bars)))
        else:  # whether there are any, a GPU would have to be waited for
            ignored = torch.cat((bars, bars))
            ignored = torch.cat((torch.zeros_like(ignored), ignored))
            one_colour, inside = reach_of_colour(torch.cat((frames, frames)), ignored).chunk(2)
        first, second = inside.chunk(2)
        empty = (torch.maximum(first, second) >= MAX_MOTION_PX) | one_is_empty(frame0, frame1, bars)
        nothing = torch.where(empty, math.inf, torch.minimum(first, second))
        return cls(rest, torch.maximum(rest, nothing), one_colour > 0)


def static_mask(reach: Tensor, motion: Tensor) -> Tensor:
    """Where nothing changes, or can be seen to move, as far around as `motion` leads: (B, 1, h, w) in [0, 1].

    A still picture stays exactly still, while what hurries across it between the frames keeps its longer motion.
    """
    # Nothing is learned through the gate itself: the length of no motion at all has no gradient.
    length: Tensor = torch.linalg.vector_norm(motion.detach(), dim=1, keepdim=True)
    mask: Tensor = (reach + 1 - length).clamp(0, 1) * (reach > 0)
    return mask
