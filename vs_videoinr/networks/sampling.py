"""Images sampled at places between their pixels, and brought to other sizes.

Positions and flows are in pixels, channels (x, y). All sampling uses pixel centres (align_corners=False), and outside
of an image lies its border's colour.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import kernels

#: Of Lanczos's kernel, in pixels.
LANCZOS_RADIUS = 3


def pixel_grid(height: int, width: int, like: Tensor, top: int = 0) -> Tensor:
    """Pixel coordinates (1, 2, height, width), channels (x, y), float32, of the rows from `top` on."""
    y = torch.arange(top, top + height, device=like.device, dtype=torch.float32)
    x = torch.arange(width, device=like.device, dtype=torch.float32)
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None]


def sample_at(image: Tensor, position: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample (B, C, h, w) at pixel `position`s (B, 2, H, W), channels (x, y); outside lies the border's colour."""
    scale, first = _grid_units(image.shape[-2], image.shape[-1], image.device)
    return _sample(image, torch.addcmul(first, position.permute(0, 2, 3, 1), scale), mode)


# Constants are made once, also on a device that would be waited for if they were copied there. They are no inference
# tensors, whoever asks for them first, so that training can go on with them.
@lru_cache(maxsize=32)
def _grid_units(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A pixel of an image as `grid_sample` counts, which has the image's borders at -1 and 1, and the first pixel.

    (2,) each, of x and y.
    """
    with torch.inference_mode(False):
        scale = torch.linspace(2 / width, 2 / height, 2, device=device)
        return scale, torch.linspace(1 / width - 1, 1 / height - 1, 2, device=device)


@lru_cache(maxsize=16)
def _grid(size: tuple[int, int], image_size: tuple[int, int], device: torch.device) -> Tensor:
    """Pixels of `size`, (1, height, width, 2), channels (x, y), as `grid_sample` counts them in an image."""
    with torch.inference_mode(False):
        y, x = (
            torch.linspace(1 / side - 1, (2 * count - 1) / side - 1, count, device=device)
            for count, side in zip(size, image_size, strict=True)
        )
        return torch.stack((x.expand(size), y[:, None].expand(size)), 2)[None]


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    # float32 throughout: half precision cannot address more than a few hundred pixels.
    return F.grid_sample(image.float(), grid, mode=mode, padding_mode="border", align_corners=False).to(image.dtype)


def nearest_pixel(position: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return which pixels of an image of `size` (height, width) are nearest to `position`s (B, 2, H, W), and how far.

    Returns:
        (B, 2, H, W), integers.
        (B, 2, H, W), from the pixel's centre to the position in it, -0.5 to 0.5, channels (x, y).
    """
    last = torch.linspace(size[1] - 1, size[0] - 1, 2, device=position.device).view(2, 1, 1)
    position = position.clamp_min(0).minimum(last)
    nearest = position.round()
    return nearest.nan_to_num(0).long(), position - nearest


def pixels_at(image: Tensor, pixel: Tensor) -> Tensor:
    """Return pixels of (B, C, h, w) by their numbers (B, 2, H, W), from `nearest_pixel`: (B, C, H, W), channels-last.

    Quick where the image is channels-last.
    """
    batch, channels, height, width = image.shape
    x, y = pixel.unbind(1)
    index = torch.add(x, y, alpha=width)
    if batch > 1:
        index = index + torch.arange(batch, device=image.device).view(-1, 1, 1) * (height * width)
    pixels = image.permute(0, 2, 3, 1).reshape(-1, channels)
    found = pixels.index_select(0, index.flatten())
    return found.view(batch, *pixel.shape[-2:], channels).permute(0, 3, 1, 2)


def sample_lanczos(image: Tensor, position: Tensor) -> Tensor:
    """Sample a float32 image (B, C, h, w) as `sample_at` does, from six by six pixels: what is fine is blurred less.

    Quick where the image is channels-last.
    """
    batch, channels, height, width = image.shape
    # Farther outside everything is of the border's colour, and places stay small enough to be counted.
    beyond = torch.linspace(width - 1 + LANCZOS_RADIUS, height - 1 + LANCZOS_RADIUS, 2, device=position.device)
    line = position.flatten(2).clamp_min(-LANCZOS_RADIUS).minimum(beyond[:, None])
    start = line.floor()
    weights = lanczos(line - start)
    taps = torch.arange(1 - LANCZOS_RADIUS, LANCZOS_RADIUS + 1, device=image.device)
    x, y = (start.long()[..., None] + taps).unbind(1)
    index = torch.add(x.clamp(0, width - 1)[..., None, :], y.clamp(0, height - 1)[..., :, None], alpha=width)
    if batch > 1:
        index = index + torch.arange(batch, device=image.device).view(-1, 1, 1, 1) * (height * width)
    weight = weights[:, 1, ..., :, None] * weights[:, 0, ..., None, :]
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


def warp(image: Tensor, flow: Tensor, mode: str = "bilinear", top: int = 0) -> Tensor:
    """Fetch (B, C, h, w) `image` from where `flow` (B, 2, h, w) leads, or its rows from `top` on.

    If bilinear, by a kernel in C (native/warp.h) where there is one that can.
    """
    kernel = kernels.kernels_for(image, flow) if mode == "bilinear" else None
    if kernel is not None:
        return kernel.warp(image, flow, top)
    (height, width), rows = image.shape[-2:], flow.shape[-2]
    base = _grid((max(height, top + rows), flow.shape[-1]), (height, width), image.device)[:, top : top + rows]
    scale = _grid_units(height, width, image.device)[0]
    grid = torch.addcmul(base, flow.float().permute(0, 2, 3, 1), scale)
    return _sample(image, grid, mode)


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


def resize_bicubic_rows(image: Tensor, first: int, height: int, size: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """Return rows from and to of what `resize_bicubic` makes of an image, given no more of it than these need.

    Args:
        image: (B, C, h, w): as many of the image's rows as `bicubic_support` says, or more.
        first: Which row of the image the first one is.
        height: Of the whole image.
        size: (height, width) of the whole result.
        rows: Of the result.
    """
    low, high = bicubic_support(height, size[0], rows)
    wide = resize_bicubic(image[..., low - first : high - first, :], (high - low, size[1]))
    return resize_bicubic_axis(wide, low, height, size[0], rows)


def resize_bicubic_axis(image: Tensor, first: int, height: int, new_height: int, rows: tuple[int, int]) -> Tensor:
    """Return the same where the height alone changes, to `new_height`."""
    low, high = bicubic_support(height, new_height, rows)
    image = image[..., low - first : high - first, :]
    scale = height / new_height
    centre = (torch.arange(*rows, device=image.device, dtype=torch.float64) + 0.5) * scale
    place = torch.arange(low, high, device=image.device, dtype=torch.float64) + 0.5
    x = (place - centre[:, None]).abs() / max(scale, 1)
    weights = torch.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2) * (x < 2)
    return (weights / weights.sum(1, keepdim=True)).float() @ image


def bicubic_support(height: int, new_height: int, rows: tuple[int, int]) -> tuple[int, int]:
    """Return of which rows of an image, from and to, `rows` of what `resize_bicubic` makes of it are made."""
    scale = height / new_height
    reach = 2 * max(scale, 1)
    low, high = (rows[0] + 0.5) * scale - reach, (rows[1] - 0.5) * scale + reach
    return max(math.floor(low), 0), min(math.ceil(high), height)


def _interpolate(image: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(image, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
