"""A large frame is worked on in bands of rows, or in tiles, and looks as if it were not."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr import load
from vs_videoinr.networks import bands, kernels
from vs_videoinr.networks.sampling import resize_bicubic, resize_bicubic_rows
from vs_videoinr.networks.warpinr import network as warpinr
from vs_videoinr.networks.warpinr.field import WarpField
from vs_videoinr.networks.warpinr.frame_detail import FrameDetailConfig
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
from vs_videoinr.networks.warpinr.stages import Stage
from vs_videoinr.networks.warpinr.trunk_detail import TrunkDetailConfig

CPU = torch.device("cpu")

#: What bands get: all that they want, and so little that they are as low as they may be.
PLENTY, NOTHING = 1 << 40, 1

LIGHT = FrameDetailConfig(width=8, blocks=2)
THOROUGH = TrunkDetailConfig(width=8, blocks=2, patterns=6, rounds=2)
ENSEMBLE = TrunkDetailConfig(width=4, blocks=1, patterns=3, rounds=1, self_ensemble=True)


def network(detail: FrameDetailConfig | TrunkDetailConfig) -> WarpINR:
    """A network that moves and adds much, so that what is not as it should be is seen.

    Without the steps that choose between two flows, which roundings may decide where both fit as well.
    """
    torch.manual_seed(3)
    without = frozenset({Stage.LUCAS_KANADE, Stage.SMOOTHING})
    net = WarpINR(WarpINRConfig(levels=(8, 8, 12, 12), hidden=8, radius=2, detail=detail, without=without))
    with torch.no_grad():
        for name, weights in net.named_parameters():
            if name.startswith("detail.") and name.endswith("weight"):
                weights.mul_(2)
    return net.requires_grad_(False).eval()


def frames(height: int, width: int, apart: int = 3) -> list[Tensor]:
    """Four frames of a picture with detail, which moves."""
    generator = torch.Generator().manual_seed(1)
    picture = torch.zeros(1, 3, height + 4 * apart, width + 4 * apart)
    for share, cell in ((0.2, 1), (0.4, 3), (0.4, 11)):
        size = picture.shape[-2] // cell + 2, picture.shape[-1] // cell + 2
        coarse = torch.rand(1, 3, *size, generator=generator)
        picture += share * F.interpolate(coarse, size=picture.shape[-2:], mode="bicubic")
    return [picture[..., apart * n : apart * n + height, n : n + width].clamp(0, 1) for n in range(4)]


def encoded(net: WarpINR, shown: list[Tensor]) -> WarpField:
    """The pair in the middle, which knows the others."""
    before, pair, after = (net.encode(one, other) for one, other in itertools.pairwise(shown))
    return pair.with_neighbours(before.pair_motion, after.pair_motion)


def pictures(field: WarpField, size: tuple[int, int]) -> list[Tensor]:
    """What it looks like at several times, made anew."""
    field.release()
    return [field.sample(t, size).clone() for t in (0, 0.3, 1)]


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda size: monkeypatch.setitem(bands._budgets, CPU, size)


@pytest.mark.parametrize(
    ("size", "new_size", "kernel"),
    [
        ((75, 40), (151, 83), True),
        ((75, 40), (151, 83), False),
        ((97, 5), (60, 9), True),
        ((3, 90), (7, 180), True),
        ((64, 33), (64, 33), True),
        ((131, 24), (20, 24), False),
    ],
)
def test_bands_make_what_the_whole_does(
    size: tuple[int, int],
    new_size: tuple[int, int],
    kernel: bool,
    budget: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not kernel:
        monkeypatch.setattr(kernels, "best", lambda: None)
    net, shown = network(LIGHT), frames(*size)
    budget(PLENTY)
    field = encoded(net, shown)
    whole, flow = pictures(field, new_size), field.motion(0.5, size)
    if size != new_size:
        assert (whole[0] - resize_bicubic(shown[1], new_size)).abs().max() > 0.02  # there is detail
    for given in (NOTHING, 300_000):
        budget(given)
        for one, other in zip(pictures(field, new_size), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        flows = encoded(net, shown).motion(0.5, size)  # features that are not learned enlarge what is rounded
        torch.testing.assert_close(flows, flow, rtol=0, atol=0.01)


def test_our_model_makes_in_bands_what_it_does_of_the_whole(
    budget: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is used, with all that chooses between two flows."""
    monkeypatch.setattr(warpinr, "MIN_TILE_PX", 64)
    net, shown = load("lite"), frames(75, 112)
    assert isinstance(net, WarpINR)
    budget(PLENTY)
    whole = pictures(encoded(net, shown), (150, 224))
    budget(NOTHING)
    for one, other in zip(pictures(encoded(net, shown), (150, 224)), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1 / 255)


