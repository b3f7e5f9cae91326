"""Our models on a real GPU: its frames are the CPU's, its kernels are used, and nobody waits for it without need."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from torch import Tensor

from scripts import ROOT
from tests.frames import pixels_of
from tests.networks.test_accelerator import among_neighbours
from tests.networks.test_half_precision import psnr
from tests.networks.test_warp_blend import noise
from vs_videoinr import load
from vs_videoinr.networks import bands, fused
from vs_videoinr.networks.base import VideoField
from vs_videoinr.networks.warp_blend import _by_torch, sampled_frame, warp_and_blend
from vs_videoinr.networks.warpinr.clues import _clues_by_torch
from vs_videoinr.networks.warpinr.flow_estimator import other_frame
from vs_videoinr.networks.warpinr.flow_refinement import (
    _refine_by_torch,
    _smooth_by_torch,
    refine_lucas_kanade,
    smooth_consistent_flow,
)
from vs_videoinr.networks.warpinr.fusion import ITERATIONS, _flows_by_torch
from vs_videoinr.rendering import accelerator
from vs_videoinr.weights import catalogue

needs_gpu = pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs a GPU")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

#: Every model that comes with the package.
MODELS = [model.name for model in catalogue.models() if model.origin == "bundled"]

#: Pixels of the real frames that are used, and how many of them: two pairs with their neighbours.
HEIGHT, WIDTH, FRAMES = 90, 120, 5
FACTORS = {1: (90, 120), 2.5: (225, 300), 4: (360, 480)}
TIMES = (0, 0.3, 0.5)
CPU = torch.device("cpu")

needs_triton = pytest.mark.skipif(
    not torch.accelerator.is_available() or accelerator.devices()[0].type not in fused.DEVICE_TYPES,
    reason="needs a GPU that Triton makes kernels for",
)


def gpu() -> torch.device:
    return accelerator.devices()[0]


@cache
def clip() -> Tensor:
    """Real frames in which something moves, cut to a part of them, (N, 3, HEIGHT, WIDTH) on the CPU."""
    av = pytest.importorskip("av")
    with av.open(str(ROOT / "tests" / "data" / "bunny.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][10 : 10 + FRAMES]
    height, width = frames[0].shape[:2]
    top, left = (height - HEIGHT) // 2, (width - WIDTH) // 2
    part = np.stack(frames)[:, top : top + HEIGHT, left : left + WIDTH]
    return torch.from_numpy(part).permute(0, 3, 1, 2).float().contiguous() / 255


def on(device: torch.device) -> list[Tensor]:
    """Four frames in a row there."""
    return [frame[None].to(device) for frame in clip()[:4]]


@cache
def made(model: str, device: torch.device, dtype: torch.dtype, factor: float) -> list[Tensor]:
    """Frames of the pair in the middle of four at all times, on the CPU."""
    with torch.inference_mode():
        field = among_neighbours(load(model, device, dtype), on(device))
        return [field.sample(t, FACTORS[factor]).cpu() for t in TIMES]


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel has been tried yet."""
    monkeypatch.setattr(fused, "_verdicts", {})
    monkeypatch.setattr(fused, "_without", set())


@needs_gpu
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 60), (torch.float16, 50)], ids=str)
def test_a_gpu_makes_the_frames_of_a_cpu(model: str, factor: float, dtype: torch.dtype, least: float) -> None:
    found = made(model, gpu(), dtype, factor)
    wanted = made(model, CPU, torch.float32, factor)
    for t, one, other in zip(TIMES, found, wanted, strict=True):
        assert (one.dtype, one.shape) == (torch.float32, (1, 3, *FACTORS[factor]))
        print(f"{model} {factor}x {dtype} at {t}: {psnr(one, other):.1f} dB, at most {(one - other).abs().max():.4f}")
    assert min(psnr(one, other) for one, other in zip(found, wanted, strict=True)) >= least


