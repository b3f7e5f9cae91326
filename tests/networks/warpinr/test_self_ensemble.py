"""Pictures that are transform, and ways that lead through them."""

from __future__ import annotations

import pytest
import torch

from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform, transform_back, transform_flow


def test_there_are_eight_different_ones() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    seen = {tuple(transform(image, turn).flatten().tolist()) for turn in range(TRANSFORMS)}
    assert len(seen) == TRANSFORMS == 8
    assert torch.equal(transform(image, 0), image)


@pytest.mark.parametrize("turn", range(TRANSFORMS))
def test_they_can_be_turned_back(turn: int) -> None:
    image = torch.rand(2, 3, 4, 7)
    assert transform(image, turn).shape[-2:] == ((4, 7) if turn < 4 else (7, 4))
    assert torch.equal(transform_back(transform(image, turn), turn), image)


@pytest.mark.parametrize("turn", range(TRANSFORMS))
def test_ways_lead_to_the_same_places(turn: int) -> None:
    image, ways = torch.rand(1, 3, 6, 9), torch.randn(1, 2, 6, 9) * 2
    there = warp(transform(image, turn), transform_flow(ways, turn))
    torch.testing.assert_close(there, transform(warp(image, ways), turn), rtol=0, atol=1e-5)
