"""What rests and what is blank is seen as far as it reaches, and nothing that moves is taken for either."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vs_videoinr.networks.warpinr.static_regions import (
    StaticRegions,
    reach_of_colour,
    reach_of_rest,
    static_bars,
    static_mask,
)


def ground(height: int = 120, width: int = 200) -> Tensor:
    return torch.full((1, 3, height, width), 0.2)


def static_regions(frame0: Tensor, frame1: Tensor) -> StaticRegions:
    return StaticRegions.between(frame0, frame1, static_bars(frame0, frame1))


def test_one_colour_reaches_as_far_as_it_is_seen() -> None:
    frame = ground()
    frame[..., 50:60, 100:110] = 0.8
    reach = reach_of_colour(frame)[0, 0]
    assert reach.shape == (120, 200)
    rows, columns = torch.meshgrid(torch.arange(120), torch.arange(200), indexing="ij")
    away = torch.maximum(
        torch.maximum(50 - rows, rows - 59).clamp(0), torch.maximum(100 - columns, columns - 109).clamp(0)
    )
    assert bool((reach <= away).all())  # never farther
    assert float(reach[away > 4 + 8].min()) >= 4
    assert float(reach[away > 64 + 8].min()) >= 64
    assert float(reach[52, 101]) == 4 or float(reach[52:58, 102:108].max()) == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (13, 201)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    still = static_regions(ground(*size), ground(*size) + 0.1)
    assert still.reach.shape == (1, 1, *size)
    assert bool((still.reach == math.inf).all())


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (60, 90)])
def test_rest_reaches_as_far_as_nothing_changes(size: tuple[int, int]) -> None:
    """By the definition, of any size: no place that changes is nearer, down the columns or along the rows."""
    height, width = size
    first, second = ground(*size), ground(*size)
    second[..., height // 3, width // 2] += 0.1
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = torch.maximum((rows - height // 3).abs(), (columns - width // 2).abs())
    expected = torch.zeros(size)
    for reach in (1, 4, 16):
        expected[away > reach] = reach
    assert torch.equal(reach_of_rest(first, second)[0, 0], expected)
    assert bool((reach_of_rest(first, first) == math.inf).all())


@pytest.mark.parametrize("bars", [(1, 0, 0, 0), (0, 2, 7, 0), (3, 3, 5, 1), (13, 0, 0, 0), (20, 20, 0, 0)], ids=str)
def test_bars_of_any_width_go_with_what_is_beside_them(bars: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = bars
    frame = torch.full((2, 3, 31, 40), 0.5)
    rows, columns = torch.arange(31)[:, None], torch.arange(40)
    black = (rows < top) | (rows >= 31 - bottom) | (columns < left) | (columns >= 40 - right)
    frame[1, :, black] = 0
    beside = [side + 2 if side else 0 for side in bars]
    wanted = (rows < beside[0]) | (rows >= 31 - beside[1]) | (columns < beside[2]) | (columns >= 40 - beside[3])
    found = static_bars(frame, frame)
    assert not bool(found[0].any())
    assert torch.equal(found[1, 0], wanted)


def test_what_comes_out_of_black_has_no_motion() -> None:
    black = torch.zeros(1, 3, 96, 128)
    picture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    for pair in ((black, picture), (picture, black)):
        still = static_regions(*pair)
        assert bool((still.reach == math.inf).all())
        assert not bool(still.rest.any())
        assert still.blank.float().mean() == 0.5


@pytest.mark.parametrize("grain", [0.0, 0.015])
def test_bars_beside_a_picture_that_comes_out_of_white_change_nothing(grain: float) -> None:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    white = torch.ones(1, 3, 96, 128)
    picture = torch.nn.functional.interpolate(coarse, scale_factor=8) * 0.2 + 0.8
    for frame in (white, picture):
        frame += torch.randn(frame.shape, generator=generator) * grain
        frame[..., :9, :] = frame[..., -9:, :] = 0
    for pair in ((white, picture), (picture, white)):
        assert bool((static_regions(*pair).reach == math.inf).all())
    moving = static_regions(picture, picture.roll(2, 3))
    assert not bool((moving.reach == math.inf).any())


def test_bars_are_seen_where_they_are() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.rand(1, 3, 96, 128, generator=generator) for _ in range(2))
    assert not bool(static_bars(first, second).any())
    for frame in (first, second):
        frame[..., :10, :] = frame[..., -5:, :] = 0
    for bars in (static_bars(first, second)[0, 0], static_bars(first.mT, second.mT)[0, 0].mT):
        assert bool(bars[:10].all())
        assert bool(bars[-5:].all())
        assert not bool(bars[13:-8].any())
    second[..., :10, :] = 0.1  # this one changes
    assert not bool(static_bars(first, second)[..., :-8, :].any())


def test_what_moves_over_a_plain_ground_may_move() -> None:
    """A plain square wanders: wherever it comes, or uncovers the ground, its motion is let through."""
    first, second = ground(), ground()
    first[..., 30:80, 40:90] = second[..., 30:80, 60:110] = 0.7
    still = static_regions(first, second)
    motion = torch.zeros(1, 2, 120, 200)
    motion[:, 0] = 20
    gate = static_mask(still.reach, motion)
    differ = (first != second).any(1, keepdim=True)
    assert float(gate[differ].max()) == 0
