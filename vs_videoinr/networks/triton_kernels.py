"""Kernels in Triton, for GPUs: each is one launch, where PyTorch needs dozens. `fused.py` calls them.

They have been compiled for GPUs, and compared with PyTorch in Triton's interpreter; no GPU has run them yet. So they
are as plain as can be: a thread makes one pixel, all of it, and nothing is tuned.

Tensors are float32 and contiguous, and have fewer than 2³¹ numbers for each item of a batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from vs_videoinr.networks.sampling import lanczos

#: Pixels that a program makes.
BLOCK = 256

#: Of a table of weights, from one pixel to the next.
STEPS = 1024

#: Sizes that no variant of a kernel is compiled for.
_SIZES = ["second", "height", "width", "low_height", "low_width"]


@triton.jit
def _between(at, size):
    """Return the pixels before and after a place along an axis, both in the image, and how far it is from the first."""
    at = tl.minimum(tl.maximum(at, 0.0), size - 1.0)
    before = tl.floor(at)
    # A place that is no number leads to some pixel.
    first = tl.minimum(tl.maximum(before.to(tl.int32), 0), size - 1)
    return first, tl.minimum(first + 1, size - 1), at - before


@triton.jit
def _bilinear(image, x, y, height, width, inside):
    """Return a plane's value at places."""
    left, right, along = _between(x, width)
    top, bottom, down = _between(y, height)
    a = tl.load(image + top * width + left, mask=inside, other=0.0)
    b = tl.load(image + top * width + right, mask=inside, other=0.0)
    c = tl.load(image + bottom * width + left, mask=inside, other=0.0)
    d = tl.load(image + bottom * width + right, mask=inside, other=0.0)
    upper = a + along * (b - a)
    lower = c + along * (d - c)
    return upper + down * (lower - upper)


@triton.jit
def _acceleration_offset(bend, second, plane, x, y, x0, y0, x1, y1, share, height, width, inside):
    """Return what both frames' accelerations, at places led to by (x0, y0) and (x1, y1), add to a way."""
    offset_x = _bilinear(bend, x + x0, y + y0, height, width, inside)
    offset_x += _bilinear(bend + second, x + x1, y + y1, height, width, inside)
    offset_y = _bilinear(bend + plane, x + x0, y + y0, height, width, inside)
    offset_y += _bilinear(bend + second + plane, x + x1, y + y1, height, width, inside)
    return offset_x * share, offset_y * share


@triton.jit
def _static(reach, x, y):
    length = tl.sqrt(x * x + y * y)
    mask = tl.minimum(tl.maximum(reach + 1.0 - length, 0.0), 1.0)
    return tl.where(reach > 0.0, mask, 0.0)


