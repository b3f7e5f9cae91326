"""Half precision, as a GPU computes in it, against single precision: nobody can tell the pictures apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vs_videoinr import load

WIDTH, HEIGHT = 4096, 8
CORNER = WIDTH // 16  # columns, where half precision would count in steps of two


class _SumsInSingle(TorchFunctionMode):
    """Lets convolutions of half precision add up in single precision, as GPUs do, and quickly."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d and args[0].dtype == torch.float16:
            single: list[Any] = [one.float() if isinstance(one, Tensor) else one for one in args]
            return torch.conv2d(*single, **kwargs).half()
        return func(*args, **kwargs)


def psnr(a: Tensor, b: Tensor) -> float:
    """In dB, of values from 0 to 1."""
    return float(-10 * (a - b).square().mean().log10())


@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize(("model", "scale"), [("lite", 1), ("lite", 2), ("standard", 2)])
def test_a_wide_frame_is_the_same_in_half_precision(
    model: str, scale: int, core: Any, request: pytest.FixtureRequest
) -> None:
    """Real frames, mirrored side by side until they are wide; also in the corner that is farthest off."""
    clip = core.bs.VideoSource(str(request.config.rootpath / "tests/data/bunny.mp4"), cachemode=0)[10:12]
    strips = []
    for frame in clip.resize.Bicubic(format=vs.RGBS).frames(close=True):
        strip = torch.from_numpy(np.stack([np.asarray(plane) for plane in frame]))[None, :, 40 : 40 + HEIGHT]
        both = torch.cat((strip, strip.flip(3)), 3).clamp(0, 1)
        strips.append(both.repeat(1, 1, 1, -(-WIDTH // both.shape[3]))[..., :WIDTH].contiguous())
    size, made = (scale * HEIGHT, scale * WIDTH), {}
    with torch.inference_mode(), _SumsInSingle():
        for dtype in (torch.float32, torch.float16):
            field = load(model, device="cpu", dtype=dtype).encode(*strips)
            made[dtype] = [field.sample(t, size) for t in (0, 0.5)]
    for single, half in zip(made[torch.float32], made[torch.float16], strict=True):
        assert half.dtype == torch.float32
        assert psnr(single, half) >= 50
        assert psnr(*(picture[..., -scale * CORNER :] for picture in (single, half))) >= 50
