"""VideoINR against the reference implementation's output, against its plain twin, and at the edges."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch

from tests.networks.videoinr.twin_decoder import decode
from tests.reference_recipe import CASES, SMALL, case, pair, published_shapes, reference_state_dict, small_shapes
from vs_videoinr import from_state_dict
from vs_videoinr.networks import kernels
from vs_videoinr.networks.videoinr.coordinates import cell_centres, lattice_axis
from vs_videoinr.networks.videoinr.field import Sirens, VideoINRField
from vs_videoinr.networks.videoinr.network import VideoINR


@pytest.fixture(scope="module")
def published() -> VideoINR:
    """The network of the published size with the recipe's weights."""
    network = from_state_dict(reference_state_dict(published_shapes()))
    assert isinstance(network, VideoINR)
    return network


@pytest.fixture(scope="module")
def small() -> VideoINR:
    """A small configuration with weights of the same recipe, known by the shapes of its tensors alone."""
    network = from_state_dict(reference_state_dict(small_shapes()))
    assert isinstance(network, VideoINR)
    assert network.config == SMALL
    return network


def field_of(network: VideoINR, *frames: torch.Tensor) -> VideoINRField:
    field = network.encode(*frames)
    assert isinstance(field, VideoINRField)
    return field


#: PyTorch alone, and all variants of the kernels.
DECODERS = [pytest.param(None, id="torch"), *(pytest.param(k, id=k.variant) for k in kernels.available())]


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> kernels.Kernels | None:
    """Decode by PyTorch alone, then by every variant of the kernels."""
    found: kernels.Kernels | None = request.param
    monkeypatch.setattr(kernels, "best", lambda: found)
    return found


