"""Zooming Slow-Mo against the reference implementation's output, among any neighbours, and at its limits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.reference_recipe import case, frame, published_shapes, reference_state_dict, zooming_shapes
from vs_videoinr import from_state_dict
from vs_videoinr.networks import limits
from vs_videoinr.networks.limits import LimitError
from vs_videoinr.networks.zooming_slow_mo import network as module
from vs_videoinr.networks.zooming_slow_mo.field import ZoomingSlowMoField
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo, ZoomingSlowMoConfig
from vs_videoinr.weights import catalogue

SMALL = ZoomingSlowMoConfig(channels=16, groups=2, front_blocks=2, back_blocks=3)
TIMES = (0, 0.5, 1)


@pytest.fixture(scope="module")
def published() -> ZoomingSlowMo:
    """The network of the published size with the recipe's weights."""
    network = from_state_dict(reference_state_dict(zooming_shapes()))
    assert isinstance(network, ZoomingSlowMo)
    return network


@pytest.fixture(scope="module")
def small() -> ZoomingSlowMo:
    """A small configuration with weights of the same recipe, known by the shapes of its tensors alone."""
    shapes = {key: tuple(tensor.shape) for key, tensor in ZoomingSlowMo(SMALL).state_dict().items()}
    network = from_state_dict(reference_state_dict(shapes))
    assert isinstance(network, ZoomingSlowMo)
    assert network.config == SMALL
    return network


def consecutive(height: int, width: int, count: int = 4) -> list[Tensor]:
    return [torch.from_numpy(frame(height, width, n))[None] for n in range(count)]


def among(
    network: ZoomingSlowMo, before: Tensor | None, pair: list[Tensor], after: Tensor | None
) -> ZoomingSlowMoField:
    """The field of a pair among its neighbours."""
    return network.encode(*pair).with_neighbours(
        None if before is None else network.encode(before, pair[0]).pair_motion,
        None if after is None else network.encode(pair[1], after).pair_motion,
    )


def whole(network: ZoomingSlowMo, frames: list[Tensor]) -> list[Tensor]:
    """All pictures that the network makes of a window of frames, one after the other, as the reference does."""
    maps = network.recurrent_maps(frames, range(2 * len(frames) - 1))
    return [network.decode(one) for one in maps.chunk(2 * len(frames) - 1)]


def test_a_checkpoint_is_that_of_videoinr_without_its_sirens() -> None:
    shapes = zooming_shapes()
    assert (len(shapes), sum(map(math.prod, shapes.values()))) == (416, 11_102_771)
    assert shapes.items() < published_shapes().items()
    expected = {key: tuple(tensor.shape) for key, tensor in ZoomingSlowMo().state_dict().items()}
    assert shapes == expected


@pytest.mark.parametrize("count", [2, 4])
def test_reference_output(published: ZoomingSlowMo, count: int) -> None:
    expected = case(f"zooming_{count}")
    height, width = map(int, expected["lr_size"])
    frames = consecutive(height, width, count)
    for picture, rgb in zip(whole(published, frames), expected["rgb"], strict=True):
        assert np.abs(picture[0].numpy() - rgb).max() < 1e-4


def test_the_pair_in_the_middle_of_four_frames_is_the_references(published: ZoomingSlowMo) -> None:
    expected = case("zooming_4")
    height, width = map(int, expected["lr_size"])
    before, *pair, after = consecutive(height, width)
    field = among(published, before, pair, after)
    for t, rgb in zip(TIMES, expected["rgb"][2:5], strict=True):
        assert np.abs(field.sample(t, (4 * height, 4 * width))[0].numpy() - rgb).max() < 1e-4


@pytest.mark.parametrize("size", [(8, 12), (9, 6), (1, 5)])
@pytest.mark.parametrize(("first", "last"), [(0, 3), (0, 2), (1, 3), (1, 2)])
def test_a_pair_is_what_its_window_makes_of_it(
    small: ZoomingSlowMo, size: tuple[int, int], first: int, last: int
) -> None:
    """With both neighbours, with either, and with none; also where sides are no multiples of four."""
    frames = consecutive(*size)
    window = frames[first : last + 1]
    field = among(small, frames[0] if first == 0 else None, frames[1:3], frames[3] if last == 3 else None)
    pictures = whole(small, window)[2 * (1 - first) :]
    for t, picture in zip(TIMES, pictures, strict=False):
        sampled = field.sample(t, (4 * size[0], 4 * size[1]))
        assert sampled.shape == (1, 3, 4 * size[0], 4 * size[1])
        assert sampled.dtype == torch.float32
        assert (sampled - picture[..., : 4 * size[0], : 4 * size[1]]).abs().max() < 1e-5


def test_frames_around_count(small: ZoomingSlowMo) -> None:
    before, *pair, after = consecutive(8, 8)
    middles = [
        among(small, *window).sample(0.5, (32, 32))
        for window in ((None, pair, None), (before, pair, None), (None, pair, after), (before, pair, after))
    ]
    for n, one in enumerate(middles):
        assert all((one - other).abs().max() > 1e-3 for other in middles[:n])


def test_same_bits_in_every_order(small: ZoomingSlowMo) -> None:
    before, *pair, after = consecutive(9, 6)
    size = (36, 24)
    expected = {t: among(small, before, pair, after).sample(t, size) for t in TIMES}
    alone = {t: small.encode(*pair).sample(t, size) for t in TIMES}
    plain = small.encode(*pair)
    informed = plain.with_neighbours(
        small.encode(before, pair[0]).pair_motion, small.encode(pair[1], after).pair_motion
    )
    for t in (1, 0, 0.5, 0):
        assert torch.equal(informed.sample(t, size), expected[t])
        assert torch.equal(plain.sample(t, size), alone[t])  # another window between two looks at the first


