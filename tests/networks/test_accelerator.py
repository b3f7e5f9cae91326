"""Networks on an accelerator that is only pretended, so that one is kept ready for without having it.

Tensors are told to be on a device and hold nothing (torch's FakeTensorMode): all of a network's work is asked for, and
none is done. What mixes devices fails, and so does what would have to wait for the device: a branch on what a tensor
holds, a size that depends on it, a copy to the CPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scripts.benchmark.counting import counted
from tests.networks.warpinr.test_network import SMALL
from tests.networks.zooming_slow_mo.test_network import SMALL as SMALL_ZOOMING
from tests.reference_recipe import SMALL as SMALL_VIDEOINR
from vs_videoinr.networks import fused, sampling
from vs_videoinr.networks.base import Network, VideoField
from vs_videoinr.networks.videoinr.network import VideoINR
from vs_videoinr.networks.warpinr import back_projection, flow_estimator, static_regions
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
from vs_videoinr.networks.warpinr.trunk_detail import TrunkDetailConfig
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo

THOROUGH = TrunkDetailConfig(width=16, blocks=1, rounds=2)
needs_triton = pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="Triton is not installed")
DEVICES = [torch.device(kind, 0) for kind in ("cuda", "xpu", "mps")]
HEIGHT, WIDTH = 36, 50


class WaitError(AssertionError):
    """The device would have been waited for."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where a tensor leaves the device, and counts the tensors that are brought to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.brought = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What is taken apart on the way, by methods that ask for a library of the device's.
        if func is torch.ops.aten.grid_sampler_2d.default:
            image, grid = args[:2]
            assert image.device == grid.device
            return image.new_empty((*image.shape[:2], *grid.shape[1:3]))
        if func.overloadpacket is torch.ops.aten.upsample_bilinear2d:
            like = func(torch.empty_like(args[0], device="meta"), *args[1:])
            return torch.empty_like(like, device=args[0].device)
        result = func(*args, **(kwargs or {}))
        given, made = (
            {one.device.type for one in tree_leaves(part) if isinstance(one, Tensor)} for part in (args, result)
        )
        if given - {"cpu"} and "cpu" in made:
            raise WaitError(f"{func} copies from the device")
        self.brought += given == {"cpu"} and bool(made - {"cpu"})
        return result


