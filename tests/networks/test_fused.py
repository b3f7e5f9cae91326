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
from vs_videoinr.networks import fused as dispatch
from vs_videoinr.networks import kernels
from vs_videoinr.networks.warp_blend import sampled_frame, warp_and_blend
from vs_videoinr.networks.warpinr.fusion import ITERATIONS, _flows_by_torch

triton = pytest.importorskip("triton", reason="Triton is not installed")
CPU = torch.device("cpu")


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
    monkeypatch.setattr(kernels, "best", lambda: None)
    return module


def both(work: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """What a kernel of which all is well makes, and PyTorch."""
    with pytest.MonkeyPatch.context() as patched, torch.no_grad():
        patched.setattr(dispatch, "_verdicts", dict.fromkeys(((name, CPU) for name in dispatch._SCHEMAS), True))
        with counted() as counts:
            found = work()
        assert counts.launches == 1
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
    flows = noise(2, 2, 2, *size, seed=3) + torch.tensor([[3.0, -1.0], [-2.0, 2.0]])[:, None, :, None, None]
    acceleration = noise(4, 2, *size, seed=4) * 2 - 1 if bends else None
    reach = torch.tensor([0, 0, 1, 4, torch.inf])[(noise(2, 1, *size, seed=5) * 5).long()]
    given = flows[0], flows[1], acceleration, reach, 0.3, ITERATIONS
    found, wanted = both(lambda: dispatch.fused("flows_at", _flows_by_torch, *given))
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("large", [True, False])
def test_flow_that_is_no_number_does_not_crash(large: bool) -> None:
    first, second, flow = parts((20, 30), (10, 15), 2.0)
    for broken in (float("nan"), float("inf"), 3e38):
        flow[..., 3:5, 4:9] = broken
        found, _ = both(lambda: warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=large))
        assert found[..., 16:, 22:].isfinite().all()


def frame() -> Tensor:
    first, second, flow = parts((9, 14), (5, 7), 1.0)
    return warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=True)


def breaks(*_: object) -> Tensor:
    raise RuntimeError("no compiler\nwas found")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (None, None),
        (breaks, "RuntimeError: no compiler"),
        (lambda first, *_: first * 2, "its results differ"),
        (lambda first, *_: first * torch.nan, "its results differ"),
    ],
    ids=["works", "fails", "differs", "no-numbers"],
)
def test_a_kernel_is_used_once_it_has_made_what_torch_does(
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
    for one in made:
        torch.testing.assert_close(one, made[0], rtol=0, atol=1e-5)
    assert len(calls) == (3 if message is None else 1)
    wanted = [] if message is None else [f"the Triton kernel warp_and_blend is not used on cpu: {message}"]
    assert caplog.messages == wanted


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
TYPES = {"t": "fp32", "share": "fp32", "shrink_x": "fp32", "shrink_y": "fp32", "scale_x": "fp32", "scale_y": "fp32"}


@pytest.mark.parametrize(
    ("kernel", "constants"),
    [
        ("_flows_kernel", {"BENDS": False, "ITERATIONS": ITERATIONS}),
        ("_flows_kernel", {"BENDS": True, "ITERATIONS": ITERATIONS}),
        ("_warp_and_blend_kernel", {"TAPS": 4, "STEPS": 1024}),
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
    types = TYPES | dict.fromkeys(module._SIZES, "i32") | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, "*fp32") for name in names}
    source = triton.compiler.ASTSource(function, signature, constants)
    built = triton.compile(source, target=triton.backends.compiler.GPUTarget("cuda", 75, 32))
    assert built.asm["cubin"]