def test_a_flow_that_leads_anywhere_is_followed_in_bands(budget: Callable[[int], None]) -> None:
    """A band then sees features of all of the other frame, a part of them at a time."""
    net, shown = network(LIGHT), frames(150, 20)
    field = encoded(net, shown)
    generator = torch.Generator().manual_seed(2)
    for flow in (field.pair_motion.flow01, field.pair_motion.flow10):
        flow += 300 * (torch.rand(flow.shape, generator=generator) - 0.5)
    budget(PLENTY)
    whole = pictures(field, (300, 40))
    budget(NOTHING)
    for one, other in zip(pictures(field, (300, 40)), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("detail", "new_size"), [(THOROUGH, (363, 201)), (THOROUGH, (100, 60)), (ENSEMBLE, (363, 201))]
)
def test_tiles_make_nearly_what_the_whole_does(
    detail: TrunkDetailConfig, new_size: tuple[int, int], budget: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warpinr, "MIN_TILE_PX", 120)
    net, shown = network(detail), frames(181, 101)
    budget(PLENTY)
    whole = pictures(encoded(net, shown), new_size)
    budget(NOTHING)
    for one, other in zip(pictures(encoded(net, shown), new_size), whole, strict=True):
        assert (one - other).abs().max() < 1 / 255


def test_bands_are_the_same_in_any_order_of_requests(budget: Callable[[int], None]) -> None:
    net, shown = network(LIGHT), frames(80, 30)
    budget(NOTHING)
    field = encoded(net, shown)
    first = [field.sample(t, (160, 60)) for t in (0, 0.3, 0.8, 1)]
    later = net.encode(shown[2], shown[3])
    known = net.encode(shown[1], shown[2], previous=net.encode(shown[0], shown[1]))
    other = known.with_neighbours(net.encode(shown[0], shown[1]).pair_motion, later.pair_motion)
    again = []
    for t in (1, 0.8, 0.3, 0):
        again.append(other.sample(t, (160, 60)))
        other.release()
    assert all(map(torch.equal, first, reversed(again)))


@pytest.mark.parametrize("size", [(40, 7), (90, 12), (23, 1), (7, 30), (40, 21)])
def test_rows_of_an_enlarged_picture_are_those_of_the_whole(size: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, 40, 21, generator=torch.Generator().manual_seed(1))
    whole = resize_bicubic(picture, size)
    for rows in ((0, size[0]), (0, 1), (size[0] // 3, size[0] - 2), (size[0] - 1, size[0])):
        torch.testing.assert_close(
            resize_bicubic_rows(picture, 0, 40, size, rows), whole[..., rows[0] : rows[1], :], rtol=0, atol=2e-6
        )


@pytest.mark.parametrize(("height", "around"), [(1, 0), (16, 9), (17, 0), (1080, 11), (97, 3)])
def test_bands_are_the_whole_picture(height: int, around: int, budget: Callable[[int], None]) -> None:
    for given in (NOTHING, 5000, 100_000, PLENTY):
        budget(given)
        found = bands.bands(height, 100, CPU, around)
        assert [row for top, bottom in found for row in range(top, bottom)] == list(range(height))
        assert given < PLENTY or len(found) == 1


def test_bands_are_lowered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "_lowered", set())
    monkeypatch.setattr(bands, "_budgets", {})
    before = bands.budget(CPU)
    assert 0 < before <= bands.MAX_CPU_BYTES
    assert [bands.lower(CPU), bands.lower(CPU)] == [True, False]
    assert bands.budget(CPU) == before // bands.LOWERED


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux says of a process")
def test_a_process_holds_little_more_than_what_it_keeps() -> None:
    """The two frames enlarged, the pairs, and a few bands: a third of what 640x360 took as a whole."""
    script = """
import sys
import torch
from scripts.reliability.resources import peak_memory, reset_peak_memory
from tests.networks.warpinr.test_bands import encoded, frames
from vs_videoinr.networks import bands
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
torch.set_num_threads(1)
bands.MAX_CPU_BYTES, bands.MIN_TRIMMED_BYTES = 16 << 20, 1 << 20
net = WarpINR(WarpINRConfig()).requires_grad_(False).eval()
net.encode(*frames(48, 64)[:2]).sample(0.5, (96, 128))
shown = frames(360, 640)
bands.trim()
reset_peak_memory()
before = peak_memory()
field = encoded(net, shown)
for t in (0, 0.5):
    field.sample(t, (720, 1280))
print(peak_memory() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200e6
