"""Detail from neighbours, before anything is learned: what back-projection alone brings."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks.sampling import pixel_grid, sample_at
from vs_videoinr.networks.warpinr import back_projection
from vs_videoinr.networks.warpinr.back_projection import BackProjection
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE

LOW, HIGH = (24, 32), (24 * DETAIL_SCALE, 32 * DETAIL_SCALE)


@pytest.fixture
def plain() -> BackProjection:
    """Back-projection without what is learned: nothing is changed but by what was left over."""
    torch.manual_seed(0)
    projection = BackProjection(4, rounds=4, patterns=24).requires_grad_(False)
    for name, parameter in projection.named_parameters():
        if "change" in name or "clues" in name:
            parameter.zero_()
    return projection


def scene() -> Tensor:
    """A picture with detail that a frame of LOW pixels does not hold, (1, 3, *HIGH)."""
    noise = torch.rand(1, 3, HIGH[0] // 3, HIGH[1] // 3, generator=torch.Generator().manual_seed(3))
    return F.interpolate(noise, size=HIGH, mode="bicubic").clamp(0, 1) * 0.3 + 0.3


def low(picture: Tensor) -> Tensor:
    return F.interpolate(picture, size=LOW, mode="bicubic", antialias=True)


def moved(x: float, y: float) -> Neighbour:
    """The scene as a frame shows it of which everything lies (x, y) low-resolution pixels farther on."""
    way = torch.tensor([float(x), float(y)]).view(1, 2, 1, 1)
    seen = low(sample_at(scene(), pixel_grid(*HIGH, way) - way * DETAIL_SCALE, "bicubic"))
    way = way.expand(1, 2, *LOW)
    return Neighbour(seen, way, -way, torch.ones(1, 1, *LOW, dtype=torch.bool))


def error(projection: BackProjection, *neighbours: Neighbour) -> float:
    """Root mean square of what the enlarged scene is off by, away from its border."""
    frame = low(scene())
    detail = torch.zeros(1, 3 * DETAIL_SCALE**2, *LOW)
    detail = projection.improve(frame, detail, torch.zeros(1, 4, *LOW), neighbours)
    large = F.interpolate(frame, size=HIGH, mode="bicubic", antialias=True) + detail
    return float((large - scene())[..., 16:-16, 16:-16].square().mean().sqrt())


def test_neighbours_that_lie_between_pixels_show_more_than_the_frame_does(plain: BackProjection) -> None:
    bicubic = float((F.interpolate(low(scene()), size=HIGH, mode="bicubic", antialias=True) - scene()).square().mean())
    alone = error(plain)
    one = error(plain, moved(0.5, 0.25))
    three = error(plain, moved(0.5, 0.25), moved(-0.5, 0.5), moved(0.25, -0.5))
    assert three < 0.95 * one < 0.95**2 * alone < 0.95**2 * bicubic**0.5


def test_neighbours_at_whole_pixels_show_the_same_again(plain: BackProjection) -> None:
    assert error(plain, moved(2, 1)) == pytest.approx(error(plain), rel=0.02)


def test_the_order_of_neighbours_does_not_matter_nor_one_that_knows_nothing(plain: BackProjection) -> None:
    one, other = moved(0.5, 0.25), moved(-0.5, 0.5)
    unknown = Neighbour(other.frame, other.flow_to, other.flow_from, torch.zeros_like(other.informative))
    assert error(plain, one, other) == error(plain, other, one)
    assert error(plain, one, unknown) == error(plain, one)


def test_a_neighbour_from_elsewhere_can_spoil_little(plain: BackProjection) -> None:
    """What is left over of a picture that has nothing to do with this one is hardly believed."""
    stranger = moved(0, 0)
    stranger = Neighbour(1 - stranger.frame, stranger.flow_to, stranger.flow_from, stranger.informative)
    assert error(plain, stranger) < 1.2 * error(plain)


def test_pictures_of_any_size_are_worked_on_as_one(plain: BackProjection, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bands, so that they need little memory; no seam is to be seen, nor anything else of it."""
    frame, neighbours = low(scene()), [moved(0.5, 0.25), moved(-3.5, 2.5)]
    detail, maps = torch.rand(1, 3 * DETAIL_SCALE**2, *LOW) * 0.05, torch.zeros(1, 4, *LOW)
    whole = plain.improve(frame, detail, maps, neighbours)
    for rows in (1, 3, 7):
        monkeypatch.setattr(back_projection, "BAND_PIXELS", rows * DETAIL_SCALE * HIGH[1])
        torch.testing.assert_close(plain.improve(frame, detail, maps, neighbours), whole, rtol=0, atol=1e-6)
