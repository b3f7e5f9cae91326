"""What is known of a neighbouring frame at each place of a frame, beside its features.

Where motion leads there, in pixels and fractions of one; how its colours differ from what they should be; and whether
the way back ends where the way there began.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vs_videoinr.networks import kernels
from vs_videoinr.networks.fused import fused
from vs_videoinr.networks.kernels import CLUES
from vs_videoinr.networks.sampling import nearest_pixel, pixel_grid, warp
from vs_videoinr.networks.warpinr.blocks import COLOUR_GAIN, FLOW

#: A way there and back that ends farther off tells no more than that it is lost.
ROUND_TRIP_LIMIT_PX = 4.0


class Clues(NamedTuple):
    """What is known of a neighbouring frame at places (h, w) of a frame.

    Attributes:
        maps: Error and its size, phase, round trip and its length, float32 (B, CLUES, h, w).
        phase_terms: Products of powers up to the square of the phase, which is how far a place lies behind its pixel's
            centre, -1 to 1 from border to border: float32 (B, PHASE_TERMS, h, w).
        pixel: The neighbour's pixel that is nearest to where motion leads, x and y: int64 (B, 2, h, w).
    """

    maps: Tensor
    phase_terms: Tensor
    pixel: Tensor


def find_clues(frame: Tensor, other: Tensor, flow_to: Tensor, flow_from: Tensor, top: int) -> Clues:
    """Compare rows of a frame with a neighbour.

    By kernels, in C (native/clues.h) or in Triton, where there is one that can.

    Args:
        frame: The rows (B, 3, h, w).
        other: The whole neighbour (B, 3, H, w).
        flow_to: From the rows to the neighbour, (B, 2, h, w).
        flow_from: From the whole neighbour back, (B, 2, H, w).
        top: Which row of the frame the first one is.
    """
    kernel = kernels.kernels_for(frame, other, flow_to, flow_from)
    if kernel is not None:
        return Clues(*kernel.clues(frame, other, flow_to, flow_from, top, COLOUR_GAIN, ROUND_TRIP_LIMIT_PX))
    found = fused("clues", _clues_by_torch, frame.float(), other.float(), flow_to, flow_from, top)
    return Clues(found[:, :CLUES], found[:, CLUES:-FLOW], found[:, -FLOW:].long())


def _clues_by_torch(frame: Tensor, other: Tensor, flow_to: Tensor, flow_from: Tensor, top: int) -> Tensor:
    """The kernels' twin: all of `Clues`, one behind the other, (B, CLUES + PHASE_TERMS + 2, h, w)."""
    height, width = frame.shape[-2:]
    place = pixel_grid(height, width, flow_to, top) + flow_to
    pixel, phase = nearest_pixel(place, (other.shape[-2], width))
    phase = phase * 2
    error = (warp(other, flow_to, "bicubic", top) - frame) * COLOUR_GAIN
    round_trip = flow_to + warp(flow_from, flow_to, top=top)
    round_trip = round_trip.clamp(-ROUND_TRIP_LIMIT_PX, ROUND_TRIP_LIMIT_PX)
    lost = (round_trip.square().sum(1, keepdim=True) + 1e-12).sqrt()  # of nothing, too, there is a gradient
    x, y = phase.chunk(2, 1)
    xx, yy = x.square(), y.square()
    terms = x, y, xx, yy, x * y, xx * y, x * yy, xx * yy
    return torch.cat((error, error.abs(), phase, round_trip, lost, *terms, pixel.to(frame.dtype)), 1)
