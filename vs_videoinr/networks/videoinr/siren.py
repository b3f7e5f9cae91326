"""Multilayer perceptrons with sine activation (SIREN, Sitzmann et al. 2020, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SineLayer(nn.Module):
    """sin(omega · (W x + b))."""

    def __init__(self, inputs: int, outputs: int, omega: float, first: bool) -> None:
        super().__init__()
        self.omega = omega
        self.linear = nn.Linear(inputs, outputs)
        # Section 3.2: keeps the activations' distribution the same through any number of layers.
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return torch.sin(self.omega * self.linear(x))


class Siren(nn.Module):
    """Sine layers and a linear one.

    Args:
        inputs: Values per point.
        hidden: Width of each sine layer.
        outputs: Values per point.
        omega: Frequency of the sines.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, omega: float) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        layers: list[nn.Module] = [
            SineLayer(a, b, omega, first=i == 0) for i, (a, b) in enumerate(zip(widths, hidden, strict=False))
        ]
        last = nn.Linear(widths[-1], outputs)
        bound = math.sqrt(6 / widths[-1]) / omega
        nn.init.uniform_(last.weight, -bound, bound)
        self.net = nn.Sequential(*layers, last)
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        y: Tensor = self.net(x)
        return y

    def layers(self, unit: float = 1.0) -> list[tuple[Tensor, Tensor]]:
        """Return weight (outputs, inputs) and bias (outputs,) of every layer, those of sine layers times omega.

        What goes into the sines is in units of `unit` radians.
        """
        layers = []
        for layer in self.net:
            if isinstance(layer, SineLayer):
                scale = layer.omega / unit
                layers.append((layer.linear.weight * scale, layer.linear.bias * scale))
            else:
                assert isinstance(layer, nn.Linear)
                layers.append((layer.weight, layer.bias))
        return layers

    def rest(self) -> SirenRest:
        """Return everything after the first layer's linear part, ready for repeated evaluation."""
        return SirenRest(self.layers()[1:])


class SirenRest:
    """A SIREN from its first sine on, with omega multiplied into the weights beforehand."""

    def __init__(self, layers: list[tuple[Tensor, Tensor]]) -> None:
        self._layers = layers

    def nbytes(self) -> int:
        """Bytes of the prepared weights."""
        return sum(weight.nbytes + bias.nbytes for weight, bias in self._layers)

    def __call__(self, preactivation: Tensor) -> Tensor:
        """Map the first layer's (P, hidden) values before their sine, which are overwritten, to (P, outputs)."""
        x = preactivation
        for weight, bias in self._layers:
            x = affine(x.sin_(), weight, bias)
        return x


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (P, inputs) to (P, outputs) as `F.linear` does, on a CPU by a 1×1 convolution.

    Convolutions go to oneDNN, matrix products to MKL, which on an AMD CPU runs at half the speed. Torch leaves a 1×1
    convolution to MKL as well unless there are 16 images or several threads, hence the 16.
    """
    points, outputs = x.shape[0], weight.shape[0]
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if x.device.type != "cpu" or outputs < 16 or not onednn:
        return F.linear(x, weight, bias)
    images = 16 if points % 16 == 0 else 1
    pixels = x.view(images, 1, points // images, -1).permute(0, 3, 1, 2)  # in memory this is channels-last already
    return F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(points, outputs)
