"""Two frames warped and blended: the kernel and its twin in PyTorch make the same picture of anything."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.networks.twins import by_torch
from vs_videoinr.networks import kernels, warp_blend
from vs_videoinr.networks.warp_blend import sampled_frame, warp_and_blend

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="this build has no kernels")

#: Sizes of the picture and the flow.
SIZES = [
    ((48, 70), (24, 35)),
    ((47, 33), (12, 9)),
    ((24, 18), (24, 18)),
    ((5, 7), (9, 13)),
    ((90, 1), (3, 1)),
    ((1, 90), (1, 3)),
    ((1, 1), (1, 1)),
    ((3, 2), (1, 5)),
]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def parts(size: tuple[int, int], low: tuple[int, int], far: float, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Two frames, and a flow that leads `far` at most."""
    frames = noise(2, batch, 3, *size, seed=1)
    flow = (noise(batch, 4, *low, seed=2) * 2 - 1) * far
    return frames[0], frames[1], flow


@needs_kernels
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("far", [0.0, 1.5, 30.0, 1e9])
@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize(("size", "low"), SIZES)
def test_the_kernel_does_what_torch_does(
    size: tuple[int, int],
    low: tuple[int, int],
    large: bool,
    far: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, flow = parts(size, low, far, batch=2)
    for t in (0.5, 1e-4, 0.9):

        def work(t: float = t) -> Tensor:
            return warp_and_blend(sampled_frame(first), sampled_frame(second), flow, t, large=large)

        # Noise is as steep as pictures and flows can be, and torch's positions are not exact.
        torch.testing.assert_close(work(), by_torch(monkeypatch, work), rtol=0, atol=2e-4 + 2e-5 * min(far, 100))


@needs_kernels
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("large", [True, False])
def test_flow_that_is_no_number_does_not_crash(large: bool) -> None:
    first, second, flow = parts((20, 30), (10, 15), 2.0)
    for broken in (float("nan"), float("inf"), -float("inf"), 3e38):
        flow[..., 3:5, 4:9] = broken
        out = warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=large)
        assert out[..., 16:, 22:].isfinite().all()


@needs_kernels
def test_threads_and_bands_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, flow = parts((61, 40), (30, 20), 5.0)
    frames = sampled_frame(first), sampled_frame(second)
    whole = warp_and_blend(*frames, flow, 0.3, large=False)
    for threads in (1, 2, 7, 500):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for pixels in (1, 100, 1 << 18):
            monkeypatch.setattr(warp_blend, "KERNEL_PIXELS", pixels)
            assert torch.equal(warp_and_blend(*frames, flow, 0.3, large=False), whole)


@pytest.mark.parametrize("by_kernel", [pytest.param(True, marks=needs_kernels), False])
def test_work_can_be_abandoned_between_bands(by_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_kernel:
        monkeypatch.setattr(kernels, "best", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(warp_blend, "CHUNK_PIXELS", 480)
    monkeypatch.setattr(warp_blend, "KERNEL_PIXELS", 240)
    first, second, flow = parts((40, 48), (20, 24), 1.0)
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    frames = sampled_frame(first), sampled_frame(second)
    with pytest.raises(InterruptedError):
        warp_and_blend(*frames, flow, 0.5, large=True, check=check)
    assert len(calls) == 3
    calls[:] = [1] * 10
    warp_and_blend(*frames, flow, 0.5, large=True, check=check)
    assert len(calls) == 14


def test_a_library_of_another_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a checkout runs whose kernels have changed since it was installed."""
    monkeypatch.setattr(kernels, "VERSION", 0)
    assert kernels._load() is None


@needs_kernels
def test_a_frame_is_laid_out_whatever_its_memory_looks_like() -> None:
    picture = noise(2, 3, 21, 34).permute(0, 1, 3, 2)[..., 3:]
    frame = sampled_frame(picture)
    assert frame.packed is not None
    assert torch.equal(frame.picture, picture)
    assert frame.nbytes() == 2 * (34 + 10) * (18 + 10) * 16


def test_gradients_and_other_numbers_are_torchs() -> None:
    """What is learned from, and what is in double precision, gets the picture that it would get without kernels."""
    first, second, flow = parts((20, 30), (10, 15), 1.0)
    plain = warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=True)
    flow.requires_grad_()
    out = warp_and_blend(sampled_frame(first), sampled_frame(second), flow, 0.5, large=True)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert flow.grad is not None
    assert flow.grad.isfinite().all()
    torch.testing.assert_close(out.detach(), plain, rtol=0, atol=2e-4)
    assert sampled_frame(first.double()).packed is None
