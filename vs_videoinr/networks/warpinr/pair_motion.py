"""How a pair of frames moves: what the fields of neighbouring pairs are told."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vs_videoinr.networks.warpinr.exposure import Exposure


@dataclass(frozen=True)
class PairMotion:
    """A pair of frames and how it moves; flows are (B, 2, h, w) in low-resolution pixels, channels (x, y).

    Attributes:
        frame0: (B, 3, h, w).
        frame1: (B, 3, h, w).
        flow01: From frame 0 to frame 1.
        flow10: From frame 1 to frame 0.
        textureless: (B, 1, h, w) bool: where there is nothing that could be seen to move.
        informative: (B, 1, h, w) bool: where one frame can show of the other what that does not show itself.
        exposure: How both are brought to the same exposure.
    """

    frame0: Tensor
    frame1: Tensor
    flow01: Tensor
    flow10: Tensor
    textureless: Tensor
    informative: Tensor
    exposure: Exposure

    def reversed(self) -> PairMotion:
        """Return the same pair the other way round."""
        return PairMotion(
            self.frame1,
            self.frame0,
            self.flow10,
            self.flow01,
            self.textureless,
            self.informative,
            self.exposure.reversed(),
        )

    def nbytes(self) -> int:
        """Return bytes of tensor memory, but for what is next to nothing."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, Tensor))
