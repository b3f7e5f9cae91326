"""Images brought to another size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (B, C, h, w) to `size`, in float32: bicubic (a = -0.5), antialiased where that is smaller."""
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
