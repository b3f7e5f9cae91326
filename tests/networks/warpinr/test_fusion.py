"""Where a picture between two frames comes from: the kernel and its twin in PyTorch find the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.networks.test_warp_blend import noise
from vs_videoinr.networks import kernels
from vs_videoinr.networks.warpinr.fusion import ITERATIONS, _flows_by_torch

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="this build has no kernels")

Given = tuple[Tensor, Tensor, Tensor | None, Tensor, float, int]


def given(size: tuple[int, int], bends: bool, t: float = 0.3) -> Given:
    """Two pairs that move by a few pixels, what bends their ways, and where nothing moves."""
    flows = noise(2, 2, 2, *size, seed=3) + torch.tensor([[3.0, -1.0], [-2.0, 2.0]])[:, None, :, None, None]
    acceleration = noise(4, 2, *size, seed=4) * 2 - 1 if bends else None
    reach = torch.tensor([0, 0, 1, 4, torch.inf])[(noise(2, 1, *size, seed=5) * 5).long()]
    return flows[0], flows[1], acceleration, reach, t, ITERATIONS


@needs_kernels
@pytest.mark.parametrize("bends", [True, False])
@pytest.mark.parametrize("size", [(41, 97), (1, 30), (30, 1), (1, 1), (2, 3)])
def test_the_kernel_finds_what_torch_does(size: tuple[int, int], bends: bool, kernel: kernels.Kernels) -> None:
    for t in (0.3, 1e-4, 1.0):
        found, wanted = kernel.flows_at(*given(size, bends, t)), _flows_by_torch(*given(size, bends, t))
        # Where what is led to is noise, an inexact place is an inexact flow.
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


@needs_kernels
def test_threads_and_other_pairs_change_no_bit(kernel: kernels.Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    both = given((41, 97), True)
    flow01, flow10, bends, reach, t, iterations = both
    assert bends is not None
    whole = kernel.flows_at(*both)
    alone = kernel.flows_at(flow01[1:], flow10[1:], bends[1::2], reach[1:], t, iterations)
    assert torch.equal(alone, whole[1:])
    for threads in (1, 2, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(kernel.flows_at(*both), whole)


@needs_kernels
@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_flows_that_lead_nowhere_do_no_harm_elsewhere(broken: float, kernel: kernels.Kernels) -> None:
    both = given((20, 40), True)
    both[0][..., 3:5, 4:9] = broken
    found = kernel.flows_at(*both)
    assert found.shape == (2, 4, 20, 40)
    assert found[..., 25:].isfinite().all()