@pytest.mark.parametrize("name", CASES)
def test_reference_output(published: VideoINR, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = case(name)
    height, width = map(int, expected["size"])
    frames = pair(*expected["lr_size"])
    feature_map = published.feature_map(*frames)
    sirens = Sirens(published.feat_imnet, published.flow_imnet, published.encode_imnet)
    for found in (None, *kernels.available()):
        monkeypatch.setattr(kernels, "best", lambda found=found: found)
        config = published.config
        field = VideoINRField(feature_map, torch.cat(frames, dim=1), sirens, config.grid, config.padding)
        for t, rgb in zip(expected["times"], expected["rgb"], strict=True):
            assert np.abs(field.sample(float(t), (height, width))[0].numpy() - rgb).max() < 1e-4


@pytest.mark.skipif(not kernels.available(), reason="this build has no kernels")
def test_threads_change_no_bit(small: VideoINR, monkeypatch: pytest.MonkeyPatch) -> None:
    field = small.encode(*pair(9, 7))
    once = field.sample(0.3, (31, 22))
    for threads in (2, 7, 500):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert torch.equal(field.sample(0.3, (31, 22)), once)


def test_reference_internals(published: VideoINR) -> None:
    expected = case("inside_3x")
    height, width = map(int, expected["size"])
    frames = pair(*expected["lr_size"])
    field, t = field_of(published, *frames), float(expected["times"][0])
    assert np.abs(published.feature_map(*frames)[0].numpy() - expected["feature_map"]).max() < 1e-4
    assert np.abs(field.motion(t, (height, width))[0].numpy() - expected["flow"]).max() < 1e-3  # of 6.7 pixels
    continuous = field.continuous_feature(t, (height, width))[0].numpy()
    assert np.allclose(continuous, expected["continuous_feature"].astype(np.float32), rtol=2**-10, atol=1e-4)


def test_ties_are_in_the_case() -> None:
    # Otherwise the case above could pass whatever happens half-way between two cells.
    expected = case("ties_3_5x")
    ties = [
        np.isclose(np.abs(lattice_axis(int(n), int(cells)).relative.numpy()), 1, atol=1e-4)
        for n, cells in zip(expected["size"], expected["lr_size"], strict=True)
    ]
    share = 1 - np.mean(~ties[0]) * np.mean(~ties[1])
    assert 0.2 < share < 0.3


@pytest.mark.parametrize(("n", "cells"), [(7, 2), (112, 32), (140, 40), (95, 38), (33, 22), (5, 5), (1, 1), (3, 8)])
def test_nearest_cell_is_what_grid_sample_picks(n: int, cells: int) -> None:
    line = torch.arange(cells).float().view(1, 1, 1, cells)
    query = cell_centres(n)
    grid = torch.stack((query, torch.zeros(n)), dim=-1).view(1, 1, n, 2)
    picked = torch.nn.functional.grid_sample(line, grid, mode="nearest", align_corners=False).view(n)
    assert torch.equal(lattice_axis(n, cells).cell, picked.long())


def test_published_size_against_twin(published: VideoINR) -> None:
    frames = pair(10, 13)
    rgb, flow = decode(published, *frames, 0.7, (27, 41))
    field = field_of(published, *frames)
    assert (field.sample(0.7, (27, 41)) - rgb).abs().max() < 1e-4
    assert (field.motion(0.7, (27, 41)) - flow).abs().max() < 1e-3


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("grid", ["reference", "consistent"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize(
    ("cells", "size"),
    [((9, 7), (31, 22)), ((5, 6), (5, 6)), ((1, 1), (3, 2)), ((3, 2), (1, 9)), ((8, 8), (3, 5)), ((6, 1), (7, 4))],
)
def test_small_size_against_twin(
    small: VideoINR,
    grid: Literal["reference", "consistent"],
    padding: Literal["zeros", "border"],
    cells: tuple[int, int],
    size: tuple[int, int],
) -> None:
    network = VideoINR(dataclasses.replace(SMALL, grid=grid, padding=padding)).requires_grad_(False)
    network.load_state_dict(small.state_dict())
    frames = pair(*cells)
    rgb, _ = decode(network, *frames, 0.3, size)
    result = network.encode(*frames).sample(0.3, size)
    assert result.shape == (1, 3, *size)
    assert (result - rgb).abs().max() < 1e-4


def test_variants_differ(small: VideoINR) -> None:
    frames = pair(9, 7)
    plain = small.encode(*frames).sample(0.3, (31, 22))
    for change in ({"grid": "consistent"}, {"padding": "border"}, {"omega": 20.0}):
        network = VideoINR(dataclasses.replace(SMALL, **change)).requires_grad_(False)
        network.load_state_dict(small.state_dict())
        assert (network.encode(*frames).sample(0.3, (31, 22)) - plain).abs().max() > 1e-3


@pytest.mark.usefixtures("decoder")
def test_zero_flow_is_the_identity_on_the_consistent_grid(small: VideoINR) -> None:
    network = VideoINR(dataclasses.replace(SMALL, grid="consistent", padding="border")).requires_grad_(False)
    network.load_state_dict(small.state_dict())
    last = network.flow_imnet.net[-1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    field = field_of(network, *pair(8, 8))
    assert (field.motion(0.5, (8, 8)) == 0).all()
    # Without motion, every pixel at the size of the frame sees its own cell alone: a change in the last is seen there.
    before = field.sample(0.5, (8, 8))
    field._colour_table[:, 8 * 8 - 1] += 1
    changed = field.sample(0.5, (8, 8)) != before
    assert changed[0].any(0).nonzero().tolist() == [[7, 7]]


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 3), (4, 4), (7, 9)])
def test_any_size_of_frame_and_output(small: VideoINR, size: tuple[int, int]) -> None:
    field = small.encode(*pair(*size))
    for target in ((1, 1), (1, 7), (2 * size[0] + 1, 3 * size[1])):
        for t in (0.0, 0.5, 1.0):
            rgb = field.sample(t, target)
            assert rgb.shape == (1, 3, *target)
            assert rgb.dtype == torch.float32
            assert rgb.isfinite().all()


def test_padding_only_touches_what_lies_near_it(small: VideoINR) -> None:
    # 9 rows are encoded as 12; the maps come back at the frame's own size.
    assert small.feature_map(*pair(9, 10)).shape == (1, 3 * SMALL.channels, 9, 10)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("pixels", [1, 7, 31, 64, 10_000])
def test_chunk_size_changes_nothing(small: VideoINR, pixels: int) -> None:
    field = field_of(small, *pair(6, 5))
    whole = field.sample(0.4, (17, 13))
    field.chunk_pixels = pixels
    assert (field.sample(0.4, (17, 13)) - whole).abs().max() < 1e-5


def test_chunk_size_changes_nothing_at_the_published_size(published: VideoINR) -> None:
    field = field_of(published, *pair(8, 8))
    whole = field.sample(0.4, (28, 28))
    field.chunk_pixels = 100
    # omega multiplies float32 noise by thirty at each of nine layers
    assert (field.sample(0.4, (28, 28)) - whole).abs().max() < 2e-5


@pytest.mark.usefixtures("decoder")
def test_batch_equals_singles(small: VideoINR) -> None:
    frames = [pair(9, 6), tuple(f.flip(-1) for f in pair(9, 6)), pair(9, 6)[::-1]]
    batch = small.encode(*(torch.cat(side) for side in zip(*frames, strict=True))).sample(0.6, (20, 14))
    singles = torch.cat([small.encode(*two).sample(0.6, (20, 14)) for two in frames])
    assert (batch - singles).abs().max() < 1e-5
    assert (batch[0] - batch[1]).abs().max() > 1e-2


@pytest.mark.usefixtures("decoder")
def test_same_call_same_bits(small: VideoINR) -> None:
    frames = pair(9, 6)
    first = small.encode(*frames).sample(0.6, (20, 14))
    field = small.encode(*frames)
    field.sample(0.1, (7, 8))
    assert torch.equal(field.sample(0.6, (20, 14)), first)


def test_input_is_left_alone(small: VideoINR) -> None:
    frames = pair(8, 8)  # needs no padding, so nothing is copied by accident
    before = [f.clone() for f in frames]
    small.encode(*frames).sample(0.5, (16, 16))
    assert all(torch.equal(a, b) for a, b in zip(frames, before, strict=True))


@pytest.mark.usefixtures("decoder")
def test_check_is_called_between_chunks_and_may_abandon(small: VideoINR) -> None:
    field = field_of(small, *pair(6, 5))
    field.chunk_pixels = 50
    calls: list[None] = []
    field.sample(0.5, (10, 10), check=lambda: calls.append(None))
    assert len(calls) == 4  # two passes over two chunks

    def abandon() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        field.sample(0.5, (10, 10), check=abandon)


def test_field_says_what_it_holds(small: VideoINR) -> None:
    smaller, larger = (field_of(small, *pair(*size)).nbytes() for size in ((6, 5), (9, 7)))
    assert larger - smaller == (9 * 7 - 6 * 5) * (24 + 12 + 2 * 28) * 4
    weights = sum(p.nbytes for p in small.feat_imnet.parameters()) - 24 * (3 * 16 + 6 + 3 + 1) * 4
    assert 6 * 5 * (24 + 12 + 2 * 28) * 4 + weights < smaller


@pytest.mark.usefixtures("decoder")
def test_broken_flow_does_not_crash(small: VideoINR) -> None:
    network = VideoINR(SMALL).requires_grad_(False)
    network.load_state_dict(small.state_dict())
    network.flow_imnet.net[-1].bias.fill_(float("nan"))  # type: ignore[operator]
    assert network.encode(*pair(6, 5)).sample(0.5, (9, 9)).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_close(small: VideoINR, dtype: torch.dtype) -> None:
    network = VideoINR(SMALL).requires_grad_(False)
    network.load_state_dict(small.state_dict())
    frames = pair(12, 10)
    exact = small.encode(*frames).sample(0.5, (30, 25))
    rgb = network.to(dtype).encode(*frames).sample(0.5, (30, 25))
    assert rgb.dtype == torch.float32
    # The recipe's weights are far rougher than trained ones; what must not happen is a coordinate in half precision.
    assert (rgb - exact).abs().mean() < {torch.float16: 0.01, torch.bfloat16: 0.08}[dtype]


def test_gradients_reach_every_tensor() -> None:
    network = VideoINR(SMALL)
    network.encode(*pair(6, 5)).sample(0.5, (9, 9)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
