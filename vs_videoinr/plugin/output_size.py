"""How large the output is."""

from __future__ import annotations

import math
from fractions import Fraction

#: More than any display or film needs; keeps one frame of three float planes below 4 GB.
MAX_PIXELS = 1 << 28


def output_size(
    source: tuple[int, int],
    multiple: tuple[int, int],
    scale: float | None,
    width: int | None,
    height: int | None,
) -> tuple[int, int]:
    """Return the output's (width, height).

    Without any of the three: the source's size. With `scale`: both directions times `scale`, taken as the decimal that
    it prints as (2.3 · 5 is 11.5), rounded to the nearest integer, halves up, then up to the next multiple that the
    format's chroma needs. With `width` or `height` alone: the other one keeps the aspect, rounded in the same way.

    Args:
        source: The clip's (width, height).
        multiple: What (width, height) must be multiples of, 1 without subsampling.
        scale: Output size / input size, at least 1.
        width: Output width, at least the source's.
        height: Output height, at least the source's.

    Raises:
        ValueError: With a message for the user.
    """
    if scale is not None and (width is not None or height is not None):
        raise ValueError("give scale, or width and height, but not both")
    if scale is not None:
        if not math.isfinite(scale) or scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale:.15g}")
        if scale > MAX_PIXELS:  # of which the size would have hundreds of digits
            raise ValueError(f"scale={scale:g} is too large; at most {MAX_PIXELS} pixels are possible")
        exact = Fraction(repr(scale))
        size = _round(source[0] * exact, multiple[0]), _round(source[1] * exact, multiple[1])
    else:
        _check("width", width, source[0], multiple[0])
        _check("height", height, source[1], multiple[1])
        size = (
            width or (_round(Fraction(source[0] * height, source[1]), multiple[0]) if height else source[0]),
            height or (_round(Fraction(source[1] * width, source[0]), multiple[1]) if width else source[1]),
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"a result of {size[0]}x{size[1]} is too large; at most {MAX_PIXELS} pixels are possible")
    return size


def _round(exact: Fraction, multiple: int) -> int:
    nearest = math.floor(exact + Fraction(1, 2))
    return -(-nearest // multiple) * multiple


def _check(name: str, value: int | None, source: int, multiple: int) -> None:
    if value is None:
        return
    if value < source:
        raise ValueError(f"{name} must be at least that of the clip, {source}, got {value}")
    if value % multiple:
        raise ValueError(f"{name} must be a multiple of {multiple} for this format's chroma, got {value}")
