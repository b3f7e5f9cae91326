"""What is not learned of the motion: the kernels and their twins in PyTorch find the same in anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.networks.twins import by_torch
from vs_videoinr.networks import kernels
from vs_videoinr.networks.cancellation import checked
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.flow_estimator import FlowStep, products_by_place, products_by_row
from vs_videoinr.networks.warpinr.flow_refinement import refine_lucas_kanade, smooth_consistent_flow

pytestmark = pytest.mark.skipif(not kernels.available(), reason="this build has no kernels")

SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (5, 17), (40, 33), (67, 120)]


def noise(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def textures(height: int, width: int, count: int, seed: int) -> Tensor:
    """Pictures (count, 3, height, width) with detail of several sizes."""
    picture = torch.zeros(count, 3, height, width)
    for share, cell in ((0.1, 1), (0.4, 4), (0.5, 13)):
        coarse = noise(count, 3, height // cell + 2, width // cell + 2, seed=seed + cell)
        picture += share * F.interpolate(coarse, size=(height, width), mode="bicubic")
    return picture


def pair(height: int, width: int, apart: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """A flow in both directions that is about right, and the frames it leads from and to, as the network has them."""
    wide = textures(height + 2 * apart, width + 2 * apart, 1, seed=height + width)
    first, second = wide[..., apart:-apart, apart:-apart], wide[..., : -2 * apart, 2 * apart :]
    frames = torch.cat((first, second)).contiguous(memory_format=torch.channels_last)
    truth = torch.tensor([[-apart, apart], [apart, -apart]], dtype=torch.float32).view(2, 2, 1, 1)
    off = noise(2, 2, height // 8 + 2, width // 8 + 2, seed=5) - 0.5
    return truth + F.interpolate(off, size=(height, width), mode="bicubic"), frames, frames.roll(1, 0)


def works(flow: Tensor, frames: Tensor, other: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Everything that a flow goes through, by its name."""
    return {
        "refine": lambda: refine_lucas_kanade(flow, frames, other, 3, 3e-3),
        "refine more": lambda: refine_lucas_kanade(flow, frames, other, 6, 1e-3),
        "refine least": lambda: refine_lucas_kanade(flow, frames, other, 0, 1e-3),
        "refine most": lambda: refine_lucas_kanade(flow, frames, other, 30, 1e-3),
        "refine grey": lambda: refine_lucas_kanade(flow, frames[:, :1], other[:, :1], 3, 3e-3),
        "smooth": lambda: smooth_consistent_flow(flow),
    }


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("size", SIZES)
def test_a_flow_is_made_as_exact_by_the_kernels(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """To a ten thousandth of a pixel, but where two motions fit equally well but for rounding.

    In small pictures, much of whose motion leads out of them, there are many such places.
    """
    flow, frames, other = pair(*size)
    for name, work in works(flow, frames, other).items():
        found, expected = work(), by_torch(monkeypatch, work)
        if size == SIZES[-1] and name != "refine most":
            assert (expected - flow).abs().mean() > 5e-3, name
        apart = (found - expected).abs()
        assert apart.max() < (1e-4 if name == "smooth" else 10), name
        if size[0] * size[1] > 50:
            assert (apart > 1e-4).float().mean() < (2e-3 if size == SIZES[-1] else 0.1), name
        misfits = [(frames - warp(other, way, "bicubic")).square().mean() for way in (found, expected)]
        torch.testing.assert_close(*misfits, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("kernel")
def test_frames_of_any_layout_and_flows_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads far outside of the picture, or to no number, spoils nothing but what is around."""
    flow, frames, other = pair(48, 64)
    cases: list[Callable[[Tensor], Tensor]] = [
        lambda flow: refine_lucas_kanade(flow, frames, other, 3, 3e-3),
        lambda flow: refine_lucas_kanade(flow, frames.contiguous(), other.contiguous(), 3, 3e-3),
        smooth_consistent_flow,
        lambda flow: warp(frames, flow),
        lambda flow: warp(frames.contiguous(), flow),
    ]
    for work in cases:
        whole = work(flow)
        for far in (float("nan"), float("inf"), -3e38, 1e9, 1e5):
            hostile = flow.clone()
            hostile[:, :, 3:6, 4:7] = far
            found = work(hostile)
            assert torch.equal(found[..., 30:, 30:], whole[..., 30:, 30:])
            if far == 1e5:
                expected = by_torch(monkeypatch, lambda work=work, hostile=hostile: work(hostile))  # type: ignore[misc]
                apart = (found - expected).abs() / (1 + 1e-2 * expected.abs())
                assert (apart > 3e-4).float().mean() < 5e-3


@pytest.mark.usefixtures("kernel")
def test_threads_and_other_pairs_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, frames, other = (maps.repeat_interleave(2, 0) for maps in pair(67, 90))
    step = FlowStep(12, 8, 3, coarsest=True).requires_grad_(False)
    a, b = noise(2, 2, 12, 67, 40, seed=1)
    several: dict[str, Callable[[slice], Tensor]] = {
        "refine": lambda of: refine_lucas_kanade(flow[of], frames[of], other[of], 3, 3e-3),
        "smooth": lambda of: smooth_consistent_flow(flow[of]),
        "warp": lambda of: warp(frames[of], flow[of]),
        "correlate": lambda of: torch.cat(step.correlate_and_match(a[of], b[of], step.feature_means(a[of], b[of])), 1),
    }
    for name, work in several.items():
        whole = work(slice(None))
        for threads in (1, 2, 7, 500):
            monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
            assert torch.equal(work(slice(None)), whole), name
            assert torch.equal(work(slice(0, None, 2)), whole[::2]), name
        monkeypatch.undo()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("size", [(1, 1), (1, 20), (20, 1), (13, 37)])
@pytest.mark.parametrize(("channels", "radius"), [(3, 1), (8, 2), (13, 3), (16, 4), (5, 6)])
def test_correlation_and_what_it_suggests(
    size: tuple[int, int], channels: int, radius: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = FlowStep(channels, 8, radius, coarsest=True).requires_grad_(False)
    a = noise(2, channels, *size, seed=3)
    b = a.roll((1, -1), (2, 3)) + 0.2 * noise(2, channels, *size, seed=4)
    for layout in (torch.channels_last, torch.contiguous_format):
        maps = [features.contiguous(memory_format=layout) for features in (a, b)]

        def both(maps: list[Tensor] = maps) -> Tensor:
            return torch.cat(step.correlate_and_match(maps[0], maps[1], step.feature_means(maps[0], maps[1])), 1)

        torch.testing.assert_close(both(), by_torch(monkeypatch, both), rtol=0, atol=2e-5)
    a[..., 0] = float("nan")
    assert step.correlate_and_match(a, b, step.feature_means(a, b))[0].shape == (2, (2 * radius + 1) ** 2, *size)


@pytest.mark.parametrize("radius", [1, 3])
def test_a_gpu_compares_features_as_a_cpu_does(radius: int) -> None:
    a, b = noise(2, 5, 7, 9, seed=1), noise(2, 5, 7 + 2 * radius, 9 + 2 * radius, seed=2)
    torch.testing.assert_close(products_by_row(a, b, radius), products_by_place(a, b, radius), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 13])
def test_an_image_is_fetched_from_where_a_flow_leads(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for size, image_size in (((1, 1), (1, 1)), ((5, 70), (9, 4)), ((30, 1), (1, 30)), ((40, 50), (40, 50))):
        image = noise(2, channels, *image_size, seed=1)
        flow = (noise(2, 2, *size, seed=2) - 0.5) * 20
        for layout in (torch.channels_last, torch.contiguous_format):
            laid = image.contiguous(memory_format=layout)

            def fetch(laid: Tensor = laid, flow: Tensor = flow) -> Tensor:
                return warp(laid, flow)

            torch.testing.assert_close(fetch(), by_torch(monkeypatch, fetch), rtol=0, atol=2e-5)


@pytest.mark.usefixtures("kernel")
def test_work_can_be_abandoned_between_steps() -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 6:
            raise InterruptedError

    with checked(check), pytest.raises(InterruptedError):
        works(*pair(20, 30))["refine"]()
    assert len(calls) == 6


def test_what_is_learned_from_is_torchs() -> None:
    """Gradients pass by a refinement, and through a correlation, whether there are kernels or not."""
    flow, frames, other = pair(20, 30)
    flow.requires_grad_()
    for name, work in works(flow, frames, other).items():
        (gradient,) = torch.autograd.grad(work().sum(), flow)
        assert torch.equal(gradient, torch.ones_like(flow)), name
    step = FlowStep(3, 8, 2, coarsest=True)
    found = step.correlate_and_match(frames, other, step.feature_means(frames, other))[1]
    assert torch.autograd.grad(found.square().sum(), step.sharpness)[0].abs() > 0
