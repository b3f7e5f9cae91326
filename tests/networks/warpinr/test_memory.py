"""What our models hold at a time, in numbers of single precision a source pixel: 100 are 0.8 GB at 1920x1080."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vs_videoinr import load
from vs_videoinr.networks.warpinr import back_projection
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE

HEIGHT, WIDTH = 96, 160


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch says nothing of its types
    """Counts the bytes of all tensors that are made meanwhile and still live, and the most there were at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = function(*args, **(kwargs or {}))
        for result in results if isinstance(results, list | tuple) else [results]:
            if isinstance(result, Tensor) and (key := (storage := result.untyped_storage())._cdata) not in self.live:
                self.live[key] = storage.nbytes()
                weakref.finalize(storage, self.live.pop, key)
        self.most = max(self.most, sum(self.live.values()))
        return results


def held(work: Callable[[], object]) -> float:
    """The most numbers a pixel that `work` holds."""
    with Held() as counted:
        work()
    most: int = counted.most
    return most / (4 * HEIGHT * WIDTH)


@pytest.mark.parametrize(("model", "encoding", "sampling"), [("lite", 330, 660), ("standard", 330, 850)])
def test_a_frame_takes_as_much_memory_as_it_must(
    model: str, encoding: float, sampling: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a residual block at full size four times the channels of both frames' features are there at once."""
    monkeypatch.setattr(back_projection, "BAND_PIXELS", 4 * DETAIL_SCALE**2 * WIDTH)  # many, as in a large frame
    net = load(model, device="cpu")
    picture = torch.rand(1, 3, HEIGHT, WIDTH + 9, generator=torch.Generator().manual_seed(1))
    frames = [picture[..., 3 * number : 3 * number + WIDTH].contiguous() for number in range(4)]
    before, after = net.encode(frames[0], frames[1]).pair_motion, net.encode(frames[2], frames[3]).pair_motion
    with torch.no_grad():
        assert held(lambda: net.encode(frames[1], frames[2])) < encoding
        field = net.encode(frames[1], frames[2]).with_neighbours(before, after)
        assert held(lambda: field.sample(0.5, (2 * HEIGHT, 2 * WIDTH))) < sampling
