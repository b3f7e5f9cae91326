"""What all networks are asked for, and the frames that they are given: what they refuse, in words."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from tests.networks.warpinr.test_network import SMALL as WARP
from tests.networks.zooming_slow_mo.test_network import SMALL as ZOOMING
from tests.reference_recipe import SMALL
from vs_videoinr.networks.base import Network
from vs_videoinr.networks.videoinr.network import VideoINR
from vs_videoinr.networks.warpinr.network import WarpINR
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo


@pytest.fixture(scope="module", params=[(VideoINR, SMALL), (WarpINR, WARP), (ZoomingSlowMo, ZOOMING)])
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(5)
    kind, config = request.param
    made: Network = kind(config)
    return made.requires_grad_(False)


def frame(height: int = 6, width: int = 8, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width)


BYTES = torch.zeros(1, 3, 6, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (
            (BYTES, BYTES),
            TypeError,
            "frame0 must hold floating point numbers from 0 to 1, got torch.uint8; divide by 255",
        ),
        ((frame(), BYTES), TypeError, "frame1 must hold .*, got torch.uint8; divide by 255"),
        ((BYTES.int(), BYTES.int()), TypeError, "frame0 must hold .*, got torch.int32; divide by 255"),
        ((BYTES.bool(), BYTES.bool()), TypeError, "frame0 must hold .*, got torch.bool"),
        ((frame() * 1j, frame()), TypeError, "frame0 must hold .*, got torch.complex64"),
        (
            (np.zeros((1, 3, 6, 8), np.float32), frame()),
            TypeError,
            "frame0 must be a torch tensor, got ndarray; .*from_numpy",
        ),
        ((frame(), None), TypeError, "frame1 must be a torch tensor, got NoneType"),
        (
            (frame() * 255, frame()),
            ValueError,
            r"frame0 must hold numbers from 0 \(black\) to 1 \(white\), got .* to 2\d\d",
        ),
        ((frame(), frame() / 0), ValueError, "frame1 must hold numbers from 0 .*, got inf to inf"),
        ((frame(), frame() * float("nan")), ValueError, "frame1 must hold numbers from 0 .*, got nan to nan"),
        ((frame() - 3, frame()), ValueError, "frame0 must hold numbers from 0 "),
        ((frame()[0], frame()[0]), ValueError, r"frame0 must be \(batch, 3, height, width\), got \(3, 6, 8\)"),
        ((frame()[:, :1], frame()[:, :1]), ValueError, r"frame0 must be .*, got \(1, 1, 6, 8\)"),
        ((frame().permute(0, 2, 3, 1), frame()), ValueError, r"frame0 must be .*, got \(1, 6, 8, 3\)"),
        ((frame()[None], frame()[None]), ValueError, r"frame0 must be .*, got \(1, 1, 3, 6, 8\)"),
        ((frame(0), frame(0)), ValueError, r"frame0 must be .*, got \(1, 3, 0, 8\)"),
        ((frame(batch=0), frame(batch=0)), ValueError, r"frame0 must be .*, got \(0, 3, 6, 8\)"),
        ((frame(), frame(8, 6)), ValueError, r"must be of one shape, got \(1, 3, 6, 8\) and \(1, 3, 8, 6\)"),
        ((frame(batch=2), frame()), ValueError, r"must be of one shape, got \(2, 3, 6, 8\) and \(1, 3, 6, 8\)"),
    ],
)
def test_frames_that_are_none(network: Network, frames: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        network.encode(*frames)


@pytest.mark.parametrize(
    ("t", "size", "error", "message"),
    [
        (1.5, (9, 9), ValueError, r"t must be from 0 \(frame 0\) to 1 \(frame 1\), got 1.5"),
        (-1e-9, (9, 9), ValueError, "t must be from 0 .*, got -1e-09"),
        (2, (9, 9), ValueError, "t must be from 0 .*, got 2"),
        (float("nan"), (9, 9), ValueError, "t must be from 0 .*, got nan"),
        (float("-inf"), (9, 9), ValueError, "t must be from 0 .*, got -inf"),
        ("half", (9, 9), TypeError, "t must be a number from 0 to 1, got 'half'"),
        (None, (9, 9), TypeError, "t must be a number from 0 to 1, got None"),
        ([0.1, 0.2], (9, 9), TypeError, "t must be a number from 0 to 1, got "),
        (torch.tensor([0.1, 0.2]), (9, 9), TypeError, "t must be a number from 0 to 1, got "),
        (0.5, (0, 9), ValueError, r"size must be two positive integers, height and width, got \(0, 9\)"),
        (0.5, (9, -9), ValueError, "size must be two positive integers"),
        (0.5, (9,), ValueError, "size must be two positive integers"),
        (0.5, (1, 9, 9), ValueError, "size must be two positive integers"),
        (0.5, (), ValueError, "size must be two positive integers"),
        (0.5, (9.0, 9), TypeError, r"size must be two integers, height and width, got \(9.0, 9\)"),
        (0.5, (9, None), TypeError, "size must be two integers"),
        (0.5, "99", TypeError, "size must be two integers"),
        (0.5, 9, TypeError, "size must be two integers, height and width, got 9"),
    ],
)
def test_pictures_that_there_are_not(network: Network, t: Any, size: Any, error: type[Exception], message: str) -> None:
    field = network.encode(frame(), frame())
    for ask in (field.sample, field.motion):
        with pytest.raises(error, match=message):
            ask(t, size)


def test_numbers_of_any_kind_are_taken(network: Network) -> None:
    field = network.encode(frame(), frame())
    expected = field.sample(0.5, (24, 32))
    for t in (Fraction(1, 2), np.float32(0.5), torch.tensor(0.5)):
        for size in ((np.int64(24), np.uint8(32)), [24, 32], torch.Size([24, 32])):
            assert torch.equal(field.sample(t, size), expected)  # type: ignore[arg-type]
    assert torch.equal(field.sample(True, (24, 32)), field.sample(1, (24, 32)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_frames_of_any_floating_kind_and_a_little_beyond_are_taken(network: Network, dtype: torch.dtype) -> None:
    frames = [(frame() * 1.5 - 0.25).to(dtype) for _ in range(2)]
    single = network.encode(*(one.float() for one in frames)).sample(0.5, (24, 32))
    assert torch.equal(network.encode(*frames).sample(0.5, (24, 32)), single)
