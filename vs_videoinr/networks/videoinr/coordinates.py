"""Where output pixels fall among low-resolution cells.

Normalised coordinates run from -1 to 1 between the outer edges of an image; cell i of n has its centre at
-1 + (2i + 1)/n. Everything here is float32 whatever the network computes in, and always computed on the CPU: at ratios
such as 3.5 some queries fall exactly half-way between two cells, and float32 rounding decides which one is nearest.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

#: `zeros`: outside the image everything is zero. `border`: the outermost cells go on for ever.
Padding = Literal["zeros", "border"]

#: Coordinates stay this far inside the outer edges.
_EDGE = 1 - 1e-6


def cell_centres(n: int) -> Tensor:
    """Return the normalised centres of `n` cells, (n,) float32."""
    # The order of these operations is the reference's; any other moves the ties.
    centres = (2 / n) * torch.arange(n).float() + (-1 + 1 / n)
    return centres.clamp_(-_EDGE, _EDGE)


def cell_position(coordinate: Tensor, n: int) -> Tensor:
    """Turn normalised coordinates into positions among `n` cells: 0 is the first centre, n - 1 the last."""
    return ((coordinate + 1) * n - 1) / 2


class Axis(NamedTuple):
    """One axis of an output lattice over the cells of the low-resolution maps.

    Attributes:
        cell: (N,) int64, the nearest cell of each output row or column.
        relative: (N,) float32, distance to that cell's centre, times the number of cells (half the cell is 1).
        position: (N,) float32, the position among the cells.
    """

    cell: Tensor
    relative: Tensor
    position: Tensor


def lattice_axis(n_out: int, n_cells: int) -> Axis:
    """Return how `n_out` output rows or columns lie over `n_cells` low-resolution ones."""
    query = cell_centres(n_out)
    position = cell_position(query, n_cells)
    cell = position.round().long().clamp_(0, n_cells - 1)  # round() breaks ties to even, as grid_sample does
    return Axis(cell, (query - cell_centres(n_cells)[cell]) * n_cells, position)


def warp_axis(n: int, grid: str) -> tuple[Tensor, float]:
    """Return where `n` output rows or columns start before the flow moves them, and the pixels per unit of coordinate.

    `reference`: the published code lays the corner pixels onto -1 and 1, although sampling takes these for the outer
    edges, so that a zero flow is not the identity. Its weights have learned that. One pixel has no such grid; it takes
    the consistent one.
    `consistent`: cell centres.
    """
    if grid == "reference" and n > 1:
        return torch.linspace(-1, 1, n), (n - 1) / 2
    return cell_centres(n), n / 2


def warp(start: Tensor, flow: Tensor, pixels_per_unit: float) -> Tensor:
    """Move normalised coordinates by a flow in output pixels; stays inside the image."""
    return (start + flow / pixels_per_unit).clamp_(-_EDGE, _EDGE)


def bilinear_taps(y: Tensor, x: Tensor, size: tuple[int, int], padding: Padding) -> tuple[Tensor, Tensor]:
    """Return the four cells around each position and their bilinear weights.

    Args:
        y: (P,) float32 row positions among the cells.
        x: (P,) float32 column positions.
        size: Rows and columns of cells.
        padding: What lies outside.

    Returns:
        (P, 4) int64 indices into the flattened cells, and (P, 4) float32 weights.
    """
    rows, row_weights = _linear_taps(y, size[0], padding)
    columns, column_weights = _linear_taps(x, size[1], padding)
    index = (rows * size[1]).unsqueeze(2) + columns.unsqueeze(1)
    weight = row_weights.unsqueeze(2) * column_weights.unsqueeze(1)
    return index.flatten(1), weight.flatten(1)


def _linear_taps(position: Tensor, n: int, padding: Padding) -> tuple[Tensor, Tensor]:
    if padding == "border":
        position = position.clamp(0, n - 1)
    below = position.floor()
    above_weight = position - below
    index = torch.stack((below, below + 1), dim=1)
    weight = torch.stack((1 - above_weight, above_weight), dim=1)
    weight *= (index >= 0) & (index < n)
    # The clamp also keeps indices valid where broken weights make a position NaN.
    return index.long().clamp_(0, n - 1), weight