def test_a_window_is_encoded_once(small: ZoomingSlowMo) -> None:
    """Also where the renderer has forgotten what it was told of the pairs around, and asks again."""
    before, *pair, after = consecutive(8, 8)
    encoded = []
    hook = small.conv_first.register_forward_hook(lambda *_: encoded.append(1))
    try:
        field = small.encode(*pair)
        for t in (0, 0.5):
            told = small.encode(before.clone(), pair[0]).pair_motion, small.encode(pair[1], after.clone()).pair_motion
            field.with_neighbours(*told).sample(t, (32, 32))
        assert len(encoded) == 1
        field.with_neighbours(None, told[1]).sample(0, (32, 32))
        assert len(encoded) == 2
    finally:
        hook.remove()


def test_items_of_a_batch_do_not_see_each_other(small: ZoomingSlowMo) -> None:
    frames = consecutive(8, 8)
    batch = [torch.cat((one, one.flip(-1), one.flip(-2))) for one in frames]
    together = among(small, batch[0], batch[1:3], batch[3]).sample(0.5, (32, 32))
    for item in range(3):
        one = [frame[item : item + 1] for frame in batch]
        assert (together[item] - among(small, one[0], one[1:3], one[3]).sample(0.5, (32, 32))[0]).abs().max() < 1e-5


@pytest.mark.parametrize("rows", [1, 3])
def test_bands_of_rows_leave_no_seams(small: ZoomingSlowMo, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    pair = consecutive(9, 6, 2)
    expected = small.encode(*pair).sample(0.5, (36, 24))
    monkeypatch.setattr(module, "BAND_PIXELS", rows * 8)  # frames are extended to 12x8
    calls: list[None] = []
    banded = small.encode(*pair).sample(0.5, (36, 24), check=lambda: calls.append(None))
    assert len(calls) == 12 / rows
    assert (banded - expected).abs().max() < 1e-5

    def abandon() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        small.encode(*pair).sample(0.5, (36, 24), check=abandon)


def test_field_says_what_it_holds(small: ZoomingSlowMo) -> None:
    before, *pair, after = consecutive(8, 12)
    field, one = small.encode(*pair), 3 * 8 * 12 * 4
    assert field.nbytes() == 2 * one
    among_others = field.with_neighbours(
        small.encode(before, pair[0]).pair_motion, small.encode(pair[1], after).pair_motion
    )
    among_others.sample(0, (32, 48))
    assert field.nbytes() == among_others.nbytes() == 4 * one + 3 * SMALL.channels * 8 * 12 * 4


def test_gradients_reach_every_tensor() -> None:
    network = ZoomingSlowMo(SMALL)
    field = network.encode(*consecutive(6, 5, 2))
    torch.stack([field.sample(t, (24, 20)) for t in TIMES]).square().sum().backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_close(small: ZoomingSlowMo, dtype: torch.dtype) -> None:
    network = ZoomingSlowMo(SMALL).requires_grad_(False)
    network.load_state_dict(small.state_dict())
    before, *pair, after = consecutive(8, 8)
    exact = among(small, before, pair, after).sample(0.5, (32, 32))
    rgb = among(network.to(dtype), before, pair, after).sample(0.5, (32, 32))
    assert rgb.dtype == torch.float32
    assert (rgb - exact).abs().mean() < {torch.float16: 0.01, torch.bfloat16: 0.08}[dtype]


# What it does not know

SIZE = (
    r"^Zooming Slow-Mo enlarges 4 times only, as scale=4 does: 12x8 to 48x32 and not to {}; "
    r'the model "lite" knows any size$'
)
TIME = (
    r"^Zooming Slow-Mo knows the times 0, 0.5 and 1 between two frames only, as factor_num=2 has them, and not {}; "
    r'the model "lite" knows any time$'
)


@pytest.mark.parametrize(
    ("t", "size", "message"),
    [
        (0.5, (8, 12), SIZE.format("12x8")),
        (0, (24, 36), SIZE.format("36x24")),
        (1, (32, 49), SIZE.format("49x32")),
        (0.5, (48, 32), SIZE.format("32x48")),
        (0.25, (32, 48), TIME.format("0.25")),
        (1 / 3, (32, 48), TIME.format("0.333333333")),
        (0.999, (32, 48), TIME.format("0.999")),
        (0.50001, (32, 48), TIME.format("0.50001")),
    ],
)
def test_what_it_cannot_do_is_said(small: ZoomingSlowMo, t: float, size: tuple[int, int], message: str) -> None:
    with pytest.raises(LimitError, match=message):
        small.encode(*consecutive(8, 12, 2)).sample(t, size)


def test_it_knows_no_motion(small: ZoomingSlowMo) -> None:
    message = '^Zooming Slow-Mo knows no motion that could be shown; the model "lite" does$'
    with pytest.raises(LimitError, match=message):
        small.encode(*consecutive(8, 12, 2)).motion(0.5, (32, 48))


@pytest.mark.parametrize("t", [Fraction(1, 2), 0.5 + 1e-9, 0.5 - 1e-9])
def test_half_is_what_is_meant_by_it(small: ZoomingSlowMo, t: float) -> None:
    field = small.encode(*consecutive(8, 8, 2))
    assert torch.equal(field.sample(t, (32, 32)), field.sample(0.5, (32, 32)))


def test_the_model_that_messages_name_is_there() -> None:
    assert limits.UNLIMITED_MODEL == catalogue.DEFAULT
