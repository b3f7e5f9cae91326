"""Kernels in Triton make what PyTorch does, as Triton's interpreter runs them on a CPU, and can be built for GPUs."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.benchmark.counting import counted
from tests.networks.test_warp_blend import SIZES, noise, parts
from tests.networks.warpinr.test_clues import given as clues_given
from tests.networks.warpinr.test_fusion import given
from tests.networks.warpinr.test_motion_kernels import pair
from vs_videoinr.networks import fused as dispatch
from vs_videoinr.networks import kernels
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warp_blend import sampled_frame, warp_and_blend
from vs_videoinr.networks.warpinr import flow_refinement
from vs_videoinr.networks.warpinr.clues import _clues_by_torch, find_clues
from vs_videoinr.networks.warpinr.flow_estimator import FlowStep
from vs_videoinr.networks.warpinr.flow_refinement import box_mean, refine_lucas_kanade, smooth_consistent_flow
from vs_videoinr.networks.warpinr.fusion import ITERATIONS, _flows_by_torch

triton = pytest.importorskip("triton", reason="Triton is not installed")
CPU = torch.device("cpu")
FUSED = ("flows_at", "warp_and_blend", "clues", "correlate", "refine_lucas_kanade", "smooth_consistent_flow")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The kernels as Triton's interpreter runs them, on a CPU that is taken for a GPU."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    spec = importlib.util.find_spec("vs_videoinr.networks.triton_kernels")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BLOCK", 4096)  # the interpreter takes as long for one pixel as for many
    monkeypatch.setattr(dispatch, "kernels", lambda: module)
    monkeypatch.setattr(dispatch, "DEVICE_TYPES", ("cpu",))
    monkeypatch.setattr(dispatch, "_verdicts", {})
    monkeypatch.setattr(dispatch, "_without", set())
    monkeypatch.setattr(kernels, "best", lambda: None)
    return module


def both(work: Callable[[], Tensor], launches: int | None = 1) -> tuple[Tensor, Tensor]:
    """What kernels make that have passed their trial, in so many launches, and what PyTorch does."""
    with pytest.MonkeyPatch.context() as patched, torch.no_grad():
        patched.setattr(dispatch, "_verdicts", dict.fromkeys(((name, CPU) for name in FUSED), True))
        with counted() as counts:
            found = work()
        assert launches in (None, counts.launches)
        patched.setattr(dispatch, "DEVICE_TYPES", ())
        return found, work()


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("far", [1.5, 1e9])
@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize(("size", "low"), SIZES)
def test_a_frame_is_warped_and_blended_as_by_torch(
    size: tuple[int, int], low: tuple[int, int], large: bool, far: float
) -> None:
    first, second, flow = parts(size, low, far, batch=2)
    t = 0.3 if large else 0.9
    found, wanted = both(lambda: warp_and_blend(sampled_frame(first), sampled_frame(second), flow, t, large=large))
    # Noise is as steep as pictures and flows can be, and torch's positions are not exact.
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-5)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("bends", [True, False])
@pytest.mark.parametrize("size", [(41, 27), (1, 30), (30, 1), (1, 1)])
def test_flows_at_a_time_are_torchs(size: tuple[int, int], bends: bool) -> None:
    case = given(size, bends)
    found, wanted = both(lambda: dispatch.fused("flows_at", _flows_by_torch, *case))
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("half_way", [True, False])
@pytest.mark.parametrize(("size", "top", "rows"), [((33, 47), 0, None), ((33, 47), 5, 9), ((1, 9), 0, None)])
def test_clues_are_torchs(size: tuple[int, int], top: int, rows: int | None, half_way: bool) -> None:
    frame, other, there, back, _ = clues_given(size, top, rows)
    if half_way:
        there = there.round() + 0.5
    found, wanted = both(lambda: dispatch.fused("clues", _clues_by_torch, frame, other, there, back, top), None)
    # Noise is as steep as pictures and flows can be, and torch's positions are not exact.
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(("channels", "radius", "size"), [(5, 3, (13, 22)), (3, 1, (1, 9)), (4, 2, (1, 1))])
def test_features_are_compared_as_by_torch(channels: int, radius: int, size: tuple[int, int]) -> None:
    step = FlowStep(channels, 4, radius, coarsest=True)
    a, b = noise(2, 2, channels, *size)
    means = step.feature_means(a, b)
    found, wanted = both(lambda: torch.cat(step.correlate_and_match(a, b, means), 1), None)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("large", [True, False])
def test_flow_that_is_no_number_does_not_crash(large: bool) -> None:
    first, second, flow = parts((20, 30), (10, 15), 2.0)
    for broken in (float("nan"), float("inf"), 3e38):
        flow[..., 3:5, 4:9] = broken
        found, _ = both(lambda: warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=large))
        assert found[..., 16:, 22:].isfinite().all()


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(("radius", "size"), [(3, (13, 22)), (2, (1, 5)), (0, (4, 3))])
def test_means_of_boxes_are_torchs(radius: int, size: tuple[int, int]) -> None:
    values = noise(2, 3, *size)[:, 1:]
    found = dispatch.operation("box_mean")(values, radius)
    torch.testing.assert_close(found, box_mean(values, radius))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("size", [(33, 47), (1, 9)])
def test_a_flow_is_made_as_exact_as_by_torch(size: tuple[int, int]) -> None:
    """To a ten thousandth of a pixel, but where two motions fit equally well but for rounding."""
    flow, images, other = pair(*size)
    found, wanted = both(lambda: refine_lucas_kanade(flow, images, other, 2, 3e-3), launches=None)
    apart = (found - wanted).abs()
    if min(size) > 1:
        assert (wanted - flow).abs().mean() > 5e-3
        assert (apart > 1e-4).float().mean() < 0.02
    misfits = [(images - warp(other, way, "bicubic")).square().mean() for way in (found, wanted)]
    torch.testing.assert_close(*misfits, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("size", [(23, 31), (1, 9), (1, 1)])
def test_noise_of_flows_is_smoothed_as_by_torch(size: tuple[int, int]) -> None:
    flow = noise(4, 2, *size, seed=7) * 0.3 + torch.tensor([2.0, 2.0, -2.0, -2.0]).view(4, 1, 1, 1)
    found, wanted = both(lambda: smooth_consistent_flow(flow), launches=2)
    assert size == (1, 1) or (wanted - flow).abs().mean() > 0.01
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("interpreted")
def test_every_kernel_passes_its_trial(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(flow_refinement, "STEPS", 1)  # the interpreter takes its time
    frames, flow = noise(2, 3, 7, 11), noise(2, 2, 7, 11)
    with torch.no_grad():
        find_clues(frames[:1], frames[1:], flow[:1], flow[1:], 0)
        step = FlowStep(3, 4, 1, coarsest=True)
        step.correlate_and_match(frames[:1], frames[1:], step.feature_means(frames[:1], frames[1:]))
        dispatch.fused("flows_at", _flows_by_torch, flow[:1], flow[1:], flow, flow[:1, :1], 0.5, ITERATIONS)
        warp_and_blend(sampled_frame(frames[:1]), sampled_frame(frames[1:]), flow.view(1, 4, 7, 11), 0.5, large=False)
        refine_lucas_kanade(flow, frames, frames.roll(1, 0), 1, 1e-3)
        smooth_consistent_flow(flow)
    assert dispatch._verdicts == dict.fromkeys(((name, CPU) for name in FUSED), True)
    assert not caplog.messages


def frame() -> Tensor:
    first, second, flow = parts((9, 14), (5, 7), 1.0)
    return warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=True)


DIFFERS = "the Triton kernel warp_and_blend is not used on cpu: its results differ from PyTorch's"


def breaks(*_: object) -> Tensor:
    raise RuntimeError("no compiler\nwas found")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (None, None),
        (breaks, "Triton is not used on cpu: RuntimeError: no compiler"),
        (lambda first, *_: first * 2, DIFFERS),
        (lambda first, *_: first * torch.nan, DIFFERS),
    ],
    ids=["works", "fails", "differs", "no-numbers"],
)
def test_a_kernel_is_used_if_it_makes_what_torch_does(
    kernel: Callable[..., Tensor] | None,
    message: str | None,
    interpreted: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where it cannot be made or makes something else, the frames are PyTorch's, and the log says so once."""
    calls: list[object] = []
    real = interpreted.warp_and_blend

    def noted(*given: Any) -> Tensor:
        calls.append(given)
        made: Tensor = (kernel or real)(*given)
        return made

    monkeypatch.setattr(interpreted, "warp_and_blend", noted)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        made = [frame() for _ in range(3)]
    monkeypatch.setattr(dispatch, "DEVICE_TYPES", ())
    torch.testing.assert_close(made[0], frame(), rtol=0, atol=1e-5)
    assert all(torch.equal(one, made[0]) for one in made)
    assert len(calls) == (4 if message is None else 1)
    assert caplog.messages == ([] if message is None else [message])