@triton.jit(do_not_specialize=_SIZES)
def _flows_kernel(
    flow01,
    flow10,
    bend,
    reach,
    flows,
    t,
    share,
    second,
    height,
    width,
    BENDS: tl.constexpr,
    ITERATIONS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    x = (pixel - row * width).to(tl.float32)
    y = row.to(tl.float32)
    flow01 += item * 2 * plane
    flow10 += item * 2 * plane
    bend += item * 2 * plane
    flows += item * 4 * plane
    to0 = -t
    to1 = 1.0 - t
    first = tl.load(flow01 + pixel, mask=inside, other=0.0)
    vx0 = first + t * (-tl.load(flow10 + pixel, mask=inside, other=0.0) - first)
    first = tl.load(flow01 + plane + pixel, mask=inside, other=0.0)
    vy0 = first + t * (-tl.load(flow10 + plane + pixel, mask=inside, other=0.0) - first)
    vx1, vy1 = vx0, vy0
    offset_x, offset_y = x * 0.0, y * 0.0
    if BENDS:
        offset_x, offset_y = _acceleration_offset(
            bend, second, plane, x, y, vx0 * to0, vy0 * to0, vx1 * to1, vy1 * to1, share, height, width, inside
        )
    for _ in tl.static_range(ITERATIONS):
        x0, y0 = x + offset_x + vx0 * to0, y + offset_y + vy0 * to0
        x1, y1 = x + offset_x + vx1 * to1, y + offset_y + vy1 * to1
        vx0 = _bilinear(flow01, x0, y0, height, width, inside)
        vy0 = _bilinear(flow01 + plane, x0, y0, height, width, inside)
        vx1 = -_bilinear(flow10, x1, y1, height, width, inside)
        vy1 = -_bilinear(flow10 + plane, x1, y1, height, width, inside)
        if BENDS:
            x0, y0 = offset_x + vx0 * to0, offset_y + vy0 * to0
            x1, y1 = offset_x + vx1 * to1, offset_y + vy1 * to1
            offset_x, offset_y = _acceleration_offset(
                bend, second, plane, x, y, x0, y0, x1, y1, share, height, width, inside
            )
    around = tl.load(reach + item * plane + pixel, mask=inside, other=0.0)
    static0 = _static(around, vx0, vy0)
    static1 = _static(around, vx1, vy1)
    if BENDS:
        offset_x *= 1.0 - static0 * static1
        offset_y *= 1.0 - static0 * static1
    to0 *= 1.0 - static0
    to1 *= 1.0 - static1
    tl.store(flows + pixel, offset_x + vx0 * to0, mask=inside)
    tl.store(flows + plane + pixel, offset_y + vy0 * to0, mask=inside)
    tl.store(flows + 2 * plane + pixel, offset_x + vx1 * to1, mask=inside)
    tl.store(flows + 3 * plane + pixel, offset_y + vy1 * to1, mask=inside)


def flows_at(
    flow01: Tensor, flow10: Tensor, acceleration: Tensor | None, reach: Tensor, t: float, iterations: int
) -> Tensor:
    """See warpinr/fusion.py's `flows_at`."""
    batch, _, height, width = flow01.shape
    flows = flow01.new_empty(batch, 4, height, width)
    bend = flow01 if acceleration is None else acceleration
    with _on(flows):
        _flows_kernel[_programs(height * width), batch](
            flow01.contiguous(),
            flow10.contiguous(),
            bend.contiguous(),
            reach.contiguous(),
            flows,
            t,
            t * (1 - t) / 4,
            2 * batch * height * width,
            height,
            width,
            BENDS=acceleration is not None,
            ITERATIONS=iterations,
            BLOCK=BLOCK,
        )
    return flows


@triton.jit
def _weight(table, step, rest, tap, TAPS: tl.constexpr, inside):
    """Return the weight of one of the pixels around places, from a table of them by the distance to the middle one."""
    here = table + step * TAPS + tap
    first = tl.load(here, mask=inside, other=0.0)
    return first + rest * (tl.load(here + TAPS, mask=inside, other=0.0) - first)


@triton.jit
def _row(line, column, last, w0, w1, w2, w3, w4, w5, TAPS: tl.constexpr, inside):
    """Return the weighted sum of pixels of a plane's row, the first of them at `column`."""
    total = w0 * tl.load(line + tl.minimum(tl.maximum(column, 0), last), mask=inside, other=0.0)
    total += w1 * tl.load(line + tl.minimum(tl.maximum(column + 1, 0), last), mask=inside, other=0.0)
    total += w2 * tl.load(line + tl.minimum(tl.maximum(column + 2, 0), last), mask=inside, other=0.0)
    total += w3 * tl.load(line + tl.minimum(tl.maximum(column + 3, 0), last), mask=inside, other=0.0)
    if TAPS == 6:
        total += w4 * tl.load(line + tl.minimum(tl.maximum(column + 4, 0), last), mask=inside, other=0.0)
        total += w5 * tl.load(line + tl.minimum(tl.maximum(column + 5, 0), last), mask=inside, other=0.0)
    return total


@triton.jit
def _step(f, STEPS: tl.constexpr):
    """Return the entry of a table before a fraction of a pixel, and how far behind it that is."""
    place = f * STEPS
    step = tl.minimum(tl.maximum(place.to(tl.int32), 0), STEPS - 1)
    return step, place - step.to(tl.float32)


@triton.jit
def _fetch(frame, table, x, y, height, width, inside, TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """Return a frame's three colours at places, from TAPS x TAPS pixels around each."""
    # Farther outside everything is of the border's colour.
    x = tl.minimum(tl.maximum(x, -3.0), width + 2.0)
    y = tl.minimum(tl.maximum(y, -3.0), height + 2.0)
    left = tl.floor(x)
    top = tl.floor(y)
    step, rest = _step(x - left, STEPS)
    w0 = _weight(table, step, rest, 0, TAPS, inside)
    w1 = _weight(table, step, rest, 1, TAPS, inside)
    w2 = _weight(table, step, rest, 2, TAPS, inside)
    w3 = _weight(table, step, rest, 3, TAPS, inside)
    w4, w5 = w0, w0
    if TAPS == 6:
        w4 = _weight(table, step, rest, 4, TAPS, inside)
        w5 = _weight(table, step, rest, 5, TAPS, inside)
    step, rest = _step(y - top, STEPS)
    column = left.to(tl.int32) - (TAPS // 2 - 1)
    row = top.to(tl.int32) - (TAPS // 2 - 1)
    plane, last = height * width, width - 1
    red = tl.full([BLOCK], 0.0, tl.float32)
    green = tl.full([BLOCK], 0.0, tl.float32)
    blue = tl.full([BLOCK], 0.0, tl.float32)
    for tap in range(TAPS):
        weight = _weight(table, step, rest, tap, TAPS, inside)
        line = frame + tl.minimum(tl.maximum(row + tap, 0), height - 1) * width
        red += weight * _row(line, column, last, w0, w1, w2, w3, w4, w5, TAPS, inside)
        green += weight * _row(line + plane, column, last, w0, w1, w2, w3, w4, w5, TAPS, inside)
        blue += weight * _row(line + 2 * plane, column, last, w0, w1, w2, w3, w4, w5, TAPS, inside)
    return red, green, blue


@triton.jit(do_not_specialize=_SIZES)
def _warp_and_blend_kernel(
    frame0,
    frame1,
    flow,
    table,
    output,
    t,
    height,
    width,
    low_height,
    low_width,
    shrink_x,
    shrink_y,
    scale_x,
    scale_y,
    TAPS: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    plane = height * width
    low_plane = low_height * low_width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    x = (pixel - row * width).to(tl.float32)
    y = row.to(tl.float32)
    frame0 += item * 3 * plane
    frame1 += item * 3 * plane
    output += item * 3 * plane
    flow += item * 4 * low_plane
    low_x = (x + 0.5) * shrink_x - 0.5
    low_y = (y + 0.5) * shrink_y - 0.5
    x0 = x + scale_x * _bilinear(flow, low_x, low_y, low_height, low_width, inside)
    y0 = y + scale_y * _bilinear(flow + low_plane, low_x, low_y, low_height, low_width, inside)
    x1 = x + scale_x * _bilinear(flow + 2 * low_plane, low_x, low_y, low_height, low_width, inside)
    y1 = y + scale_y * _bilinear(flow + 3 * low_plane, low_x, low_y, low_height, low_width, inside)
    red0, green0, blue0 = _fetch(frame0, table, x0, y0, height, width, inside, TAPS, STEPS, BLOCK)
    red1, green1, blue1 = _fetch(frame1, table, x1, y1, height, width, inside, TAPS, STEPS, BLOCK)
    tl.store(output + pixel, red0 + t * (red1 - red0), mask=inside)
    tl.store(output + plane + pixel, green0 + t * (green1 - green0), mask=inside)
    tl.store(output + 2 * plane + pixel, blue0 + t * (blue1 - blue0), mask=inside)


@lru_cache(maxsize=8)
def _weights(large: bool, device: torch.device) -> Tensor:
    """Weights of the pixels around a place, by its distance from the one before it: (STEPS + 1, 4 or 6 of them).

    Bicubic, as `grid_sample` has it (a = -0.75), or Lanczos's.
    """
    with torch.inference_mode(False):
        place = torch.linspace(0, 1, STEPS + 1, device=device)
        if not large:
            return lanczos(place).contiguous()
        near = torch.stack((place, 1 - place))
        far = near + 1
        near = (1.25 * near - 2.25) * near**2 + 1
        far = ((-0.75 * far + 3.75) * far - 6) * far + 3
        return torch.stack((far[0], near[0], near[1], far[1]), 1)


def warp_and_blend(frame0: Tensor, frame1: Tensor, flow: Tensor, t: float, large: bool) -> Tensor:
    """See warp_blend.py's `warp_and_blend`."""
    batch, _, height, width = frame0.shape
    low_height, low_width = flow.shape[-2:]
    table = _weights(large, frame0.device)
    output = frame0.new_empty(frame0.shape)
    with _on(output):
        _warp_and_blend_kernel[_programs(height * width), batch](
            frame0.contiguous(),
            frame1.contiguous(),
            flow.contiguous(),
            table,
            output,
            t,
            height,
            width,
            low_height,
            low_width,
            low_width / width,
            low_height / height,
            width / low_width,
            height / low_height,
            TAPS=table.shape[1],
            STEPS=STEPS,
            BLOCK=BLOCK,
        )
    return output


def _programs(pixels: int) -> int:
    return -(-pixels // BLOCK)


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    """What is launched meanwhile runs on the device of a tensor."""
    kind = tensor.device.type
    return nullcontext() if kind == "cpu" else torch.get_device_module(kind).device(tensor.device)
