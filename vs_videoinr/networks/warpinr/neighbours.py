"""The frame before or after one that is enlarged, and the ways to it and back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.self_ensemble import transform, transform_flow


@dataclass(frozen=True)
class Neighbour:
    """Another frame (B, 3, h, w), and the flows to it and back (B, 2, h, w), low-resolution pixels.

    Attributes:
        frame: The other frame, exposed like the one that is enlarged.
        flow_to: From the frame that is enlarged.
        flow_from: Back to it.
        informative: (B, 1, h, w) bool: where it can show something.
    """

    frame: Tensor
    flow_to: Tensor
    flow_from: Tensor
    informative: Tensor

    @classmethod
    def after(cls, pair: PairMotion) -> Neighbour:
        """What frame 0 of a pair sees of frame 1."""
        return cls(pair.exposure.like_first(pair.frame1), pair.flow01, pair.flow10, pair.informative)

    @classmethod
    def before(cls, pair: PairMotion) -> Neighbour:
        """What frame 1 of a pair sees of frame 0."""
        frame = pair.exposure.reversed().like_first(pair.frame0)
        return cls(frame, pair.flow10, pair.flow01, pair.informative)

    def crop(self, rows: slice, columns: slice) -> Neighbour:
        """Return a part of it; what motion leads to beyond is its border."""
        return Neighbour(*(maps[..., rows, columns] for maps in vars(self).values()))

    def transform(self, number: int) -> Neighbour:
        """Return the same where all frames are transformed; see `self_ensemble`."""
        return Neighbour(
            transform(self.frame, number),
            transform_flow(self.flow_to, number),
            transform_flow(self.flow_from, number),
            transform(self.informative, number),
        )
