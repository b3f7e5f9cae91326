"""What lies beyond black and white: values outside [0, 1], which a network has never seen, go past it.

Limited-range video holds super-whites and super-blacks, colours that RGB cannot show, and float clips any brightness.
That part of a frame is enlarged by itself, led along the network's own motion (where it knows one), blended in time and
added again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks.base import VideoField
from vs_videoinr.rendering.motion_compensation import motion_compensate


class OutOfRange:
    """What two frames hold outside [0, 1]: (1, 3, height, width) each."""

    def __init__(self, frames: tuple[Tensor, Tensor]) -> None:
        self._frames = frames

    @classmethod
    def of(cls, first: Tensor | None, second: Tensor | None) -> OutOfRange | None:
        """Return what lies beyond in two frames, None in either where nothing does; None where nothing does in both."""
        if first is None and second is None:
            return None
        return cls(
            (
                torch.zeros_like(second) if first is None else first,  # type: ignore[arg-type]
                torch.zeros_like(first) if second is None else second,  # type: ignore[arg-type]
            )
        )

    def at(self, field: VideoField | None, t: float, size: tuple[int, int]) -> Tensor:
        """Return it at time `t`, (1, 3, height, width) of `size` (height, width).

        `field` is the pair's, which knows how it moves; None where that is not known.
        """
        if t in (0, 1):
            there = self._frames[round(t)]
        elif field is None:
            there = torch.lerp(*self._frames, t)
        else:
            there = motion_compensate(field, t, *self._frames)
        return F.interpolate(there, size=size, mode="bilinear", align_corners=False)

    def nbytes(self) -> int:
        """Bytes that it holds."""
        return sum(frame.nbytes for frame in self._frames)
