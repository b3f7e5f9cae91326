from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.networks import bands
from vs_videoinr.networks.base import VideoField
from vs_videoinr.networks.videoinr.network import VideoINR
from vs_videoinr.networks.warpinr.field import WarpField
from vs_videoinr.networks.warpinr.frame_detail import FrameDetailConfig
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
from vs_videoinr.plugin import entry
from vs_videoinr.plugin.arguments import UsageError
from vs_videoinr.rendering import field_cache
from vs_videoinr.rendering.planes import Planes
from vs_videoinr.rendering.renderer import FramePair, Renderer, RenderError
from vs_videoinr.weights import library

WIDTH, HEIGHT = 12, 8
SIZE = 18, 12
CPU = torch.device("cpu")


class Counting(VideoINR):
    """A network that counts its pairs."""

    def __init__(self, path: str) -> None:
        like = library.load(path)
        assert isinstance(like, VideoINR)
        super().__init__(like.config)
        self.load_state_dict(like.state_dict())
        self.pairs = 0

    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:
        self.pairs += 1
        return super().encode(frame0, frame1, previous=previous)


class Minding(WarpINR):
    """A network that uses neighbours and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(WarpINRConfig(levels=(4, 4), hidden=4, radius=1, detail=FrameDetailConfig(width=8, blocks=1)))
        self.pairs = 0

    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> WarpField:
        self.pairs += 1
        return super().encode(frame0, frame1, previous=previous)


@pytest.fixture
def network(tiny: str) -> Counting:
    return Counting(tiny)


def planes(values: NDArray[np.float32], padding: int = 5) -> Planes:
    """Planes in memory as VapourSynth has them: rows longer than the picture."""
    found = []
    for plane in values:
        rows = np.full((plane.shape[0], plane.shape[1] + padding), 7, np.float32)
        rows[:, : plane.shape[1]] = plane
        found.append((memoryview(rows).cast("B"), rows.strides[0]))
    return tuple(found)


def picture(of: Planes, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.stack([np.ndarray(size[::-1], np.float32, memory, strides=(stride, 4)) for memory, stride in of])


def frame(n: int, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(n).random((channels, HEIGHT, WIDTH), np.float32)


def render(renderer: Renderer, left: int, t: float, channels: int = 3) -> NDArray[np.float32]:
    out = planes(np.zeros((channels, SIZE[1], SIZE[0]), np.float32))
    renderer.render(FramePair(left, left + 1, planes(frame(left, channels)), planes(frame(left + 1, channels))), t, out)
    return picture(out, SIZE)


@pytest.fixture
def renderer(network: Counting) -> Renderer:
    return Renderer(network, CPU, (WIDTH, HEIGHT), SIZE)


def test_a_pair_is_encoded_once_while_it_is_remembered(renderer: Renderer, network: Counting) -> None:
    first = [render(renderer, 0, t) for t in (0, 0.25, 0.5)]
    assert network.pairs == 1
    for n in range(1, field_cache.MAX_FIELDS + 1):
        render(renderer, n, 0.5)
    again = [render(renderer, 0, t) for t in (0.5, 0.25, 0)]
    assert network.pairs == field_cache.MAX_FIELDS + 2
    assert all(map(np.array_equal, first, reversed(again)))
    renderer.close()


@pytest.mark.parametrize("most", [1, field_cache.MAX_BYTES])
def test_pairs_are_encoded_once_while_they_and_their_neighbours_are_shown(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there is room for no more than these."""
    monkeypatch.setattr(field_cache, "MAX_BYTES", most)
    network = Minding().requires_grad_(False)
    renderer = Renderer(network, CPU, (WIDTH, HEIGHT), SIZE)

    def among(left: int, t: float) -> None:
        around = [planes(frame(n)) for n in range(left - 1, left + 3)]
        out = planes(np.zeros((3, SIZE[1], SIZE[0]), np.float32))
        renderer.render(FramePair(left, left + 1, around[1], around[2], around[0], around[3]), t, out)

    among(50, 0.5)
    among(50, 0)
    assert network.pairs == 3
    for n in range(51, 60):
        among(n, 0.25)
        among(n, 0.75)
    assert network.pairs == 12  # the one before and the one after what was shown
    renderer.close()


def test_a_frame_is_in_memory_once_for_both_of_its_pairs(tiny: str) -> None:
    frames: list[tuple[int, int]] = []

    class Watching(Counting):
        def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:
            frames.append((frame0.data_ptr(), frame1.data_ptr()))
            return super().encode(frame0, frame1, previous=previous)

    renderer = Renderer(Watching(tiny), CPU, (WIDTH, HEIGHT), SIZE)
    for n in range(4):
        render(renderer, n, 0.5)
    assert [second for _, second in frames[:-1]] == [first for first, _ in frames[1:]]
    renderer.close()


def test_fields_are_bounded_by_their_bytes(
    renderer: Renderer, network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_cache, "MAX_BYTES", 1)
    for n in (0, 0, 1, 0):
        render(renderer, n, 0.5)
    assert network.pairs == 3
    renderer.close()


