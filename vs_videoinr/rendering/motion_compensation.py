"""Leading along a network's motion what the network itself does not see."""

from __future__ import annotations

import torch
from torch import Tensor

from vs_videoinr.networks.base import VideoField
from vs_videoinr.networks.sampling import warp


def motion_compensate(field: VideoField, t: float, frame0: Tensor, frame1: Tensor, mode: str = "bilinear") -> Tensor:
    """Return what two frames show at time `t`, warped and blended, float32 (B, C, h, w).

    Args:
        field: Of the pair that the frames belong to.
        t: From 0 (`frame0`) to 1 (`frame1`).
        frame0: (B, C, h, w) of any size, for example the pair's chroma.
        frame1: The same.
        mode: How frames are sampled: "bilinear", which keeps within their values, or "bicubic", which is sharper.
    """
    motion = field.motion(t, (frame0.shape[-2], frame0.shape[-1]))
    ends = [warp(frame, motion[:, 2 * end : 2 * end + 2], mode) for end, frame in enumerate((frame0, frame1))]
    return torch.lerp(ends[0], ends[1], t)
