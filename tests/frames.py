"""Frames of VapourSynth as arrays and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

Pixels = tuple[NDArray[Any], ...]


def pixels(frame: Any) -> Pixels:
    """Copies of a frame's planes."""
    return tuple(np.array(frame[plane]) for plane in range(frame.format.num_planes))


def pixels_of(clip: Any, numbers: Sequence[int] | None = None) -> list[Pixels]:
    found = []
    for n in range(len(clip)) if numbers is None else numbers:
        with clip.get_frame(n) as frame:
            found.append(pixels(frame))
    return found


def same(one: Pixels, other: Pixels) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def props_of(clip: Any) -> list[dict[str, Any]]:
    return [dict(frame.props) for frame in clip.frames(close=True)]


def duration(props: dict[str, Any]) -> Fraction:
    return Fraction(int(props["_DurationNum"]), int(props["_DurationDen"]))


def grainy(clip: Any, strength: float) -> Any:
    """A clip of floats with noise in it, the same whenever a frame is asked for."""

    def grain(n: int, f: Any) -> Any:
        f = f.copy()
        for plane in range(f.format.num_planes):
            random = np.random.default_rng((n, plane))
            np.asarray(f[plane])[:] += random.normal(0, strength, f[plane].shape)
        return f

    return vs.core.std.ModifyFrame(clip, clip, grain)


def rgb(clip: Any, n: int = 0) -> NDArray[np.float32]:
    """A frame as (planes, height, width) in single precision RGB, or gray."""
    gray = clip.format.color_family == vs.GRAY
    converted = clip.resize.Bicubic(format=vs.GRAYS if gray else vs.RGBS)
    with converted.get_frame(n) as frame:
        return np.stack([np.array(plane) for plane in frame])