@pytest.mark.usefixtures("interpreted")
def test_a_trial_that_is_abandoned_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    first, second, flow = parts((9, 14), (5, 7), 1.0)
    checks = iter([InterruptedError()])

    def check() -> None:
        if error := next(checks, None):
            raise error

    frames = sampled_frame(first), sampled_frame(second)
    with torch.no_grad():
        with pytest.raises(InterruptedError):
            warp_and_blend(*frames, flow, 0.5, large=True, check=check)
        assert not dispatch._verdicts
        warp_and_blend(*frames, flow, 0.5, large=True, check=check)
    assert dispatch._verdicts[("warp_and_blend", CPU)]
    assert not caplog.messages


@pytest.mark.usefixtures("interpreted")
def test_gradients_and_other_numbers_are_torchs() -> None:
    first, second, flow = parts((20, 30), (10, 15), 1.0)
    flow.requires_grad_()
    warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=True).sum().backward()  # type: ignore[no-untyped-call]
    assert flow.grad is not None
    assert flow.grad.isfinite().all()
    with torch.no_grad():
        half = warp_and_blend(sampled_frame(first.half()), sampled_frame(second.half()), flow, 0.5, large=True)
    assert half.dtype == torch.float16
    assert not dispatch._verdicts


#: Of the kernels' arguments.
NUMBERS = ("t", "share", "gain", "limit", "shrink_x", "shrink_y", "scale_x", "scale_y", "damping", "distance")


