"""Resizing is the same for pictures of any shape, also for those that are a single column, and sampling exact."""

from __future__ import annotations

import pytest
import torch

from vs_videoinr.networks.sampling import pixel_grid, resize_bicubic, sample_at, sample_lanczos

HEIGHTS = (1, 2, 3, 8, 16)


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_column_is_resized_like_a_wider_picture_of_it(height: int, dtype: torch.dtype) -> None:
    column = torch.rand(2, 3, height, 1, generator=torch.Generator().manual_seed(height)).to(dtype)
    for new in HEIGHTS:
        wide = resize_bicubic(column.expand(-1, -1, -1, 8), (new, 8))
        torch.testing.assert_close(resize_bicubic(column, (new, 1)), wide[..., 3:4])


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_picture_becomes_a_column_as_it_becomes_a_row(width: int) -> None:
    picture = torch.rand(2, 3, 7, width, generator=torch.Generator().manual_seed(width))
    for new in HEIGHTS:
        torch.testing.assert_close(resize_bicubic(picture, (new, 1)), resize_bicubic(picture.mT, (1, new)).mT)


def test_what_is_fine_is_the_same_half_a_pixel_further() -> None:
    """Waves three pixels long; at pixels there is what is there."""
    there = pixel_grid(24, 40, torch.zeros(()))
    x = there[:, :1]
    wave = (x * 2 * torch.pi / 3).sin().expand(2, 3, -1, -1)
    torch.testing.assert_close(sample_lanczos(wave, there.expand(2, -1, -1, -1)), wave, rtol=0, atol=1e-5)
    further = (there + torch.tensor([0.5, 0.0]).view(1, 2, 1, 1)).expand(2, -1, -1, -1)
    truth = ((x + 0.5) * 2 * torch.pi / 3).sin()
    error, bicubic = (
        float((found - truth)[..., 4:-4].abs().max())
        for found in (sample_lanczos(wave, further), sample_at(wave, further, "bicubic"))
    )
    assert error < bicubic / 2


def test_beyond_the_border_lies_its_colour() -> None:
    pictures = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([[-90.0, 3.0], [500.0, -20.0]]).T.view(1, 2, 1, 2).expand(2, -1, -1, -1)
    found = sample_lanczos(pictures, places)
    torch.testing.assert_close(found[..., 0, 0], pictures[..., 3, 0])
    torch.testing.assert_close(found[..., 0, 1], pictures[..., 0, 6])
