"""A pair of frames as Zooming Slow-Mo shows it: at four times the size, at 0, ½ and 1."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vs_videoinr.networks.base import VideoField, checked_query

if TYPE_CHECKING:
    from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo


@dataclass(frozen=True)
class PairFrames:
    """A pair of frames, (B, 3, h, w) each: what neighbouring pairs are told.

    The encoder's features of them would spare the neighbours a twelfth of their work, but take thirty times the memory.
    """

    frame0: Tensor
    frame1: Tensor


@dataclass(frozen=True)
class _Encoded:
    """What the encoder has made of a pair and the frames before and after it, where there are such.

    Attributes:
        before: (B, 3, h, w), or None.
        after: Likewise.
        maps: Of frame 0, of the moment between, and of frame 1; see `Encoder.recurrent_maps`.
    """

    before: Tensor | None
    after: Tensor | None
    maps: tuple[Tensor, ...]

    def tensors(self) -> list[Tensor]:
        """All that is held."""
        return [tensor for tensor in (self.before, self.after, *self.maps) if tensor is not None]


class ZoomingSlowMoField(VideoField):
    """A pair of frames among its neighbours, encoded when it is sampled first."""

    def __init__(self, network: ZoomingSlowMo, pair: PairFrames) -> None:
        self._network = network
        self._pair = pair
        self._before: Tensor | None = None
        self._after: Tensor | None = None
        self._last: list[_Encoded] = []  # one at most: of the neighbours known last; a pair's fields share it

    @property
    def pair_motion(self) -> PairFrames:
        """See `VideoField.pair_motion`."""
        return self._pair

    def with_neighbours(self, before: PairFrames | None, after: PairFrames | None) -> ZoomingSlowMoField:
        """See `VideoField.with_neighbours`: the window grows by the first frame of `before` and the last of `after`."""
        field = copy.copy(self)
        field._before = None if before is None else before.frame0
        field._after = None if after is None else after.frame1
        return field

    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.sample`.

        Raises:
            LimitError: `t` is not 0, 0.5 or 1, or `size` is not four times the frames'.
            ValueError, TypeError: See `checked_query`.
        """
        t, size = checked_query(t, size)
        limits, (height, width) = self._network.limits, self._pair.frame0.shape[-2:]
        limits.check_size((height, width), size)
        place = limits.times.index(limits.known_time(t))
        picture = self._network.decode(self._maps()[place], check)
        return picture[..., : size[0], : size[1]].float()

    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:  # noqa: ARG002
        """Raise LimitError: no motion is known. ValueError, TypeError: see `checked_query`."""
        checked_query(t, size)
        raise self._network.limits.no_motion()

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        tensors = [self._pair.frame0, self._pair.frame1]
        for encoded in self._last:
            tensors += encoded.tensors()
        return sum(tensor.nbytes for tensor in tensors)

    def _maps(self) -> tuple[Tensor, ...]:
        """Return the maps of both frames and of the moment between them, in time order."""
        for encoded in self._last:
            if _same(encoded.before, self._before) and _same(encoded.after, self._after):
                return encoded.maps
        self._last.clear()  # before the next one is made
        first = 0 if self._before is None else 2
        around = (self._before, self._pair.frame0, self._pair.frame1, self._after)
        window = [frame for frame in around if frame is not None]
        maps = self._network.recurrent_maps(window, range(first, first + 3)).chunk(3)
        self._last.append(_Encoded(self._before, self._after, maps))
        return maps


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
