"""The sizes of a network of this family, read off the shapes of a checkpoint's tensors."""

from __future__ import annotations

import re
from typing import NamedTuple

from vs_videoinr.errors import ModelError
from vs_videoinr.networks.base import Shapes

_TAPS = 9  # of the deformable convolutions' kernel


class EncoderSizes(NamedTuple):
    """The arguments of `Encoder`."""

    channels: int
    groups: int
    front_blocks: int
    back_blocks: int


def shape_of(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    """Return the shape of a tensor of so many dimensions.

    Raises:
        ModelError: It is missing, or has another number of dimensions or no values.
    """
    if name not in shapes:
        raise ModelError(f"tensor {name} is missing")
    found = shapes[name]
    if len(found) != dimensions or 0 in found:
        raise ModelError(f"tensor {name} has the impossible shape {'x'.join(map(str, found)) or 'scalar'}")
    return found


def count(shapes: Shapes, pattern: str) -> int:
    """Return one more than the largest number that the group of a pattern finds at the beginning of names."""
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    return max(found, default=-1) + 1


def encoder_sizes(shapes: Shapes) -> EncoderSizes:
    """Return the sizes of a checkpoint's encoder.

    Raises:
        ModelError: A tensor that they are read from is missing or misshapen.
    """
    channels = shape_of(shapes, "conv_first.weight", 4)[0]
    groups, rest = divmod(shape_of(shapes, "pcd_align.L1_dcnpack_1.conv_offset_mask.weight", 4)[0], 3 * _TAPS)
    if rest or groups == 0 or channels % groups:
        raise ModelError("tensor pcd_align.L1_dcnpack_1.conv_offset_mask.weight fits no number of offset groups")
    front_blocks = count(shapes, r"feature_extraction\.(\d{1,3})\.")
    back_blocks = count(shapes, r"recon_trunk\.(\d{1,3})\.")
    return EncoderSizes(channels, groups, front_blocks, back_blocks)