@pytest.mark.parametrize(
    ("kernel", "constants"),
    [
        ("_flows_kernel", {"BENDS": True, "ITERATIONS": ITERATIONS}),
        ("_warp_and_blend_kernel", {"TAPS": 4, "STEPS": 1024}),
        ("_clues_kernel", {"STEPS": 1024}),
        ("_correlate_kernel", {"SHARPNESS": 20.0}),
        ("_products_kernel", {}),
        ("_try_kernel", {"PLANES": 6, "STEPPING": True, "STEPS": 1024}),
        ("_accept_kernel", {}),
        ("_box_mean_kernel", {}),
        ("_smooth_directions_kernel", {}),
        ("_smooth_places_kernel", {}),
        ("_warp_and_blend_kernel", {"TAPS": 6, "STEPS": 1024}),
    ],
)
def test_kernels_can_be_built_for_a_gpu(
    kernel: str, constants: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one: the compiler of NVIDIA's comes with Triton."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    module = dispatch.kernels()
    assert module is not None
    function, constants = getattr(module, kernel), {**constants, "BLOCK": module.BLOCK}
    names = [parameter.name for parameter in function.params]
    types = dict.fromkeys(NUMBERS, "fp32") | dict.fromkeys(module._SIZES, "i32") | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, "*fp32") for name in names}
    source = triton.compiler.ASTSource(function, signature, constants)
    built = triton.compile(source, target=triton.backends.compiler.GPUTarget("cuda", 75, 32))
    assert built.asm["cubin"]