class _Guardless(TorchFunctionMode):
    """Does by functions what PyTorch's methods ask for a library of the device's for, though nothing is computed.

    Only of CUDA's PyTorch pretends to have the library.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__invert__:
            return torch.bitwise_not(*args)
        if func is Tensor.__getitem__:
            return _part(*args)
        if func is Tensor.__setitem__:
            return torch.ops.aten.copy_(_part(*args[:2]), args[2])
        if func is Tensor.copy_:
            return torch.ops.aten.copy_(*args)
        if func is Tensor.contiguous:
            layout = kwargs.get("memory_format", torch.contiguous_format)
            return args[0] if args[0].is_contiguous(memory_format=layout) else args[0].clone(memory_format=layout)
        return func(*args, **kwargs)


def _part(tensor: Tensor, key: Any) -> Tensor:
    """`tensor[key]`, with one tensor in the key at most."""
    keys, axis = key if isinstance(key, tuple) else (key,), 0
    for n, one in enumerate(keys):
        if one is Ellipsis:
            axis = tensor.ndim - sum(later is not None for later in keys[n + 1 :])
        elif isinstance(one, int):
            tensor = tensor.select(axis, one)
        else:
            if one is None:
                tensor = tensor.unsqueeze(axis)
            elif isinstance(one, slice):
                tensor = torch.ops.aten.slice(tensor, axis, one.start, one.stop, one.step or 1)
            else:
                tensor = torch.ops.aten.index(tensor, [*[None] * axis, one])
            axis += 1
    return tensor


@pytest.fixture
def pretended() -> Iterator[_Watch]:
    """The accelerators, and what is brought to them."""
    constants = [
        kept
        for module in (sampling, back_projection, flow_estimator, static_regions)
        for kept in vars(module).values()
        if _is_cache(kept)
    ]
    assert constants

    def forget() -> None:
        for kept in constants:
            kept.cache_clear()

    forget()
    with FakeTensorMode(), torch.no_grad(), _Guardless(), _Watch() as watch:
        yield watch
    forget()


def _is_cache(thing: object) -> bool:
    return hasattr(thing, "cache_clear")


def on(device: torch.device, network: Callable[[Any], Network], config: Any) -> Network:
    """A network on a pretended device."""
    with torch.device("meta"):
        made = network(config)
    tensors = {name: torch.empty_like(tensor, device=device) for name, tensor in made.state_dict().items()}
    made.load_state_dict(tensors, assign=True)
    return made.requires_grad_(False).eval()


def frames(device: torch.device, height: int = HEIGHT, width: int = WIDTH) -> list[Tensor]:
    """Four frames in a row."""
    return [torch.empty(1, 3, height, width, device=device) for _ in range(4)]


def among_neighbours(network: Network, clip: list[Tensor]) -> VideoField:
    """The pair in the middle of four frames."""
    before = after = None
    if network.uses_neighbours:
        before, after = (network.encode(*clip[n : n + 2]).pair_motion for n in (0, 2))
    return network.encode(clip[1], clip[2]).with_neighbours(before, after)


NETWORKS = [
    pytest.param(VideoINR, SMALL_VIDEOINR, id="videoinr"),
    pytest.param(ZoomingSlowMo, SMALL_ZOOMING, id="zooming_slow_mo"),
    pytest.param(WarpINR, SMALL, id="warpinr"),
    pytest.param(WarpINR, replace(SMALL, detail=THOROUGH), id="warpinr-trunk"),
    pytest.param(
        WarpINR,
        replace(SMALL, detail=replace(THOROUGH, rounds=1, self_ensemble=True)),
        id="warpinr-self-ensemble",
    ),
]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(("network", "config"), NETWORKS)
def test_every_frame_is_made_on_the_device_and_without_waiting(
    network: Callable[[Any], Network], config: Any, device: torch.device, pretended: _Watch
) -> None:
    net = on(device, network, config)
    field = among_neighbours(net, frames(device))
    scale, limits = net.limits.scale, net.limits
    sizes = [(HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH), (HEIGHT + 17, WIDTH + 31)]
    if scale is not None:
        sizes = [(scale * HEIGHT, scale * WIDTH)]
    for size in sizes:
        for t in limits.times or (0, 0.3, 1):
            picture = field.sample(t, size)
            assert (picture.device, picture.shape, picture.dtype) == (device, (1, 3, *size), torch.float32)
        if limits.motion:
            motion = field.motion(0.3, size)
            assert (motion.device, motion.shape) == (device, (1, 4, *size))
    # VideoINR decides on the CPU which cells are nearest to pixels that lie half-way between two.
    assert pretended.brought == 0 or network is VideoINR


#: What no network may do with a tensor on a device.
WAITS = {
    "branch": lambda x: bool(x.any()),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "float": lambda x: float(x.sum()),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "cpu": lambda x: x.cpu(),
    "copy": lambda x: torch.zeros(3, device="cpu").copy_(x),
    "mixed": lambda x: x + torch.zeros(3, device="cpu"),
    "equal": lambda x: torch.equal(x, x + 1),
}


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
@pytest.mark.usefixtures("pretended")
def test_what_waits_or_mixes_devices_is_seen(wait: Callable[[Tensor], object], device: torch.device) -> None:
    with pytest.raises((RuntimeError, WaitError)):
        wait(torch.ones(3, device=device))


#: An eager GPU needs 5 to 10 µs for each launch. The goals are 500 for a pair of `lite`'s with both of its frames
#: enlarged, and 30 for a further frame, which kernels in Triton meet.
@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(
    ("by_triton", "config", "encoded", "enlarged", "further"),
    [
        pytest.param(True, WarpINRConfig(), 320, 170, 2, id="light", marks=needs_triton),
        pytest.param(True, WarpINRConfig(detail=TrunkDetailConfig()), 335, 1105, 2, id="trunk", marks=needs_triton),
        pytest.param(False, WarpINRConfig(), 570, 355, 55, id="light-by-torch"),
        pytest.param(False, WarpINRConfig(detail=TrunkDetailConfig()), 585, 1150, 55, id="trunk-by-torch"),
    ],
)
def test_launches_are_bounded(
    by_triton: bool,
    config: WarpINRConfig,
    encoded: int,
    enlarged: int,
    further: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At 320x180 to 1280x720: of a pair, of its first frame, for which both are enlarged, and of the next one."""
    if not by_triton:
        monkeypatch.setattr(fused, "kernels", lambda: None)
    net, clip, size = on(DEVICES[0], WarpINR, config), frames(DEVICES[0], 180, 320), (720, 1280)
    before, after = (net.encode(*clip[n : n + 2]).pair_motion for n in (0, 2))
    with counted() as first:
        field = net.encode(clip[1], clip[2])
    field = field.with_neighbours(before, after)
    with counted() as second:
        field.sample(0.25, size)
    with counted() as third:
        field.sample(0.75, size)
    assert first.launches <= encoded
    assert second.launches <= enlarged
    assert third.launches <= further
