"""Images sampled at places between their pixels, and brought to other sizes.

Positions and flows are in pixels, channels (x, y). All sampling uses pixel centres (align_corners=False), and outside
of an image lies its border's colour.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import kernels

#: Of Lanczos's kernel, in pixels.
LANCZOS_RADIUS = 3


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel coordinates (1, 2, height, width), channels (x, y), float32."""
    y = torch.arange(height, device=like.device, dtype=torch.float32)
    x = torch.arange(width, device=like.device, dtype=torch.float32)
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None]


def sample_at(image: Tensor, position: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample (B, C, h, w) at pixel `position`s (B, 2, H, W), channels (x, y); outside lies the border's colour."""
    height, width = image.shape[-2:]
    size = position.new_tensor([width, height])
    grid = (position.permute(0, 2, 3, 1) * 2 + 1) / size - 1
    return _sample(image, grid, mode)


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    # float32 throughout: half precision cannot address more than a few hundred pixels.
    return F.grid_sample(image.float(), grid, mode=mode, padding_mode="border", align_corners=False).to(image.dtype)


def sample_nearest(image: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of (B, C, h, w) nearest to `position`s (B, 2, H, W), and how far from them these are.

    Quick where the image is channels-last.

    Returns:
        (B, C, H, W), channels-last.
        (B, 2, H, W), from the pixel's centre to the position in it, -0.5 to 0.5, channels (x, y).
    """
    batch, channels, height, width = image.shape
    position = position.clamp(position.new_zeros(2, 1, 1), position.new_tensor([width - 1, height - 1]).view(2, 1, 1))
    nearest = position.round()
    x, y = nearest[:, 0].long().clamp(0, width - 1), nearest[:, 1].long().clamp(0, height - 1)  # wherever NaN leads
    first = torch.arange(batch, device=image.device).view(-1, 1, 1) * (height * width)
    pixels = image.permute(0, 2, 3, 1).reshape(-1, channels)
    found = pixels.index_select(0, (first + y * width + x).flatten())
    return found.view(batch, *position.shape[-2:], channels).permute(0, 3, 1, 2), position - nearest


def sample_lanczos(image: Tensor, position: Tensor) -> Tensor:
    """Sample a float32 image (B, C, h, w) as `sample_at` does, from six by six pixels: what is fine is blurred less.

    Quick where the image is channels-last.
    """
    batch, channels, height, width = image.shape
    weights, places = [], []
    for line, side in zip(position.flatten(2).unbind(1), (width, height), strict=True):
        # Farther outside everything is of the border's colour, and places stay small enough to be counted.
        line = line.clamp(-LANCZOS_RADIUS, side - 1 + LANCZOS_RADIUS)
        start = line.floor()
        weights.append(lanczos(line - start))
        taps = torch.arange(1 - LANCZOS_RADIUS, LANCZOS_RADIUS + 1, device=image.device)
        places.append((start.long()[..., None] + taps).clamp(0, side - 1))
    first = torch.arange(batch, device=image.device).view(-1, 1, 1, 1) * (height * width)
    index = first + places[1][..., :, None] * width + places[0][..., None, :]
    weight = weights[1][..., :, None] * weights[0][..., None, :]
    # A weighted sum of rows of a table, which is what colours of pixels are here.
    count = (2 * LANCZOS_RADIUS) ** 2
    table = image.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(index.view(-1, count), table, mode="sum", per_sample_weights=weight.view(-1, count))
    return sampled.view(batch, *position.shape[-2:], channels).permute(0, 3, 1, 2)


def lanczos(distance: Tensor) -> Tensor:
    """Return Lanczos's weights, (..., 2·LANCZOS_RADIUS), of pixels around places (...) `distance` behind a pixel."""
    offset = distance[..., None] - torch.arange(1 - LANCZOS_RADIUS, LANCZOS_RADIUS + 1, device=distance.device)
    kernel = torch.sinc(offset) * torch.sinc(offset / LANCZOS_RADIUS)
    return kernel / kernel.sum(-1, keepdim=True)


def warp(image: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Fetch (B, C, h, w) `image` from where `flow` (B, 2, h, w) leads.

    If bilinear, by a kernel in C (native/warp.h) where there is one that can.
    """
    kernel = kernels.kernels_for(image, flow) if mode == "bilinear" else None
    if kernel is not None:
        return kernel.warp(image, flow)
    return _sample(image, torch.stack([_warped_axis(image, flow, axis) for axis in (0, 1)], 3), mode)


def _warped_axis(image: Tensor, flow: Tensor, axis: int) -> Tensor:
    """Places in x (`axis` 0) or y (1), (B, h, w), as `grid_sample` counts them: the image's borders are at -1 and 1."""
    side, count = image.shape[3 - axis], flow.shape[3 - axis]
    line = torch.linspace(1 / side - 1, (2 * count - 1) / side - 1, count, device=flow.device)
    return torch.add(line if axis == 0 else line[:, None], flow[:, axis].float(), alpha=2 / side)


def resize_bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (B, C, h, w) to `size` (height, width), in float32: bicubic (a = -0.5), antialiased where it is smaller."""
    image = image.float()
    height, width = size
    if image.shape[-2:] == size:
        return image
    if width > 1:
        return _interpolate(image, height, width)
    # Torch 2.14, on a CPU, gets one column wrong where the height changes as well. It gets one row right.
    narrow = _interpolate(image, image.shape[-2], 1)
    return _interpolate(narrow.mT, 1, height).mT


def _interpolate(image: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(image, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