@needs_triton
@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_kernel_is_used(model: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    """None falls back to PyTorch, and the log is empty."""
    device = gpu()
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        field = among_neighbours(load(model, device, dtype), on(device))
        for factor in (1, 4):
            field.sample(0.3, FACTORS[factor])
    assert fused.kernels() is not None
    assert not fused._without
    names = ["flows_at", "warp_and_blend", "correlate", "refine_lucas_kanade", "smooth_consistent_flow"]
    if model == "lite":  # the others predict detail in another way
        names.append("clues")
    assert fused._verdicts == {(name, device): True for name in names}
    assert not caplog.messages


def _flow(channels: int, batch: int) -> Tensor:
    """A flow that changes slowly from place to place, with a bit of noise."""
    coarse = torch.nn.functional.interpolate(
        noise(batch, channels, 6, 8, seed=3) * 8 - 4, size=(HEIGHT, WIDTH), mode="bicubic"
    )
    return coarse + 0.1 * noise(batch, channels, HEIGHT, WIDTH, seed=4)


@needs_triton
@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("factor", [1, 2.5, 4])
def test_kernels_make_of_real_frames_what_torch_does(factor: float) -> None:
    """Wherever rounding does not lead a search elsewhere."""
    device, size = gpu(), FACTORS[factor]
    first, second = on(device)[:2]
    flow, ways = _flow(2, 2).to(device), _flow(4, 1).to(device)
    both = torch.cat((first, second))
    large0, large1 = (torch.nn.functional.interpolate(one, size=size, mode="bicubic") for one in (first, second))
    reach = torch.tensor([0, 0, 1, 4, torch.inf])[(noise(1, 1, HEIGHT, WIDTH, seed=5) * 5).long()].to(device)
    bend = _flow(2, 2).to(device)
    with torch.inference_mode():
        cases: dict[str, tuple[Tensor, Tensor]] = {}
        for large in (True, False):
            cases[f"warp_and_blend {large}"] = (
                warp_and_blend(sampled_frame(large0), sampled_frame(large1), ways, 0.3, large=large),
                _by_torch(large0, large1, ways, 0.3, large, lambda: None),
            )
        for acceleration in (None, bend):
            given = flow[:1], flow[1:], acceleration, reach, 0.3, ITERATIONS
            cases[f"flows_at {acceleration is not None}"] = (
                fused.fused("flows_at", _flows_by_torch, *given),
                _flows_by_torch(*given),
            )
        seen = first, second, flow[:1], flow[1:], 0
        cases["clues"] = fused.fused("clues", _clues_by_torch, *seen), _clues_by_torch(*seen)
        cases["smooth_consistent_flow"] = smooth_consistent_flow(flow), _smooth_by_torch(flow)
        for radius, damping in ((6, 1e-3), (3, 3e-3)):
            cases[f"refine_lucas_kanade {radius}"] = (
                refine_lucas_kanade(flow * 0.1, both, other_frame(both), radius, damping),
                _refine_by_torch(flow * 0.1, both, other_frame(both), radius, damping),
            )
    assert all(fused._verdicts.values())
    assert fused._verdicts
    assert not fused._without
    far = {}
    for name, (found, wanted) in cases.items():
        apart = (found - wanted).abs()
        far[name] = float((apart > 1e-3).float().mean())
        print(f"{name}: at most {float(apart.max()):.2g}, on average {float(apart.mean()):.2g}, far {far[name]:.2%}")
    assert max(far.values()) < 0.02


def _field(model: str, device: torch.device) -> tuple[Callable[[], VideoField], Callable[[VideoField], None]]:
    """What encodes a pair as the plugin does, and what samples it at all sizes."""
    net = load(model, device, None)
    frames = on(device)

    def sample(field: VideoField) -> None:
        for size in FACTORS.values():
            for t in TIMES:
                field.sample(t, size)
            field.motion(0.3, size)

    return lambda: among_neighbours(net, frames), sample


@pytest.fixture
def waits_are_errors() -> Iterator[Callable[[bool], None]]:
    """Let whatever waits for the GPU fail, from when it is called with True."""

    def set_mode(on: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch calls it a prototype
            torch.cuda.set_sync_debug_mode("error" if on else "default")

    yield set_mode
    set_mode(False)


@needs_cuda
@pytest.mark.parametrize("model", MODELS)
def test_nothing_waits_for_the_gpu(model: str, waits_are_errors: Callable[[bool], None]) -> None:
    """Once kernels have been tried and constants brought there."""
    encode, sample = _field(model, gpu())
    with torch.inference_mode():
        sample(encode())
        torch.cuda.synchronize()
        waits_are_errors(True)
        sample(encode())


@needs_cuda
def test_what_waits_for_the_gpu_is_seen(waits_are_errors: Callable[[bool], None]) -> None:
    ones = torch.ones(3, device=gpu())
    waits_are_errors(True)
    with pytest.raises(RuntimeError, match="synchroniz"):
        ones.sum().item()


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_large_frame_is_made(dtype: torch.dtype) -> None:
    device, size = gpu(), (2160, 3840)
    frames = [
        torch.nn.functional.interpolate(frame, size=(1080, 1920), mode="bicubic").clamp(0, 1) for frame in on(device)
    ]
    torch.accelerator.reset_peak_memory_stats()
    with torch.inference_mode():
        found = among_neighbours(load("lite", device, dtype), frames).sample(0.5, size)
    assert found.shape == (1, 3, *size)
    small = torch.nn.functional.interpolate(found, size=(HEIGHT, WIDTH), mode="area").cpu()
    wanted = made("lite", CPU, torch.float32, 1)[TIMES.index(0.5)]
    print(f"{dtype}: {torch.accelerator.max_memory_allocated() / 1e9:.2f} GB, {psnr(small, wanted):.1f} dB")
    assert psnr(small, wanted) > 25  # motion of so many more pixels is not followed as exactly


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Let this process have only so many bytes of the GPU's memory."""
    device = gpu()
    torch.cuda.init()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(bands, "_budgets", {})
    monkeypatch.setattr(bands, "_lowered", set())

    def allow(size: float) -> None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(size / total, device)

    yield allow
    torch.cuda.set_per_process_memory_fraction(1.0, device)
    torch.cuda.empty_cache()


@pytest.mark.vpy("initial-core")
@needs_cuda
def test_a_frame_is_made_in_smaller_parts_where_memory_runs_out(
    core: Any, little_memory: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Bands are as high as the GPU's free memory allows, of which this process may have a part only."""
    device = gpu()
    source = core.std.BlankClip(format=vs.RGBS, width=1280, height=720, length=4, fpsnum=24)
    noisy = core.std.ModifyFrame(source, source, _noise)
    upscale = {"scale": 2, "factor_num": 2, "model": "lite", "device": str(device)}
    torch.cuda.reset_peak_memory_stats(device)
    (wanted,) = pixels_of(core.videoinr.Upscale(noisy, **upscale), [3])
    needed = torch.cuda.max_memory_reserved(device)
    for share in range(9, 1, -1):  # until there is too little for a frame as it was made first
        bands._budgets[device] = needed
        bands._lowered.clear()
        little_memory(share / 10 * needed)
        with caplog.at_level(logging.WARNING):
            (found,) = pixels_of(core.videoinr.Upscale(noisy, **upscale), [3])
        print(f"{share / 10 * needed / 1e9:.2f} of {needed / 1e9:.2f} GB: {caplog.messages}")
        assert psnr(*(torch.from_numpy(np.stack(one)) for one in (found, wanted))) > 45
        if caplog.messages:
            break
    assert [message.endswith("going on in smaller parts") for message in caplog.messages] == [True]


def _noise(n: int, f: Any) -> Any:
    f = f.copy()
    coarse = np.random.default_rng(1).random((46, 90), dtype=np.float32).repeat(16, 0).repeat(16, 1)
    for plane in range(3):
        np.asarray(f[plane])[:] = coarse[: f.height, 4 * n : 4 * n + f.width]
    return f


@needs_gpu
@pytest.mark.vpy("initial-core")
@pytest.mark.parametrize("fp16", [False, None])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("format_", [vs.RGBS, vs.YUV420P8], ids=["RGBS", "YUV420P8"])
def test_the_plugins_frames_are_the_cpus(core: Any, moving: Any, model: str, fp16: bool | None, format_: int) -> None:
    """Where nothing is said, in half precision."""
    source = moving(format_, width=64, height=48)
    asked = {"scale": 2.5, "factor_num": 2, "model": model}
    wanted = pixels_of(core.videoinr.Upscale(source, device="cpu", **asked))
    found = pixels_of(core.videoinr.Upscale(source, device=str(gpu()), fp16=fp16, **asked))
    peak = 255 if format_ == vs.YUV420P8 else 1
    for one, other in zip(found, wanted, strict=True):
        for plane, like in zip(one, other, strict=True):
            apart = (plane.astype(np.float64) - like) / peak
            noise_power = max(float(np.square(apart).mean()), 1e-12)
            assert -10 * np.log10(noise_power) > (55 if fp16 is False else 45)
