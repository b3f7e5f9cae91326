"""How the network learns: Muon for kernels between features, Adam for everything else.

Muon (Jordan et al., 2024) makes every direction of a kernel's update equally long, so that what is rare in the
gradients is learned as well: detail, here. A step costs about the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# What takes in or puts out nothing but colours and motion: there are few directions, and their sizes mean something.
ENDS = (
    "pyramid.reduce.0",
    "detail.first",
    "detail.out",
    "detail.phase",
    "flow",
    "clues",
    "trust",
    "amounts",
    "patterns",
)
MOTION_PREFIXES = ("pyramid.", "flow.")  # learned before the rest, and more slowly


def _is_inner(name: str, parameter: Tensor) -> bool:
    layer = name.removesuffix(".weight")
    return parameter.ndim == 4 and layer not in ENDS and layer.rsplit(".", 1)[-1] not in ENDS


def _matrix(kernel: Tensor) -> Tensor:
    """(out, in, h, w) in channels-last memory → the same numbers as (out, h·w·in)."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


class Optimiser:
    """Muon and Adam behind one interface."""

    def __init__(self, net: nn.Module, rate: float, motion_rate: float) -> None:
        """`rate` of all but the motion; `net` must be in channels-last memory. Both fall by `step`'s factor."""
        self.kernels: list[tuple[nn.Parameter, nn.Parameter]] = []  # as the network has them, as Muon sees them
        inner: dict[float, list[Tensor]] = {rate: [], motion_rate: []}
        other: dict[float, list[Tensor]] = {rate: [], motion_rate: []}
        for name, parameter in net.named_parameters():
            own = motion_rate if name.startswith(MOTION_PREFIXES) else rate
            if _is_inner(name, parameter):
                matrix = nn.Parameter(_matrix(parameter.detach()))
                assert matrix.data_ptr() == parameter.data_ptr()
                self.kernels.append((parameter, matrix))
                inner[own].append(matrix)
            else:
                other[own].append(parameter)
        # The usual eps would drown the gradients of all that lies behind a head that begins near zero.
        self.adam = torch.optim.Adam(_groups(other), betas=(0.9, 0.99), eps=1e-15)
        # With this adjustment its steps are as long as Adam's, and one rate does for both.
        self.muon = torch.optim.Muon(_groups(inner), weight_decay=0, adjust_lr_fn="match_rms_adamw")

    def step(self, fall: float) -> None:
        """Learn from the parameters' gradients, at `fall` times the rates; they are forgotten."""
        for parameter, matrix in self.kernels:
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad)
            parameter.grad = None
        for optimiser in (self.adam, self.muon):
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * fall
            optimiser.step()
            optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """See torch's optimisers."""
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See torch's optimisers."""
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])


def _groups(parameters: dict[float, list[Tensor]]) -> list[dict[str, Any]]:
    return [{"params": found, "rate": rate} for rate, found in parameters.items()]
