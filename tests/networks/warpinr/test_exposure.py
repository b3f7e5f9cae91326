"""Frames that differ by a fade are brought together, and by nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks.warpinr.exposure import Exposure
from vs_videoinr.networks.warpinr.static_regions import static_bars


@pytest.fixture
def picture() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 12, 18, generator=generator)
    return F.interpolate(coarse, size=(96, 144), mode="bicubic").clamp(0, 1)


def exposure_of(frame0: Tensor, frame1: Tensor) -> Exposure:
    return Exposure.between(frame0, frame1, static_bars(frame0, frame1))


def rounded(picture: Tensor) -> Tensor:
    return (picture * 255).round() / 255


@pytest.mark.parametrize(
    ("first", "last", "colour"), [(1.0, 0.7, 0.0), (0.2, 0.4, 0.0), (0.9, 0.5, 1.0), (0.5, 0.6, 0.3)]
)
def test_a_fade_is_taken_back(picture: Tensor, first: float, last: float, colour: float) -> None:
    """From and to any colour, while the picture moves, too; the frame with more contrast stays as it is."""
    moved = picture.roll((3, 5), (2, 3))
    frames = [rounded(colour + (one - colour) * share) for one, share in ((picture, first), (moved, last))]
    alike = exposure_of(frames[0], frames[1]).match(frames[0], frames[1])
    stronger = int(last > first)
    assert torch.equal(alike[stronger], frames[stronger])
    fit = alike[1].roll((-3, -5), (2, 3)) - alike[0]
    assert float(fit.abs().mean()) < 1.5 / 255 < 0.2 * float((frames[1] - frames[0]).abs().mean())
    exposure = exposure_of(frames[0], frames[1])
    second = exposure.like_first(frames[1]).roll((-3, -5), (2, 3))
    assert float((second - frames[0]).abs().mean()) < 1.5 / 255 / float(exposure.gains[0])
    first_like_second = exposure.reversed().like_first(frames[0]).roll((3, 5), (2, 3))
    assert float((first_like_second - frames[1]).abs().mean()) < 1.5 / 255 / float(exposure.gains[1])


@pytest.mark.parametrize("bar", [3, 16, 30])
def test_bars_do_not_fade_with_the_picture(picture: Tensor, bar: int) -> None:
    """A picture between bars is brought together as well as one alone; hard or soft, they stay what they are."""
    moved = picture.roll((3, 5), (2, 3))
    for edge in (0.0, 0.5):
        frames = [rounded(1 + (one - 1) * share) for one, share in ((picture, 1.0), (moved, 0.6))]
        for frame in frames:
            frame[..., :bar, :] = frame[..., -bar:, :] = 0
            frame[..., bar, :] *= edge or 1
        alike = exposure_of(frames[0], frames[1]).match(frames[0], frames[1])
        fit = (alike[1].roll((-3, -5), (2, 3)) - alike[0])[..., bar + 4 : -bar - 8, 8:-8]
        assert float(fit.abs().mean()) < 1.5 / 255
        for frame in alike:
            assert not frame[..., :bar, :].any()
            assert not frame[..., -bar:, :].any()


def test_all_else_stays_as_it_is(picture: Tensor) -> None:
    other = F.interpolate(picture.flip(2)[..., :40, :60].roll(1, 1), size=(96, 144), mode="bicubic").clamp(0, 1)
    covered = picture.clone()
    covered[..., :30, :70] = 0.9
    for first, second in (
        (picture, picture),
        (picture, picture.roll(20, 3)),
        (picture, picture.roll(9, 2) + 1 / 255),  # too little to matter
        (picture, torch.zeros_like(picture)),
        (torch.full_like(picture, 0.2), torch.full_like(picture, 0.6)),
        (picture, covered),
        (picture * 0.01, other),
    ):
        for a, b in ((first, second), (second, first)):
            alike = exposure_of(a, b).match(a, b)
            assert torch.equal(alike[0], a)
            assert torch.equal(alike[1], b)


def test_each_of_a_batch_has_its_own(picture: Tensor) -> None:
    first, second = torch.cat((picture, picture)), torch.cat((picture, picture * 0.6))
    alike = exposure_of(first, second).match(first, second)
    assert torch.equal(alike[1][:1], picture)
    torch.testing.assert_close(alike[1][1:], picture, atol=1e-4, rtol=0)
