"""What a picture at time t is made of: flows to both frames, occlusion weights and a repair, at low resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.back_projection import BackProjection
from vs_videoinr.networks.warpinr.blocks import (
    COLOUR_GAIN,
    FLOW,
    FLOW_SCALE_PX,
    LEAKY_SLOPE,
    RGB,
    ResidualBlock,
    init_near_zero,
)
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE, ResidualDetail
from vs_videoinr.networks.warpinr.stages import Stage
from vs_videoinr.networks.warpinr.static_regions import static_mask

if TYPE_CHECKING:
    from vs_videoinr.networks.warpinr.field import WarpField

REPAIR_LIMIT = 0.25  # of what the frames disagree by around a place, at most, is added to what they show there


class Decoder(nn.Module):
    """Feature maps and flows of a pair → detail of both frames, and what a picture at time t is made of.

    The paper's SpatialINR, TemporalINR and decoder; all of it on the low-resolution grid, whatever size is asked for.
    """

    def __init__(self, width: int, channels: int, rounds: int, patterns: int, without: frozenset[Stage]) -> None:
        """For feature maps of `width` channels.

        Args:
            width: Channels of the feature maps.
            channels: Channels that the fusion is computed in.
            rounds: Of back-projection.
            patterns: That residual detail is mixed from.
            without: Stages that are left out.
        """
        super().__init__()
        self.without = without
        self.detail = ResidualDetail(width, patterns)
        self.backprojection = BackProjection(width, rounds, patterns) if rounds else None
        # Applied to the maps before they are warped (sampling and a linear layer commute).
        self.time0 = nn.Conv2d(width, channels, 1)
        self.time1 = nn.Conv2d(width, channels, 1, bias=False)
        motion = 2 * FLOW + 1 + 2 * RGB  # both velocities, t, the frames' difference and its size
        self.time_motion = nn.Conv2d(motion, channels, 1, bias=False)
        self.time_trunk = nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))
        self.time_flow = nn.Conv2d(channels, 2 * FLOW, 3, padding=1)
        self.time_fine = nn.Conv2d(channels, (1 + RGB) * DETAIL_SCALE**2, 3, padding=1)
        for layer in (self.time_flow, self.time_fine):
            init_near_zero(layer)

    def residual_detail(self, frame: Tensor, maps: Tensor, neighbours: list[Neighbour]) -> Tensor:
        """Return what a frame (B, 3, h, w) has in addition to its bicubic enlargement.

        float32 (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w).
        """
        if self.backprojection is not None:
            return self.backprojection.improve(frame, self.detail(maps), maps, neighbours)
        return F.pixel_shuffle(self.detail(maps).float(), DETAIL_SCALE)

    def fuse_at(self, field: WarpField, t: float) -> tuple[Tensor, Tensor]:
        """Return what there is at time `t`, float32: the flows to both frames, and how they are put together there.

        Returns:
            (B, 4, h, w), flow to frame 0 (x, y) and to frame 1 (x, y) in low-resolution pixels.
            (B, 4, DETAIL_SCALE·h, DETAIL_SCALE·w), the occlusion logit, positive where frame 1 is to be trusted, and an
            RGB repair.
        """
        flow01, flow10 = field.flow01, field.flow10
        # A pixel at time t was led here by the motion that its source pixel has: v(x) = flow01(x - t·v). Solved by
        # iteration, once for what frame 0 shows and once for what frame 1 shows. Where motion accelerates it lies off.
        v0 = v1 = (1 - t) * flow01 - t * flow10
        offset = field.acceleration_offset(t, -t * v0, (1 - t) * v1)
        for _ in range(3):
            v0 = warp(flow01, offset - t * v0)
            v1 = -warp(flow10, offset + (1 - t) * v1)
            offset = field.acceleration_offset(t, offset - t * v0, offset + (1 - t) * v1)
        to0, to1 = offset - t * v0, offset + (1 - t) * v1
        match0, match1 = field.exposure.match(warp(field.frame0, to0), warp(field.frame1, to1))
        differ = (match0 - match1) * COLOUR_GAIN
        motion = torch.cat((v0 / FLOW_SCALE_PX, v1 / FLOW_SCALE_PX, torch.full_like(v0[:, :1], t)), 1).to(differ.dtype)
        x = warp(field.time0, to0) + warp(field.time1, to1)
        x = x + self.time_motion(torch.cat((motion, differ, differ.abs()), 1))
        x = self.time_trunk(F.leaky_relu(x, LEAKY_SLOPE))
        change = self.time_flow(x).float()
        static0, static1 = static_mask(field.reach, v0), static_mask(field.reach, v1)
        offset = offset * (1 - static0 * static1)
        to0 = offset - t * (v0 + change[:, :2]) * (1 - static0)
        to1 = offset + (1 - t) * (v1 + change[:, 2:]) * (1 - static1)
        # where neither moves both are blended
        fine = self.time_fine(x).float() * (1 - static0 * static1)
        logit, repair = fine.split((DETAIL_SCALE**2, RGB * DETAIL_SCALE**2), 1)
        # nothing to repair at source times, nor where nothing changes, and little where the frames nearly agree
        disagreement = differ.detach().abs().amax(1, keepdim=True).float() / COLOUR_GAIN
        limit = REPAIR_LIMIT * F.max_pool2d(disagreement, 5, stride=1, padding=2)
        ratio0, ratio1 = field.exposure.contrast_ratios()
        ratio = (1 - t) * ratio0 + t * ratio1
        repair = repair.clamp(-limit, limit) * (4 * t * (1 - t) * ratio * (field.rest == 0))
        if Stage.OCCLUSION in self.without:
            logit = torch.zeros_like(logit)
        if Stage.REPAIR in self.without:
            repair = torch.zeros_like(repair)
        return torch.cat((to0, to1), 1), F.pixel_shuffle(torch.cat((logit, repair), 1), DETAIL_SCALE)
