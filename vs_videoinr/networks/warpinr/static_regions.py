"""Where nothing changes between two frames, and where there is nothing to be seen that could move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

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
    if values.device.type == "cpu":
        return _line_maximum(_line_maximum(values, reach, 3), reach, 2)
    row = F.max_pool2d(values, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return F.max_pool2d(row, (2 * reach + 1, 1), stride=1, padding=(reach, 0))


def _line_maximum(values: Tensor, reach: int, axis: int) -> Tensor:
    """Maxima over `reach` places to both sides along an axis.

    Of twice as many places each time: on a CPU that takes a fraction of the time of `max_pool2d`.
    """
    length, span = 2 * reach + 1, 1
    values = F.pad(values, (reach, reach) if axis == 3 else (0, 0, reach, reach), value=-math.inf)
    while span < length:
        step, size = min(span, length - span), values.shape[axis]
        values = torch.maximum(values.narrow(axis, 0, size - step), values.narrow(axis, step, size - step))
        span += step
    return values


@lru_cache(maxsize=16)
def _places(length: int, axis: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places along an axis, counted from the one border and from the other: (1, 2, length, 1) or (1, 2, 1, length).

    And the same, but for so many beside a bar as are taken for a part of it.
    """
    with torch.inference_mode(False):
        place = torch.arange(length, device=device, dtype=torch.float32)
        places = torch.stack((place, place.flip(0)))[None, :, :, None]
        places = places if axis == 2 else places.mT
        return places, (places - BAR_EDGE_PX).clamp_min(0)


def _bar_lines(black: Tensor, axis: int) -> Tensor:
    """Which lines along an axis belong to bars that begin at its borders, by what is `black` (B, 1, h, w)."""
    places, beside = _places(black.shape[axis], axis, black.device)
    # How many lines there are from each border to the first that is not black.
    bars = places.masked_fill(black.all(5 - axis, keepdim=True), math.inf).amin(axis, keepdim=True)
    return (beside < bars).any(1, keepdim=True)


@lru_cache(maxsize=4)
def _reaches(device: torch.device) -> Tensor:
    """Of blocks of one colour, in pixels, (3, 1, 1, 1, 1)."""
    with torch.inference_mode(False):
        return (BLOCK_PX * 4.0 ** torch.arange(3, device=device)).view(3, 1, 1, 1, 1)


def static_bars(frame0: Tensor, frame1: Tensor) -> Tensor:
    """Where two frames (B, 3, h, w) have black bars along their borders that do not change, (B, 1, h, w) bool.

    With the bars goes what is next to them, which may be a mixture of bar and picture.
    """
    change = (frame0 - frame1).abs().amax(1, keepdim=True)
    black = (torch.maximum(frame0, frame1).amax(1, keepdim=True) < MAX_BAR_BRIGHTNESS) & (change < MAX_BAR_CHANGE)
    return _bar_lines(black, 2) | _bar_lines(black, 3)


def reach_of_rest(frame0: Tensor, frame1: Tensor) -> Tensor:
    """How far around each pixel nothing changes between the frames: (B, 1, h, w), one of 0, 1, 4, 16, infinity."""
    change = (frame0 - frame1).abs().amax(1, keepdim=True).float()
    still, rest, before = change.amax((2, 3), keepdim=True) < MAX_STATIC_CHANGE, torch.zeros_like(change), 0
    for reach in (1, 4, 16):
        change = _square_maximum(change, reach - before)
        rest, before = rest.masked_fill(change < MAX_STATIC_CHANGE, reach), reach
    return rest.masked_fill(still, math.inf)


def reach_of_colour(frames: Tensor, ignored: Tensor | None = None) -> Tensor:
    """How far around each pixel frames (B, 3, h, w) are of one colour: (B, 1, h, w), one of 0, 4, 16, 64.

    What is there where `ignored` (B, 1, h, w) is true does not count.
    """
    frames = frames.float()
    # One after the other: of large frames, both at once would be much.
    extremes = torch.cat([_block_maximum(values, ignored) for values in (frames, -frames)], 1)
    return _reach_of_colour(extremes, frames.shape[-2], frames.shape[-1])


def _reach_of_colour(extremes: Tensor, height: int, width: int) -> Tensor:
    """The same, by the highest values of each block in frames of `height` and `width`, and in their negative."""
    before, around = 0, []
    for blocks in (1, 4, MAX_MOTION_PX // BLOCK_PX):
        extremes, before = _square_maximum(extremes, blocks - before), blocks
        around.append(extremes)
    highest, lowest = torch.stack(around).chunk(2, 2)
    reach = (((highest + lowest).amax(2, keepdim=True) < MAX_BLANK_CONTRAST) * _reaches(extremes.device)).amax(0)
    return F.interpolate(reach, scale_factor=BLOCK_PX, mode="nearest")[..., :height, :width]


def _block_maximum(values: Tensor, ignored: Tensor | None = None) -> Tensor:
    if ignored is not None:
        values = values.masked_fill(ignored, -math.inf)
    return F.max_pool2d(values, BLOCK_PX, ceil_mode=True)


def one_is_empty(frame0: Tensor, frame1: Tensor, bars: Tensor) -> Tensor:
    """Whether one of two frames (B, 3, h, w) shows nothing of the other, but grain perhaps: (B, 1, 1, 1) bool.

    What is there where `bars` (B, 1, h, w) is true does not count.
    """
    inside = (~bars).float()
    counts = F.avg_pool2d(inside, GRAIN_BLOCK_PX, ceil_mode=True)
    both = (torch.stack((frame0, frame1)).float() * inside).flatten(0, 1)
    colours = F.avg_pool2d(both, GRAIN_BLOCK_PX, ceil_mode=True)
    colours = colours.view(2, -1, *colours.shape[1:]) / counts.clamp_min(1e-6)
    shares = counts / counts.sum((2, 3), keepdim=True).clamp_min(1e-6)
    mean = (colours * shares).sum((3, 4), keepdim=True)
    variance = ((colours - mean).square() * shares).sum((3, 4), keepdim=True)
    contrasts = variance.mean(2, keepdim=True).sqrt().unbind()
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
            both = torch.cat((frames.float(), -frames.float()), 1)
            inside = both.view(2, -1, *both.shape[1:]).masked_fill(bars, -math.inf).flatten(0, 1)
            extremes = _block_maximum(torch.cat((both, inside)))
            one_colour, inside = _reach_of_colour(extremes, both.shape[-2], both.shape[-1]).chunk(2)
        first, second = inside.chunk(2)
        empty = (torch.maximum(first, second) >= MAX_MOTION_PX) | one_is_empty(frame0, frame1, bars)
        nothing = torch.minimum(first, second).masked_fill(empty, math.inf)
        return cls(rest, torch.maximum(rest, nothing), one_colour > 0)


def static_mask(reach: Tensor, motion: Tensor) -> Tensor:
    """Where nothing changes, or can be seen to move, as far around as `motion` leads: (B, 1, h, w) in [0, 1].

    A still picture stays exactly still, while what hurries across it between the frames keeps its longer motion.
    """
    # Nothing is learned through the gate itself: the length of no motion at all has no gradient.
    x, y = motion.detach().chunk(2, 1)
    length = torch.hypot(x, y)  # a hundredth of what a norm along an axis takes
    mask: Tensor = (reach + 1 - length).clamp(0, 1) * (reach > 0)
    return mask
