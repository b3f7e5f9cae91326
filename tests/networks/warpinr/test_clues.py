"""What is known of a neighbouring frame: the kernel and its twin in PyTorch find the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.networks.test_warp_blend import noise
from tests.networks.twins import by_torch
from vs_videoinr.networks import kernels
from vs_videoinr.networks.warpinr.clues import Clues, find_clues

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="this build has no kernels")

Given = tuple[Tensor, Tensor, Tensor, Tensor, int]


def given(size: tuple[int, int], top: int = 0, rows: int | None = None, batch: int = 2) -> Given:
    """Rows of a frame, its neighbour, and the ways there and back, which are a few pixels long."""
    band = slice(top, size[0] if rows is None else top + rows)
    frame, other = noise(2, batch, 3, *size, seed=1)
    there, back = noise(2, batch, 2, *size, seed=2) * 9 - 4
    return frame[..., band, :], other, there[..., band, :], back, top


def together(clues: Clues) -> Tensor:
    return torch.cat([part.double() for part in clues], 1)


@needs_kernels
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    ("size", "top", "rows"),
    [((41, 97), 0, None), ((41, 97), 13, 20), ((1, 30), 0, None), ((30, 1), 29, 1), ((1, 1), 0, None)],
)
def test_the_kernel_finds_what_torch_does(
    size: tuple[int, int], top: int, rows: int | None, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, other, there, back, top = given(size, top, rows)
    frame, other = (one.contiguous(memory_format=layout) for one in (frame, other))

    def work() -> Tensor:
        return together(find_clues(frame, other, there, back, top))

    # Noise is as steep as pictures can be, and torch's positions are not exact.
    torch.testing.assert_close(work(), by_torch(monkeypatch, work), rtol=0, atol=2e-4)


@needs_kernels
@pytest.mark.usefixtures("kernel")
def test_places_half_way_between_pixels_and_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As near to two pixels as to each other: both agree on which it is."""
    frame, other, there, back, top = given((9, 14))
    for way in (0.5, -0.5, 1.5, 1e9, -1e9):
        there[:] = way

        def work() -> Tensor:
            return together(find_clues(frame, other, there, back, top))

        torch.testing.assert_close(work(), by_torch(monkeypatch, work), rtol=0, atol=1e-4)


@needs_kernels
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 3e38])
def test_ways_that_lead_nowhere_do_no_harm_elsewhere(broken: float) -> None:
    frame, other, there, back, top = given((20, 40))
    there[..., 3:5, 4:9] = broken
    back[..., 3:5, 4:9] = broken
    clues = find_clues(frame, other, there, back, top)
    assert clues.maps[..., 25:].isfinite().all()
    assert clues.pixel.amin() >= 0
    assert (clues.pixel.amax((0, 2, 3)) < torch.tensor([40, 20])).all()


@needs_kernels
@pytest.mark.usefixtures("kernel")
def test_threads_and_other_frames_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    both = given((41, 97))
    whole = together(find_clues(*both))
    frame, other, there, back, top = both
    assert torch.equal(together(find_clues(frame[1:], other[1:], there[1:], back[1:], top)), whole[1:])
    for threads in (1, 2, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(together(find_clues(*both)), whole)
