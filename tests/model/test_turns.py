"""Pictures that are turned, and ways that lead through them."""

from __future__ import annotations

import pytest
import torch

from vs_videoinr.model.motion import warp
from vs_videoinr.model.turns import TURNS, turned, turned_back, turned_ways


def test_there_are_eight_different_ones() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    seen = {tuple(turned(image, turn).flatten().tolist()) for turn in range(TURNS)}
    assert len(seen) == TURNS == 8
    assert torch.equal(turned(image, 0), image)


@pytest.mark.parametrize("turn", range(TURNS))
def test_they_can_be_turned_back(turn: int) -> None:
    image = torch.rand(2, 3, 4, 7)
    assert turned(image, turn).shape[-2:] == ((4, 7) if turn < 4 else (7, 4))
    assert torch.equal(turned_back(turned(image, turn), turn), image)


@pytest.mark.parametrize("turn", range(TURNS))
def test_ways_lead_to_the_same_places(turn: int) -> None:
    image, ways = torch.rand(1, 3, 6, 9), torch.randn(1, 2, 6, 9) * 2
    there = warp(turned(image, turn), turned_ways(ways, turn))
    torch.testing.assert_close(there, turned(warp(image, ways), turn), rtol=0, atol=1e-5)
