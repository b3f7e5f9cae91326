"""Pictures on their way to a GPU and back, on one that is only pretended (torch's FakeTensorMode)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vs_videoinr.rendering import transfer

#: PyTorch asks for pinned memory from the GPU that is really there, if it is of another make than the pretended one.
REAL = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
GPUS = [torch.device(kind, 0) for kind in ("cuda", "xpu", "mps") if REAL is None or REAL.type == kind]
SHAPE = 1, 3, 4, 6


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes of every copy between the host and a device whether the host waits until it is done."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[bool] = []
        self.pinned: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is torch.ops.aten.empty.memory_format:
            self.pinned.append(bool(kwargs.get("pin_memory")))
        tensors = [one for one in tree_leaves((args, result)) if isinstance(one, Tensor)]
        if len({one.device.type for one in tensors}) > 1:
            overlapping = kwargs.get(
                "non_blocking", args[2] if func is torch.ops.aten.copy_.default and args[2:] else False
            )
            self.waits.append(not overlapping)
        return result


@pytest.fixture
def copies() -> Iterator[_Copies]:
    with FakeTensorMode(), torch.inference_mode(), _Copies() as seen:
        yield seen


@pytest.mark.parametrize("device", GPUS, ids=str)
def test_frames_go_to_a_gpu_from_pinned_memory_without_waiting(device: torch.device, copies: _Copies) -> None:
    frames = [transfer.to_device(transfer.host_buffer(SHAPE, device), device) for _ in range(2)]
    assert [(frame.device, frame.shape, frame.dtype) for frame in frames] == [(device, SHAPE, torch.float32)] * 2
    pinned = device.type != "mps"  # whose memory is the host's
    assert copies.pinned == [pinned] * 2
    assert copies.waits == [not pinned] * 2


@pytest.mark.parametrize("device", GPUS, ids=str)
def test_a_gpu_is_waited_for_once_for_all_that_a_frame_takes(device: torch.device, copies: _Copies) -> None:
    pictures = [torch.empty(SHAPE[1:], device=device) for _ in range(3)]
    copies.pinned.clear()
    found = transfer.to_host(pictures)
    assert [(picture.device.type, picture.shape) for picture in found] == [("cpu", SHAPE[1:])] * 3
    if device.type != "mps":
        assert copies.pinned == [True] * 3
        assert copies.waits == [False, False, True]


def test_nothing_is_copied_on_a_cpu() -> None:
    buffer = transfer.host_buffer(SHAPE, torch.device("cpu"))
    assert not buffer.is_pinned()
    assert transfer.to_device(buffer, torch.device("cpu")) is buffer
    assert all(picture is buffer for picture in transfer.to_host([buffer, buffer]))
