"""The decoder's SIRENs by a kernel in C (native/siren.h), a few pixels at a time from the first layer to the last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import kernels
from vs_videoinr.networks.videoinr.siren import Siren

#: What goes into a sine is in half turns, which a kernel reduces in one step.
HALF_TURN = math.pi


class KernelDecoder:
    """The layers behind each SIREN's first, as the kernel reads them.

    Args:
        kernel: The kernels.
        sirens: SpatialINR, TemporalINR and the last one.
        temporal_continuous: Weight (outputs, inputs) by which TemporalINR's first layer takes the continuous feature,
            in half turns.
        colour_continuous: The same of the last SIREN, which takes it twice, from both frames.
    """

    def __init__(
        self, kernel: kernels.Kernels, sirens: Iterable[Siren], temporal_continuous: Tensor, colour_continuous: Tensor
    ) -> None:
        self._kernel = kernel
        self._tensors: list[Tensor] = []  # which the structures point into
        self._spatial, self._temporal, self._colour = (self._siren(siren) for siren in sirens)
        self._temporal_continuous = self._layer(temporal_continuous, None)
        self._colour_continuous = self._layer(colour_continuous, None)
        layers = [self._temporal_continuous, self._colour_continuous]
        for siren in (self._spatial, self._temporal, self._colour):
            layers += siren.layers[: siren.count]
        self._width = max(layer.outputs for layer in layers)

    def nbytes(self) -> int:
        """Bytes of the prepared weights."""
        return sum(tensor.nbytes for tensor in self._tensors)

    def decode_flow(self, chunks: Iterable[slice], tensors: Mapping[str, Tensor], **numbers: float) -> None:
        """Make the continuous feature and the flow of the pixels of all chunks.

        `tensors` and `numbers` are named as in `Decode` in native/kernels.h.
        """
        self._run(self._kernel.decode_flow, chunks, tensors, numbers)

    def decode_colours(self, chunks: Iterable[slice], tensors: Mapping[str, Tensor], **numbers: float) -> None:
        """Make the colours of the pixels of all chunks, once the flow is known everywhere."""
        self._run(self._kernel.decode_colours, chunks, tensors, numbers)

    def _run(
        self,
        work: Callable[[kernels.Decode, int], None],
        chunks: Iterable[slice],
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, float],
    ) -> None:
        features = tensors["continuous"].shape[1]
        floats = self._kernel.tile * (2 * self._width + 2 * features)
        threads = kernels.thread_count()
        scratch = tensors["continuous"].new_empty(threads, floats)
        for name, tensor in tensors.items():
            assert tensor.is_contiguous(), name
        job = kernels.Decode(
            spatial=self._spatial,
            temporal=self._temporal,
            colour=self._colour,
            temporal_continuous=self._temporal_continuous,
            colour_continuous=self._colour_continuous,
            scratch=scratch.data_ptr(),
            scratch_floats=floats,
            continuous_features=features,
            width=self._width,
            between_width=2 * features,
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
            **numbers,
        )
        for chunk in chunks:
            job.first_pixel, job.last_pixel = chunk.start, chunk.stop
            work(job, threads)

    def _siren(self, siren: Siren) -> kernels.Siren:
        rest = siren.layers(HALF_TURN)[1:]
        layers = (kernels.Layer * len(rest))(*(self._layer(weight, bias) for weight, bias in rest))
        return kernels.Siren(layers, len(rest), rest[0][0].shape[1])

    def _layer(self, weight: Tensor, bias: Tensor | None) -> kernels.Layer:
        """Panels (panels, inputs, outputs of a panel) of a weight (outputs, inputs), and the bias."""
        outputs, inputs = weight.shape
        lanes = self._kernel.lanes
        panel = lanes if outputs <= lanes else 2 * lanes
        missing = -outputs % panel
        panels = F.pad(weight, (0, 0, 0, missing)).view(-1, panel, inputs).transpose(1, 2).contiguous()
        offset = F.pad(weight.new_zeros(outputs) if bias is None else bias, (0, missing)).contiguous()
        self._tensors += [panels, offset]
        return kernels.Layer(panels.data_ptr(), offset.data_ptr(), inputs, outputs + missing)
