"""The decoder as the paper writes it: every pixel at once, every input concatenated, nothing factorised.

The plain twin of `vs_videoinr.networks.videoinr.field`, for images small enough to hold 525 values per output pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks.videoinr.network import VideoINR


def centres(n: int) -> Tensor:
    """Cell centres from -1 to 1."""
    return ((-1 + 1 / n) + (2 / n) * torch.arange(n).float()).clamp(-1 + 1e-6, 1 - 1e-6)


def lattice(y: Tensor, x: Tensor) -> Tensor:
    """Grid (1, H, W, 2) in the order (x, y)."""
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]


def decode(net: VideoINR, frame0: Tensor, frame1: Tensor, t: float, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return RGB (B, 3, H, W) and flow (B, 4, H, W)."""
    feature_map = net.feature_map(frame0, frame1)
    frames = torch.cat((frame0, frame1), dim=1)
    batch, _, h, w = feature_map.shape
    height, width = size

    def sample(maps: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
        return F.grid_sample(
            maps, grid.expand(batch, -1, -1, -1), mode=mode, padding_mode=net.config.padding, align_corners=False
        )

    def run(siren: torch.nn.Module, *inputs: Tensor) -> Tensor:
        time = torch.full((batch, 1, height, width), t)
        values: Tensor = siren(torch.cat((*inputs, time), dim=1).movedim(1, -1))
        return values.movedim(-1, 1)

    # 1. SpatialINR: nearest cell, and how far from it
    query = lattice(centres(height), centres(width))
    cell = sample(lattice(centres(h), centres(w)).movedim(-1, 1).expand(batch, -1, -1, -1), query, "nearest")
    relative = (query.movedim(-1, 1) - cell).flip(1) * torch.tensor([h, w]).view(1, 2, 1, 1)
    continuous = run(net.feat_imnet, sample(feature_map, query, "nearest"), sample(frames, query, "nearest"), relative)

    # 2. TemporalINR: flow to both frames
    flow = run(net.flow_imnet, continuous, sample(feature_map, query), sample(frames, query))

    # 3. what the flow leads to
    # For a single row or column the reference divides by zero; it takes the consistent grid here.
    corner = [net.config.grid == "reference" and n > 1 for n in size]
    start = lattice(*(torch.linspace(-1, 1, n) if corner[i] else centres(n) for i, n in enumerate(size)))
    units = torch.tensor([(n - 1) / 2 if corner[i] else n / 2 for i, n in enumerate(size)]).flip(0)  # x, y
    grids = [(start + ends.movedim(1, -1) / units).clamp(-1 + 1e-6, 1 - 1e-6) for ends in flow.chunk(2, dim=1)]
    rgb = run(net.encode_imnet, *(sample(maps, grid) for maps in (continuous, feature_map, frames) for grid in grids))
    return rgb, flow
