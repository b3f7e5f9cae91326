"""The eight ways to look at a picture, mirrored and turned by right angles, for a self-ensemble.

What a network says of a picture changes a little when the picture is turned, though it should not; so the mean of what
it says of all eight errs less (geometric self-ensemble: Lim et al., EDSR, 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

TRANSFORMS = 8


def transform(image: Tensor, number: int) -> Tensor:
    """Return (..., h, w) in way `number`, 0 to 7; 0 is as it is, from 4 on height and width change places."""
    axes = [axis for axis, mirrored in ((-1, number & 1), (-2, number & 2)) if mirrored]
    image = image.flip(axes) if axes else image
    return image.transpose(-1, -2).contiguous() if number & 4 else image


def transform_back(image: Tensor, number: int) -> Tensor:
    """Return the image of which `transform` made this one."""
    image = image.transpose(-1, -2) if number & 4 else image
    axes = [axis for axis, mirrored in ((-1, number & 1), (-2, number & 2)) if mirrored]
    return image.flip(axes) if axes else image


def transform_flow(flow: Tensor, number: int) -> Tensor:
    """Return a flow (B, 2, h, w), channels (x, y), that leads to the same place in transformed pictures."""
    signs = torch.linspace(-1 if number & 1 else 1, -1 if number & 2 else 1, 2, device=flow.device).view(2, 1, 1)
    flow = transform(flow * signs, number)
    return flow.flip(1) if number & 4 else flow
