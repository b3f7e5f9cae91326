"""Which device a call gets, on machines that this one is not."""

from __future__ import annotations

import pytest
import torch

from vs_videoinr.plugin.arguments import MPS_SINCE, UsageError, choose_device

CPU = torch.device("cpu")
MACHINES = {
    "none": [],
    "nvidia": [torch.device("cuda", n) for n in range(2)],
    "intel": [torch.device("xpu", 0)],
    "apple": [torch.device("mps", 0)],
}


@pytest.mark.parametrize(
    ("machine", "name", "expected"),
    [
        ("none", None, "cpu"),
        ("nvidia", None, "cuda:0"),
        ("nvidia", "cuda", "cuda:0"),
        ("nvidia", "cuda:0", "cuda:0"),
        ("nvidia", "cuda:1", "cuda:1"),
        ("nvidia", "cpu", "cpu"),
        ("intel", None, "xpu:0"),
        ("intel", "xpu", "xpu:0"),
        ("apple", None, "cpu"),
    ],
)
def test_device_is_the_one_that_is_named(machine: str, name: str | None, expected: str) -> None:
    assert choose_device(name, MACHINES[machine]) == torch.device(expected)


@pytest.mark.parametrize("name", ["mps", "mps:0"])
def test_apples_needs_a_pytorch_that_can_warp_on_it(name: str) -> None:
    """Others would fail at the first frame."""
    if torch.__version__ < MPS_SINCE:
        with pytest.raises(UsageError, match=f'^device="mps" needs PyTorch {MPS_SINCE} or newer, and this is 2'):
            choose_device(name, MACHINES["apple"])
    else:
        assert choose_device(name, MACHINES["apple"]) == torch.device("mps", 0)


@pytest.mark.parametrize(
    ("machine", "name", "message"),
    [
        ("none", "xpu", 'there is no XPU device that torch can use; give device="cpu"'),
        ("nvidia", "xpu:0", 'there is no XPU device that torch can use; give device="cuda" or "cpu"'),
        ("intel", "cuda", 'there is no CUDA device that torch can use; give device="xpu" or "cpu"'),
        ("nvidia", "cuda:2", 'there is no device "cuda:2"; the last one is "cuda:1"'),
        ("nvidia", "cuda:" + "9" * 5000, f'there is no device "cuda:{"9" * 5000}"; the last one is "cuda:1"'),
        ("apple", "mps:1", 'there is no device "mps:1"; the last one is "mps:0"'),
        ("none", "npu", 'device must be "cpu", "cuda", "xpu", "mps" or one by its number, as "cuda:1", got "npu"'),
        (
            "nvidia",
            "cuda:",
            'device must be "cpu", "cuda", "xpu", "mps" or one by its number, as "cuda:1", got "cuda:"',
        ),
        (
            "nvidia",
            "cpu:0",
            'device must be "cpu", "cuda", "xpu", "mps" or one by its number, as "cuda:1", got "cpu:0"',
        ),
    ],
)
def test_device_that_is_not_there(machine: str, name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        choose_device(name, MACHINES[machine])
    assert str(raised.value) == message
