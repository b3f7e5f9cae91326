"""Frames of a pair brought to the same exposure, so that a fade is not taken for motion or for something uncovered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_PX = 4  # side of the squares whose means tell how a frame is exposed
MIN_FADE_CHANGE = 1.5 / 255  # of the sorted colours of two frames that are exposed differently
MAX_UNEXPLAINED_SHARE = 0.4  # of that change, if it is exposure
MIN_CONTRAST = 1 / 255  # of a frame in which anything can be seen
MAX_DETAIL_GAIN = 2.0  # a frame with that much less contrast is rounded too much to show detail of the other
MAX_GAIN = 20.0  # a frame with that much less contrast has nothing in it but rounding


def _inside(colours: Tensor, barred: Tensor) -> Tensor:
    """Colours (2, B, 3, n) with the mean of all others in the place of those that are `barred` (B, 1, n)."""
    others = (~barred).float()
    mean = (colours * others).sum(3, keepdim=True) / others.sum(2, keepdim=True).clamp_min(1)
    return torch.where(barred, mean, colours)


def _possible(changed: Tensor, frame: Tensor) -> Tensor:
    """A frame after its exposure was `changed`, from black to white, or as far beyond them as it was before."""
    return changed.clamp(frame.clamp_max(0), frame.clamp_min(1)).to(frame.dtype)


@dataclass(frozen=True)
class Exposure:
    """How the frames of a pair are made to look alike, gain · frame + offset; the one with more contrast stays.

    What that would make darker than black, or lighter than white, was no part of the fade: black bars, as a rule.
    """

    gains: tuple[Tensor, Tensor]  # (B, 1, 1, 1) each; 1 where nothing fades
    offsets: tuple[Tensor, Tensor]  # (B, 3, 1, 1) each; 0 where nothing fades
    known_equal: bool = False  # whether nothing is known to fade, so that frames are taken as they are

    @classmethod
    def equal(cls, frame: Tensor) -> Exposure:
        """Return the exposure of a pair like `frame` (B, 3, h, w) in which nothing fades."""
        gain, offset = torch.ones_like(frame[:, :1, :1, :1]), torch.zeros_like(frame[..., :1, :1])
        return cls((gain, gain), (offset, offset), known_equal=True)

    @classmethod
    @torch.no_grad()
    def between(cls, frame0: Tensor, frame1: Tensor, bars: Tensor) -> Exposure:
        """Compare frames (B, 3, h, w) by their colours alone, wherever in the picture these are.

        A fade leaves a share of the picture before one colour. Means tell that colour, and deviations the share; it is
        believed where it makes the sorted colours of both frames nearly the same, and most places more alike than they
        were: what has come into a picture, or has gone, leaves most places as they are. Black bars beside the picture
        are left out: `bars`, see `static_bars`.
        """
        # Both frames are one tensor, (2, B, …), as far as can be: a GPU takes as long to begin a piece of work as to do
        # it.
        barred = F.max_pool2d(bars.float(), BLOCK_PX, ceil_mode=True).flatten(2) > 0
        both = F.avg_pool2d(torch.cat((frame0, frame1)).float(), BLOCK_PX, ceil_mode=True)
        both = _inside(both.view(2, -1, *both.shape[1:]).flatten(3), barred)
        means = both.mean(3, keepdim=True)
        spreads = both.var(3, correction=0).mean(2).sqrt()[..., None, None]
        fainter, stronger = spreads.amin(0), spreads.amax(0)
        gains = (stronger / spreads.clamp_min(1e-6)).clamp_max(2 * MAX_GAIN)
        ratio = gains.amax(0)
        aim = torch.where(spreads[0] >= spreads[1], means[0], means[1])
        offsets = torch.addcmul(aim, gains, means, value=-1)
        # Sorted colours, and those of all places but bars; as they are, and as if they were exposed the same.
        seen = torch.stack((both.sort(3).values, both.masked_fill(barred, math.nan)))
        seen = torch.stack((seen, torch.addcmul(offsets, seen, gains)))
        differences = (seen[:, :, 0] - seen[:, :, 1]).abs().flatten(3)
        before, after = differences[:, 0].mean(2)
        usual, then = differences[:, 1].nanmedian(2).values
        less = then < usual * ratio.flatten()  # in the fainter frame's terms
        fades = ((before > MIN_FADE_CHANGE) & (after < MAX_UNEXPLAINED_SHARE * before) & less).view(-1, 1, 1)
        same = ~(fades & (fainter > MIN_CONTRAST) & (ratio < MAX_GAIN))
        gains, offsets = gains.masked_fill(same, 1), offsets.masked_fill(same, 0)
        return cls((gains[0, ..., None], gains[1, ..., None]), (offsets[0, ..., None], offsets[1, ..., None]))

    def match(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Both frames (B, 3, h, w) as if they were exposed the same."""
        if self.known_equal:
            return frame0, frame1
        first, second = self._changed(frame0, frame1)
        return _possible(first, frame0), _possible(second, frame1)

    def _changed(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        first, second = (
            torch.addcmul(offset, frame.float(), gain)
            for offset, frame, gain in zip(self.offsets, (frame0, frame1), self.gains, strict=True)
        )
        return first, second

    def reversed(self) -> Exposure:
        """The same for the frames in the other order."""
        return Exposure(self.gains[::-1], self.offsets[::-1], self.known_equal)

    def like_first(self, frame1: Tensor) -> Tensor:
        """The second frame as if it were exposed like the first one, which stays as it is."""
        if self.known_equal:
            return frame1
        changed = torch.addcmul(self.offsets[1] - self.offsets[0], frame1.float(), self.gains[1]) / self.gains[0]
        return _possible(changed, frame1)

    def is_equal(self) -> bool:
        """Whether nothing fades. That waits for the frames' device."""
        return all(bool((gain == 1).all()) for gain in self.gains) and not any(map(torch.any, self.offsets))

    def close(self) -> Tensor:
        """Whether neither frame is so much fainter that its rounding would show in the other, (B, 1, 1, 1) bool."""
        return torch.maximum(*self.gains) < MAX_DETAIL_GAIN

    def contrast_ratios(self) -> tuple[Tensor, Tensor]:
        """How much of the contrast that both have in `match` is in each, (B, 1, 1, 1)."""
        return 1 / self.gains[0], 1 / self.gains[1]