def test_what_leaves_no_room_is_forgotten_before_the_next_is_made(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large frames, a field takes gigabytes, and making one takes more."""
    made: list[weakref.ref[VideoField]] = []
    alive: list[int] = []

    class Watching(Counting):
        def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:
            alive.append(sum(field() is not None for field in made))
            field = super().encode(frame0, frame1, previous=previous)
            made.append(weakref.ref(field))
            return field

    renderer = Renderer(Watching(tiny), CPU, (WIDTH, HEIGHT), SIZE)
    for n in range(3):
        render(renderer, n, 0.5)
    monkeypatch.setattr(field_cache, "MAX_BYTES", 1)
    for n in range(3, 6):
        render(renderer, n, 0.5)
    assert alive == [0, 1, 2, 0, 0, 0]
    renderer.close()


def test_it_is_what_the_network_says(renderer: Renderer, network: Counting) -> None:
    with torch.inference_mode():
        field = network.encode(*(torch.from_numpy(frame(n))[None] for n in (3, 4)))
        expected = field.sample(0.75, SIZE[::-1])[0].clamp(0, 1).numpy()
    assert np.array_equal(render(renderer, 3, 0.75), expected)
    renderer.close()


def test_what_is_no_number_counts_as_black(renderer: Renderer) -> None:
    broken, black = frame(0), frame(0)
    broken[:, 2, 3], black[:, 2, 3] = np.nan, 0
    broken[0, 4, 4], black[0, 4, 4] = np.inf, 1
    results = []
    for left, values in enumerate((broken, black)):
        out = planes(np.zeros((3, SIZE[1], SIZE[0]), np.float32))
        renderer.render(FramePair(left, left, planes(values), planes(values)), 0, out)
        results.append(picture(out, SIZE))
    assert np.isfinite(results[0]).all()
    assert np.array_equal(results[0], results[1])
    renderer.close()


def test_rows_are_not_written_beyond_their_end(renderer: Renderer) -> None:
    out = planes(np.zeros((3, SIZE[1], SIZE[0]), np.float32))
    renderer.render(FramePair(0, 1, planes(frame(0)), planes(frame(1))), 0.5, out)
    assert (picture(out, (SIZE[0] + 5, SIZE[1]))[..., SIZE[0] :] == 7).all()
    renderer.close()


def test_closing_abandons_the_work(renderer: Renderer, tiny: str) -> None:
    class Closing(Counting):
        def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:
            field = super().encode(frame0, frame1, previous=previous)
            closing.close()
            return field

    closing = Renderer(Closing(tiny), CPU, (WIDTH, HEIGHT), SIZE)
    for _ in range(2):
        with pytest.raises(RenderError, match="abandoned"):
            render(closing, 0, 0.5)
    render(renderer, 0, 0.5)  # others go on
    renderer.close()


def test_closing_abandons_the_encoder_in_the_middle(tiny: str) -> None:
    network = library.load(tiny)
    assert isinstance(network, VideoINR)
    closing = Renderer(network, CPU, (WIDTH, HEIGHT), SIZE)
    reached: list[str] = []
    hooks = [
        network.ConvBLSTM.register_forward_hook(lambda *_: closing.close()),
        network.recon_trunk.register_forward_hook(lambda *_: reached.append("the end")),
    ]
    try:
        with pytest.raises(RenderError, match="abandoned"):
            render(closing, 0, 0.5)
        assert reached == []
        again = Renderer(network, CPU, (WIDTH, HEIGHT), SIZE)  # the same weights, for somebody else
        hooks.pop(0).remove()
        render(again, 0, 0.5)
        assert reached == ["the end"]
        again.close()
    finally:
        for hook in hooks:
            hook.remove()


class Wanting(Minding):
    """A network that runs out of memory so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> WarpField:
        if self.times > 0:
            self.times -= 1
            raise MemoryError
        return super().encode(frame0, frame1, previous=previous)


def test_out_of_memory_bands_are_lowered_once_and_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bands, "_lowered", set())
    monkeypatch.setattr(bands, "_budgets", {CPU: 1 << 20})
    expected = Renderer(Minding().requires_grad_(False), CPU, (WIDTH, HEIGHT), SIZE)
    network = Wanting(1).requires_grad_(False)
    network.load_state_dict(expected._open().state_dict())
    renderer = Renderer(network, CPU, (WIDTH, HEIGHT), SIZE)
    for left in range(3):
        assert np.allclose(render(renderer, left, 0.5), render(expected, left, 0.5), atol=1e-4)
    assert [record.getMessage() for record in caplog.records] == [
        "videoinr: out of memory on cpu for 12x8 to 18x12; going on in smaller parts"
    ]
    assert bands.budget(CPU) == (1 << 20) // bands.LOWERED
    network.times = 2
    with pytest.raises(RenderError, match="out of memory on cpu for 12x8 to 18x12; lower scale"):
        render(renderer, 5, 0.5)
    assert len(caplog.records) == 1
    expected.close()
    renderer.close()


def test_messages() -> None:
    assert entry.describe(UsageError("scale is wrong")) == "scale is wrong"
    assert entry.describe(ModelError("model is wrong")) == "model is wrong"
    assert entry.describe(RenderError("too large")) == "too large"
    assert entry.describe(MemoryError()) == "out of memory"
    assert entry.describe(ModelError("no model \udcff")) == "no model ?"
    assert entry.describe(KeyError("x")) == "internal error, please report it: KeyError: 'x'"
