"""Comparing a checkpoint with the network that it should make up, tensor by tensor, before memory is spent on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.networks import cancellation
from vs_videoinr.networks.base import Network
from vs_videoinr.networks.registry import ARCHITECTURES

Settings = Mapping[str, object]

#: What training programs put before the names of a network's tensors.
_PREFIXES = ("module.", "model.", "net.", "network.", "generator.", "netG.", "G.", "_orig_mod.")
_MAX_PREFIXES = 4  # before one another

#: What a network's tensors may be of.
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Verified:
    """A checkpoint whose every tensor is known to fit the network."""

    network: Network  # on the meta device: sizes without memory
    tensors: dict[str, Tensor]

    def build(self, device: torch.device, dtype: torch.dtype | None) -> Network:
        """Return the network with these weights, frozen and ready to run.

        Without a `dtype` in single precision, or in half precision where it should be on a GPU.

        Raises:
            ModelError: A value is too large for `dtype`.
        """
        if dtype is None:
            dtype = torch.float16 if device.type != "cpu" and self.network.half_on_gpu else torch.float32
        state = {name: tensor.to(device, dtype, copy=True).contiguous() for name, tensor in self.tensors.items()}
        if dtype == torch.float16:
            for name, tensor in state.items():
                if not tensor.isfinite().all():
                    raise ModelError(f"tensor {name} of the model holds values that are too large for half precision")
        self.network.load_state_dict(state, assign=True)
        cancellation.watch(self.network)
        return self.network.requires_grad_(False).eval()


def verify(source: str, tensors: Mapping[str, Tensor], architecture: str | None, settings: Settings) -> Verified:
    """Return a checkpoint's tensors with the network that they make up.

    Args:
        source: What messages begin with: the checkpoint's name.
        tensors: By name, perhaps with a prefix that training programs put before all of them.
        architecture: Which network it is; None if the tensors tell.
        settings: What the network needs and the tensors do not tell.

    Raises:
        ModelError: They do not make up any known network; `.report` lists what is missing or misshapen.
    """

    def refuse(reason: str, problems: Iterable[str] = (), kind: type[Network] = Network) -> ModelError:
        return ModelError(f"{source} is not a {kind.title} checkpoint: {reason}", problems)

    for _ in range(_MAX_PREFIXES):
        prefix = next((one for one in _PREFIXES if all(name.startswith(one) for name in tensors)), "")
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    kinds = [
        kind
        for kind in ARCHITECTURES
        if (kind.architecture == architecture if architecture is not None else kind.matches(shapes))
    ]
    if not kinds:
        known = ", ".join(kind.architecture for kind in ARCHITECTURES)
        if architecture is not None:
            raise refuse(f"architecture {architecture[:80]!r} is not known (known: {known})")
        raise refuse("its tensors are not those of any known network", _listing(shapes))
    kind = kinds[0]
    try:
        config = kind.config_from_shapes(shapes, settings)
        with torch.device("meta"):
            network = kind(config)
    except ModelError as error:
        raise refuse(str(error), kind=kind) from None
    except (RuntimeError, OverflowError, ValueError) as error:
        raise refuse(f"its sizes make no network ({str(error).splitlines()[0][:120]})", kind=kind) from None
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    unused = {name for name in shapes if name.split(".")[0] in kind.unused}
    problems = _compare(expected, {name: tensor for name, tensor in tensors.items() if name not in unused})
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise refuse(problems[0] + more, problems, kind)
    single = {name: tensors[name].float() for name in expected if tensors[name].dtype == torch.float64}
    return Verified(network, {name: single.get(name, tensors[name]) for name in expected})


def _compare(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return a line for each tensor that is missing, misshapen, of another kind, not finite or not known."""
    problems = [f"tensor {name} is missing" for name in sorted(expected.keys() - tensors.keys(), key=_natural)]
    for name, shape in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            problems.append(f"tensor {name} is {_dimensions(tuple(tensor.shape))}, expected {_dimensions(shape)}")
        elif tensor.dtype not in _PRECISIONS:
            expectation = "16 to 64 bits" if tensor.dtype.is_floating_point else "floating point"
            problems.append(f"tensor {name} is {str(tensor.dtype).removeprefix('torch.')}, expected {expectation}")
        elif not tensor.isfinite().all():
            problems.append(f"tensor {name} holds values that are not finite")
        elif not tensor.float().isfinite().all():
            problems.append(f"tensor {name} holds values that are too large for single precision")
    problems += [f"tensor {name} is not known" for name in sorted(tensors.keys() - expected.keys(), key=_natural)]
    return problems


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _dimensions(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single value"


def _listing(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [f"{name} {_dimensions(shape)}" for name, shape in shapes.items()]
