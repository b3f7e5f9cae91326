"""A pair of frames and how it moves: all that is known of a pair, whatever time and size are asked for."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass, field

from torch import Tensor

from vs_videoinr.networks.warp_blend import SampledFrame
from vs_videoinr.networks.warpinr.exposure import Exposure
from vs_videoinr.networks.warpinr.static_regions import StaticRegions


@dataclass(frozen=True)
class EnlargedFrame:
    """One of a pair's frames at the size asked for last.

    Attributes:
        frame: The frame.
        other: The pair on the frame's other side that was known then; None if there was none.
    """

    frame: SampledFrame
    other: weakref.ref[PairMotion] | None

    def matches(self, size: tuple[int, int], other: PairMotion | None) -> bool:
        """Whether the frame is of `size`, and made with what this `other` pair shows."""
        known = None if self.other is None else self.other()
        return self.frame.picture.shape[-2:] == size and known is other and (other is None) == (self.other is None)


@dataclass(frozen=True, eq=False)
class PairMotion:
    """A pair of frames and how it moves; flows are (B, 2, h, w) in low-resolution pixels, channels (x, y).

    Attributes:
        frame0: (B, 3, h, w).
        frame1: (B, 3, h, w).
        flow01: From frame 0 to frame 1.
        flow10: From frame 1 to frame 0.
        exposure: How both are brought to the same exposure.
        static: Where nothing moves.
        features1: Of frame 1, from half size on, until a pair that begins with it takes them; one entry or none, as for
            large frames.
        enlarged: Frames 0 and 1, by number, as they were asked for last. A frame between two pairs is kept by the later
            one, so that both have it from there.
    """

    frame0: Tensor
    frame1: Tensor
    flow01: Tensor
    flow10: Tensor
    exposure: Exposure
    static: StaticRegions
    features1: list[list[Tensor]] = field(default_factory=list, repr=False)
    enlarged: dict[int, EnlargedFrame] = field(default_factory=dict, repr=False)

    @property
    def textureless(self) -> Tensor:
        """Where there is nothing that could be seen to move, (B, 1, h, w) bool."""
        return self.static.reach > self.static.rest

    @property
    def informative(self) -> Tensor:
        """Where one frame can show of the other what that does not show itself, (B, 1, h, w) bool."""
        return (self.static.reach == 0) & self.exposure.close()

    def take_features1(self) -> list[Tensor] | None:
        """Return the features of frame 1, if they are kept, and let go of them."""
        return self.features1.pop() if self.features1 else None

    def nbytes(self) -> int:
        """Return bytes of tensor memory, but for what is next to nothing."""
        own = [self.frame0, self.frame1, self.flow01, self.flow10, *vars(self.static).values()]
        tensors: int = sum(tensor.nbytes for tensor in itertools.chain(own, *self.features1))
        return tensors + sum(kept.frame.nbytes() for kept in self.enlarged.values())
