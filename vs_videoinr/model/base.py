"""The two calls every network of this family answers.

A pair of frames becomes a field, and a field can be sampled at any time and size. Everything outside
`vs_videoinr.model` is written against these two calls and knows nothing of how they work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn


class VideoField(ABC):
    """A pair of frames, ready to be sampled at any time between them and at any size."""

    @abstractmethod
    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """Return the frame at time `t` (0 is frame 0, 1 is frame 1) as (B, 3, height, width) for `size` (height, width).

        Values are not clamped. `check` is called between chunks of pixels and may raise to abandon the work.
        """

    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of tensor memory that the field holds for as long as it lives."""


class Network(nn.Module, ABC):
    """A network that turns two consecutive frames into a `VideoField`."""

    #: Name by which model cards and checkpoints refer to this class.
    architecture: ClassVar[str]

    @abstractmethod
    def encode(self, frame0: Tensor, frame1: Tensor) -> VideoField:
        """Encode two (B, 3, height, width) RGB frames in [0, 1]; any height and width from 1 up."""
