"""The decoder of VideoINR (Chen et al. 2022, sections 3.1 to 3.3) in factorised form.

Three SIRENs run per output pixel. SpatialINR turns the nearest low-resolution cell into a continuous feature,
TemporalINR turns that and the bilinearly sampled maps into a flow to both frames, and a third reads the features where
the flow points and returns the colour. Sampling is linear and so is the first layer of a SIREN before its sine, so
those layers are applied to the low-resolution maps once per pair, and only their outputs are sampled.

Gathering and interpolating the rows of a table is what `embedding_bag` does: it reads all channels of a cell at once,
where `grid_sample` would visit every channel's plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import kernels
from vs_videoinr.networks.base import VideoField, checked_query
from vs_videoinr.networks.videoinr.coordinates import (
    Padding,
    bilinear_taps,
    cell_position,
    lattice_axis,
    warp,
    warp_axis,
)
from vs_videoinr.networks.videoinr.kernel_decoder import HALF_TURN, KernelDecoder
from vs_videoinr.networks.videoinr.siren import Siren, affine

#: Output pixels evaluated at a time. On a CPU the widest activations of a chunk stay in the cache; on a GPU a chunk
#: fills the machine. The largest moment is two activations of the widest layer and the taps of the third stage: at the
#: published size 2 · 256 · 4 bytes and some 900 more: 3 KB per chunk pixel in float32, as measured.
CHUNK_PIXELS = 8192
GPU_CHUNK_PIXELS = 1 << 18

#: The same for the kernel, which holds little: work can be abandoned between them.
KERNEL_PIXELS = 1 << 15

_Check = Callable[[], None]


class Sirens(NamedTuple):
    """The three networks of the decoder, in the order in which they run."""

    spatial: Siren
    temporal: Siren
    colour: Siren


class VideoINRField(VideoField):
    """A pair of frames as a continuous field.

    It holds the projections of the low-resolution maps: 256 values per low-resolution pixel at the published size.
    While it is sampled, the continuous feature and the flow of the whole output frame are held as well: at the
    published size 64 values and four float32 per output pixel.

    Args:
        feature_map: (B, 3C, h, w) from the encoder.
        frames: (B, 6, h, w), both frames.
        sirens: The decoder's networks.
        grid: `reference` or `consistent`, see `warp_axis`.
        padding: What sampling finds outside the image.
    """

    #: Output pixels evaluated at a time.
    chunk_pixels: int

    def __init__(self, feature_map: Tensor, frames: Tensor, sirens: Sirens, grid: str, padding: Padding) -> None:
        self._cells = (feature_map.shape[2], feature_map.shape[3])
        self._grid, self._padding = grid, padding
        maps = torch.cat((feature_map, frames), dim=1).flatten(2).transpose(1, 2)  # (B, h·w, 3C + 6)
        features, values = feature_map.shape[1], maps.shape[2]
        # Without a kernel all layers are PyTorch's.
        kernel = kernels.kernels_for(feature_map, frames, *(p for siren in sirens for p in siren.parameters()))
        unit = 1.0 if kernel is None else HALF_TURN
        self.chunk_pixels = CHUNK_PIXELS if feature_map.device.type == "cpu" else GPU_CHUNK_PIXELS

        weight, bias = sirens.spatial.layers(unit)[0]  # columns: maps, y, x, t
        self._spatial_table = maps @ weight[:, :values].t()
        self._spatial_y, self._spatial_x, self._spatial_t = weight[:, values:].t().unbind()
        self._spatial_bias = bias

        continuous = sirens.spatial.outputs
        weight, bias = sirens.temporal.layers(unit)[0]  # columns: continuous feature, maps, t
        self._temporal_continuous = weight[:, :continuous].contiguous()
        self._temporal_table = maps @ weight[:, continuous:-1].t()
        self._temporal_t, self._temporal_bias = weight[:, -1], bias

        weight, bias = sirens.colour.layers(unit)[0]
        # Columns: continuous feature at both ends, feature maps at both, frames at both, t.
        self._colour_continuous = [part.contiguous() for part in weight[:, : 2 * continuous].chunk(2, dim=1)]
        ends_features = weight[:, 2 * continuous : 2 * (continuous + features)].chunk(2, dim=1)
        ends_frames = weight[:, 2 * (continuous + features) : -1].chunk(2, dim=1)
        self._colour_table = torch.cat(  # rows: the cells as seen at the end in frame 0, then at the end in frame 1
            [maps @ torch.cat(end, dim=1).t() for end in zip(ends_features, ends_frames, strict=True)], dim=1
        )
        self._colour_t, self._colour_bias = weight[:, -1], bias

        self._rests = [siren.rest() for siren in sirens] if kernel is None else []
        self._kernel: KernelDecoder | None = None
        if kernel is not None:
            self.chunk_pixels = KERNEL_PIXELS
            both = torch.cat(self._colour_continuous, dim=1)
            self._kernel = KernelDecoder(kernel, sirens, self._temporal_continuous, both)

    def nbytes(self) -> int:
        """Bytes of the projected maps and of the weights prepared for sampling them."""
        tables = (self._spatial_table, self._temporal_table, self._colour_table)
        layers = [*self._rests] if self._kernel is None else [self._kernel]
        return sum(table.nbytes for table in tables) + sum(part.nbytes() for part in layers)

    def sample(self, t: float, size: tuple[int, int], *, check: _Check | None = None) -> Tensor:
        """Return the frame at time `t` as float32 (B, 3, height, width) for `size` (height, width)."""
        t, size = checked_query(t, size)
        continuous, flow = self._continuous_and_flow(t, size, check)
        rgb = flow.new_empty(len(flow), 3, size[0] * size[1])
        for item in range(len(flow)):
            self._colours(item, continuous[item], flow[item], t, size, rgb[item], check)
        return rgb.view(-1, 3, *size)

    def motion(self, t: float, size: tuple[int, int], *, check: _Check | None = None) -> Tensor:
        """Return TemporalINR's flow, float32 (B, 4, height, width): x, y to frame 0, x, y to frame 1, output pixels."""
        t, size = checked_query(t, size)
        flow = self._continuous_and_flow(t, size, check)[1]
        return flow.transpose(1, 2).reshape(-1, 4, *size)

    def continuous_feature(self, t: float, size: tuple[int, int], *, check: _Check | None = None) -> Tensor:
        """Return SpatialINR's continuous feature, (B, C, height, width), in the network's own dtype."""
        t, size = checked_query(t, size)
        continuous = self._continuous_and_flow(t, size, check)[0]
        return continuous.transpose(1, 2).reshape(len(continuous), -1, *size)

    def _chunks(self, pixels: int, check: _Check | None) -> Iterator[slice]:
        for start in range(0, pixels, self.chunk_pixels):
            if check is not None:
                check()
            yield slice(start, min(pixels, start + self.chunk_pixels))

    def _continuous_and_flow(self, t: float, size: tuple[int, int], check: _Check | None) -> tuple[Tensor, Tensor]:
        """Run the first two stages; return (B, pixels, C) and float32 (B, pixels, 4)."""
        table = self._spatial_table
        device, dtype, batch, pixels = table.device, table.dtype, table.shape[0], size[0] * size[1]
        rows, columns = (lattice_axis(n, cells) for n, cells in zip(size, self._cells, strict=True))
        y_cell, x_cell = rows.cell.to(device), columns.cell.to(device)
        y_position, x_position = rows.position.to(device), columns.position.to(device)
        # The terms of relative coordinate and time depend on the row or on the column alone.
        y_term = torch.outer(rows.relative.to(device, dtype), self._spatial_y) + (
            self._spatial_bias + t * self._spatial_t
        )
        x_term = torch.outer(columns.relative.to(device, dtype), self._spatial_x)
        temporal_bias = self._temporal_bias + t * self._temporal_t

        continuous: Tensor | None = None
        flow = torch.empty(batch, pixels, 4, device=device)
        if self._kernel is not None:
            continuous = table.new_empty(batch, pixels, self._temporal_continuous.shape[1])
            shared = {"y_term": y_term, "x_term": x_term, "y_position": y_position, "x_position": x_position}
            shared |= {"y_cell": y_cell.int(), "x_cell": x_cell.int(), "temporal_bias": temporal_bias}
            for item in range(batch):
                own = {"spatial_table": table[item], "temporal_table": self._temporal_table[item]}
                own |= {"continuous": continuous[item], "flow": flow[item]}
                self._kernel.decode_flow(self._chunks(pixels, check), shared | own, **self._shape(size))
            return continuous, flow
        for chunk in self._chunks(pixels, check):
            y, x = self._rows_and_columns(chunk, size[1], device)
            nearest = y_cell[y] * self._cells[1] + x_cell[x]
            taps, weights = bilinear_taps(y_position[y], x_position[x], self._cells, self._padding)
            weights = weights.to(dtype)
            lattice_term = y_term[y].add_(x_term[x])
            for item in range(batch):
                feature = self._rests[0](self._spatial_table[item].index_select(0, nearest).add_(lattice_term))
                hidden = affine(feature, self._temporal_continuous, temporal_bias)
                hidden.add_(_interpolate(self._temporal_table[item], taps, weights))
                flow[item, chunk] = self._rests[1](hidden).float()
                if continuous is None:
                    continuous = feature.new_empty(batch, pixels, feature.shape[1])
                continuous[item, chunk] = feature
        assert continuous is not None  # there is at least one pixel
        return continuous, flow

    def _colours(
        self,
        item: int,
        continuous: Tensor,
        flow: Tensor,
        t: float,
        size: tuple[int, int],
        rgb: Tensor,
        check: _Check | None,
    ) -> None:
        """Run the third stage for one item of the batch, into (3, pixels)."""
        table = self._colour_table[item]
        device, dtype, cells = table.device, table.dtype, self._cells
        y_start, y_unit = warp_axis(size[0], self._grid)
        x_start, x_unit = warp_axis(size[1], self._grid)
        y_start, x_start = y_start.to(device), x_start.to(device)
        bias = self._colour_bias + t * self._colour_t
        if self._kernel is not None:
            tensors = {"y_start": y_start, "x_start": x_start, "colour_table": table, "colour_bias": bias}
            tensors |= {"continuous": continuous, "flow": flow, "rgb": rgb}
            numbers = {"y_unit": y_unit, "x_unit": x_unit, **self._shape(size)}
            self._kernel.decode_colours(self._chunks(size[0] * size[1], check), tensors, **numbers)
            return
        for chunk in self._chunks(size[0] * size[1], check):
            y, x = self._rows_and_columns(chunk, size[1], device)
            fine, coarse = [], []
            for end in (0, 1):
                to_x, to_y = flow[chunk, 2 * end], flow[chunk, 2 * end + 1]
                at_y, at_x = warp(y_start[y], to_y, y_unit), warp(x_start[x], to_x, x_unit)
                fine.append(
                    bilinear_taps(cell_position(at_y, size[0]), cell_position(at_x, size[1]), size, self._padding)
                )
                taps, weights = bilinear_taps(
                    cell_position(at_y, cells[0]), cell_position(at_x, cells[1]), cells, self._padding
                )
                coarse.append((taps + end * cells[0] * cells[1], weights))
            # Both ends' projections are added up in one gather of eight cells.
            taps, weights = (torch.cat(parts, dim=1) for parts in zip(*coarse, strict=True))
            hidden = _interpolate(table, taps, weights.to(dtype)).add_(bias)
            for (taps, weights), weight in zip(fine, self._colour_continuous, strict=True):
                hidden.add_(affine(_interpolate(continuous, taps, weights.to(dtype)), weight, None))
            rgb[:, chunk] = self._rests[2](hidden).t().float()

    def _shape(self, size: tuple[int, int]) -> dict[str, int]:
        """What the kernel is told of the picture and the maps."""
        names = ("rows", "columns", "cell_rows", "cell_columns", "border")
        return dict(zip(names, (*size, *self._cells, int(self._padding == "border")), strict=True))

    @staticmethod
    def _rows_and_columns(chunk: slice, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        pixel = torch.arange(chunk.start, chunk.stop, device=device)
        y = torch.div(pixel, width, rounding_mode="floor")
        return y, pixel - y * width


def _interpolate(table: Tensor, taps: Tensor, weights: Tensor) -> Tensor:
    """Add up the rows of `table` (N, C) that `taps` (P, k) names, times `weights` (P, k): (P, C)."""
    return F.embedding_bag(taps, table, per_sample_weights=weights, mode="sum")
