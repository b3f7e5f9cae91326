"""Resizing is the same for pictures of any shape, also for those that are a single column."""

from __future__ import annotations

import pytest
import torch

from vs_videoinr.networks.sampling import resize_bicubic

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
