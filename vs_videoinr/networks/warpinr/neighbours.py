"""Other frames that show something of a frame that is enlarged, and the ways to them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.self_ensemble import transform, transform_flow


@dataclass(frozen=True)
class Neighbour:
    """Another frame (B, 3, h, w), and the flows to it and back (B, 2, h, w), low-resolution pixels.

    Attributes:
        frame: The other frame.
        flow_to: From the frame that is enlarged.
        flow_from: Back to it.
        informative: (B, 1, h, w) bool: where it can show something.
    """

    frame: Tensor
    flow_to: Tensor
    flow_from: Tensor
    informative: Tensor

    def transform(self, number: int) -> Neighbour:
        """Return the same where all frames are transformed; see `self_ensemble`."""
        return Neighbour(
            transform(self.frame, number),
            transform_flow(self.flow_to, number),
            transform_flow(self.flow_from, number),
            transform(self.informative, number),
        )


def follow(pairs: list[PairMotion | None]) -> list[Neighbour]:
    """Return what the first frame of `pairs` sees of all later frames, exposed like that first one.

    Each pair begins with the frame that the one before it ends with. What comes after a pair that is not known is not
    seen.
    """
    seen: list[Neighbour] = []
    known: list[PairMotion] = []
    for pair in pairs:
        if pair is None:
            break
        known.append(pair)
        frame, flow_to, flow_from, informative = pair.frame1, pair.flow01, pair.flow10, pair.informative
        for earlier in reversed(known):
            frame = earlier.exposure.like_first(frame)
        if seen:
            last = seen[-1]
            flow_to = last.flow_to + warp(flow_to, last.flow_to)
            flow_from = flow_from + warp(last.flow_from, flow_from)
            informative = last.informative & (warp(pair.informative.float(), last.flow_to) > 0.5)
        seen.append(Neighbour(frame, flow_to, flow_from, informative))
    return seen
