"""Kernels in Triton, for GPUs: each is one launch, where PyTorch needs dozens. `fused.py` calls them.

They are as plain as can be: a thread makes one pixel, all of it, and nothing is tuned.

Tensors are float32 and contiguous, and have fewer than 2³¹ numbers for each item of a batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from vs_videoinr.networks.kernels import CLUES, PHASE_TERMS
from vs_videoinr.networks.sampling import lanczos
from vs_videoinr.networks.warpinr.blocks import COLOUR_GAIN, FLOW
from vs_videoinr.networks.warpinr.clues import ROUND_TRIP_LIMIT_PX
from vs_videoinr.networks.warpinr.flow_estimator import CORRELATION_SHARPNESS

#: Pixels that a program makes.
BLOCK = 256

#: Of a table of weights, from one pixel to the next.
STEPS = 1024

#: Sizes that no variant of a kernel is compiled for.
_SIZES = ["second", "half", "radius", "planes", "apart", "channels", "top", "rows"]
_SIZES += ["height", "width", "low_height", "low_width"]


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
            flow01,
            flow10,
            bend,
            reach,
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
            low_width / width,
            low_height / height,
            width / low_width,
            height / low_height,
            TAPS=table.shape[1],
            STEPS=STEPS,
            BLOCK=BLOCK,
        )
    return output


@triton.jit
def _put_error(clues, frame, plane, pixel, found, gain, inside):
    """Store how a colour differs from what was found, and how much."""
    error = (found - tl.load(frame + pixel, mask=inside, other=0.0)) * gain
    tl.store(clues + pixel, error, mask=inside)
    tl.store(clues + 3 * plane + pixel, tl.abs(error), mask=inside)


@triton.jit
def _nearest(at, size):
    """Return the pixel nearest to a place along an axis, of two as near the even one, and how far behind it that is."""
    at = tl.minimum(tl.maximum(at, 0.0), size - 1.0)
    pixel = tl.floor(at + 0.5)
    odd = pixel - 2.0 * tl.floor(pixel / 2.0) > 0.5
    pixel = tl.where((pixel - at == 0.5) & odd, pixel - 1.0, pixel)
    pixel = tl.where(pixel == pixel, pixel, 0.0)
    return pixel, at - pixel


@triton.jit(do_not_specialize=_SIZES)
def _clues_kernel(
    frame,
    other,
    flow_to,
    flow_from,
    table,
    clues,
    top,
    gain,
    limit,
    height,
    rows,
    width,
    STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    plane = rows * width
    whole = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    frame += item * 3 * plane
    flow_to += item * 2 * plane
    flow_from += item * 2 * whole
    clues += item * 21 * plane
    way_x = tl.load(flow_to + pixel, mask=inside, other=0.0)
    way_y = tl.load(flow_to + plane + pixel, mask=inside, other=0.0)
    x = (pixel - row * width).to(tl.float32) + way_x
    y = (top + row).to(tl.float32) + way_y
    red, green, blue = _fetch(other + item * 3 * whole, table, x, y, height, width, inside, 4, STEPS, BLOCK)
    _put_error(clues, frame, plane, pixel, red, gain, inside)
    _put_error(clues + plane, frame + plane, plane, pixel, green, gain, inside)
    _put_error(clues + 2 * plane, frame + 2 * plane, plane, pixel, blue, gain, inside)
    back_x = way_x + _bilinear(flow_from, x, y, height, width, inside)
    back_y = way_y + _bilinear(flow_from + whole, x, y, height, width, inside)
    back_x = tl.minimum(tl.maximum(back_x, -limit), limit)
    back_y = tl.minimum(tl.maximum(back_y, -limit), limit)
    near_x, x = _nearest(x, width)
    near_y, y = _nearest(y, height)
    x, y = 2.0 * x, 2.0 * y
    clues += 6 * plane + pixel
    tl.store(clues, x, mask=inside)
    tl.store(clues + plane, y, mask=inside)
    tl.store(clues + 2 * plane, back_x, mask=inside)
    tl.store(clues + 3 * plane, back_y, mask=inside)
    tl.store(clues + 4 * plane, tl.sqrt(back_x * back_x + back_y * back_y + 1e-12), mask=inside)
    clues += 5 * plane
    tl.store(clues, x, mask=inside)
    tl.store(clues + plane, y, mask=inside)
    tl.store(clues + 2 * plane, x * x, mask=inside)
    tl.store(clues + 3 * plane, y * y, mask=inside)
    tl.store(clues + 4 * plane, x * y, mask=inside)
    tl.store(clues + 5 * plane, x * x * y, mask=inside)
    tl.store(clues + 6 * plane, x * y * y, mask=inside)
    tl.store(clues + 7 * plane, x * x * y * y, mask=inside)
    tl.store(clues + 8 * plane, near_x, mask=inside)
    tl.store(clues + 9 * plane, near_y, mask=inside)


def clues(frame: Tensor, other: Tensor, flow_to: Tensor, flow_from: Tensor, top: int) -> Tensor:
    """See warpinr/clues.py's `find_clues`, whose clues this returns one behind the other."""
    batch, _, rows, width = frame.shape
    height = other.shape[2]
    made = frame.new_empty(batch, CLUES + PHASE_TERMS + FLOW, rows, width)
    table = _weights(True, frame.device)
    with _on(frame):
        _clues_kernel[_programs(rows * width), batch](
            frame,
            other,
            flow_to,
            flow_from,
            table,
            made,
            top,
            COLOUR_GAIN,
            ROUND_TRIP_LIMIT_PX,
            height,
            rows,
            width,
            STEPS=STEPS,
            BLOCK=BLOCK,
        )
    return made


@triton.jit(do_not_specialize=_SIZES)
def _correlate_kernel(
    a,
    b,
    means,
    sharpness,
    correlation,
    half,
    channels,
    radius,
    height,
    width,
    SHARPNESS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    column = pixel - row * width
    side = 2 * radius + 1
    a += item * channels * plane
    b += item * channels * plane
    mean_a = means + item * channels
    mean_b = mean_a + half * channels
    correlation += item * (side * side + 2) * plane + pixel
    sharp = tl.load(sharpness) * SHARPNESS
    length = tl.full([BLOCK], 0.0, tl.float32)
    for channel in range(channels):
        own = tl.load(a + channel * plane + pixel, mask=inside, other=0.0) - tl.load(mean_a + channel)
        length += own * own
    length = tl.maximum(tl.sqrt(length), 1e-12)
    # A soft maximum as it grows, in terms of the largest so far.
    most = tl.full([BLOCK], -float("inf"), tl.float32)
    total = tl.full([BLOCK], 0.0, tl.float32)
    total_x, total_y = total, total
    for place in range(side * side):
        y = place // side - radius
        x = place - (y + radius) * side - radius
        there = inside & (row + y >= 0) & (row + y < height) & (column + x >= 0) & (column + x < width)
        product = tl.full([BLOCK], 0.0, tl.float32)
        other_length = tl.full([BLOCK], 0.0, tl.float32)
        for channel in range(channels):
            own = tl.load(a + channel * plane + pixel, mask=inside, other=0.0) - tl.load(mean_a + channel)
            other = tl.load(b + channel * plane + pixel + y * width + x, mask=there, other=0.0)
            other -= tl.load(mean_b + channel)
            product += own * other
            other_length += other * other
        cosine = product / (length * tl.maximum(tl.sqrt(other_length), 1e-12))
        cosine = tl.where(there, cosine, 0.0)
        tl.store(correlation, cosine, mask=inside)
        correlation += plane
        value = cosine * sharp
        largest = tl.maximum(most, value)
        shrink, chance = tl.exp(most - largest), tl.exp(value - largest)
        most = largest
        total = total * shrink + chance
        total_x = total_x * shrink + chance * x
        total_y = total_y * shrink + chance * y
    tl.store(correlation, total_x / total, mask=inside)
    tl.store(correlation + plane, total_y / total, mask=inside)


def correlate(a: Tensor, b: Tensor, means: Tensor, sharpness: Tensor, radius: int) -> Tensor:
    """See warpinr/flow_estimator.py's `FlowStep.correlate_and_match`."""
    batch, channels, height, width = a.shape
    correlation = a.new_empty(batch, (2 * radius + 1) ** 2 + FLOW, height, width)
    block = 64  # of which each takes long: as many programs as can be
    with _on(a):
        _correlate_kernel[-(-height * width // block), batch](
            a,
            b,
            means,
            sharpness,
            correlation,
            batch,
            channels,
            radius,
            height,
            width,
            SHARPNESS=CORRELATION_SHARPNESS,
            BLOCK=block,
        )
    return correlation


@triton.jit
def _mean_image(a, error, at, inside):
    """Return 2/3 of the mean of an image and one that differs from it by `error`."""
    return (2.0 * tl.load(a + at, mask=inside, other=0.0) - tl.load(error + at, mask=inside, other=0.0)) / 3.0


@triton.jit
def _slope(a, error, at0, at1, at3, at4, inside):
    """Return a slope over five pixels; see flow_refinement.py."""
    near = _mean_image(a, error, at3, inside) - _mean_image(a, error, at1, inside)
    far = _mean_image(a, error, at4, inside) - _mean_image(a, error, at0, inside)
    return near - far / 8.0


@triton.jit(do_not_specialize=_SIZES)
def _products_kernel(a, state, products, height, width, BLOCK: tl.constexpr):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    column = pixel - row * width
    last, bottom = width - 1, height - 1
    line = row * width
    x0, x1 = line + tl.maximum(column - 2, 0), line + tl.maximum(column - 1, 0)
    x3, x4 = line + tl.minimum(column + 1, last), line + tl.minimum(column + 2, last)
    y0, y1 = tl.maximum(row - 2, 0) * width + column, tl.maximum(row - 1, 0) * width + column
    y3, y4 = tl.minimum(row + 1, bottom) * width + column, tl.minimum(row + 2, bottom) * width + column
    a += item * 3 * plane
    error = state + (item * 6 + 2) * plane
    products += item * 6 * plane
    xx = tl.full([BLOCK], 0.0, tl.float32)
    yy, squares, xy, y_error, x_error = xx, xx, xx, xx, xx
    for _ in range(3):
        x = _slope(a, error, x0, x1, x3, x4, inside)
        y = _slope(a, error, y0, y1, y3, y4, inside)
        e = tl.load(error + pixel, mask=inside, other=0.0)
        xx += x * x
        yy += y * y
        squares += e * e
        xy += x * y
        y_error += y * e
        x_error += x * e
        a += plane
        error += plane
    tl.store(products + pixel, xx, mask=inside)
    tl.store(products + plane + pixel, yy, mask=inside)
    tl.store(products + 2 * plane + pixel, squares, mask=inside)
    tl.store(products + 3 * plane + pixel, xy, mask=inside)
    tl.store(products + 4 * plane + pixel, y_error, mask=inside)
    tl.store(products + 5 * plane + pixel, x_error, mask=inside)


def lucas_kanade_products(a: Tensor, state: Tensor) -> Tensor:
    """Return what slopes of images and their error are together, by each other, as sums over the colours.

    Args:
        a: (B, 3, h, w).
        state: What `lucas_kanade_try` returns.

    Returns:
        (B, 6, h, w): xx, yy, error by error, xy, y by error, x by error.
    """
    batch, _, height, width = a.shape
    products = torch.empty_like(state)
    with _on(a):
        _products_kernel[_programs(height * width), batch](a, state, products, height, width, BLOCK=BLOCK)
    return products


@triton.jit(do_not_specialize=_SIZES)
def _try_kernel(
    a,
    b,
    flow,
    means,
    table,
    tried,
    damping,
    height,
    width,
    PLANES: tl.constexpr,
    STEPPING: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    flow += item * PLANES * plane
    flow_x = tl.load(flow + pixel, mask=inside, other=0.0)
    flow_y = tl.load(flow + plane + pixel, mask=inside, other=0.0)
    if STEPPING:
        means += item * 6 * plane
        xx = tl.load(means + pixel, mask=inside, other=0.0) + damping
        yy = tl.load(means + plane + pixel, mask=inside, other=0.0) + damping
        xy = tl.load(means + 3 * plane + pixel, mask=inside, other=0.0)
        y_error = tl.load(means + 4 * plane + pixel, mask=inside, other=0.0)
        x_error = tl.load(means + 5 * plane + pixel, mask=inside, other=0.0)
        determinant = xx * yy - xy * xy
        step_x = (yy * x_error - xy * y_error) / determinant
        step_y = (xx * y_error - xy * x_error) / determinant
        length = tl.maximum(tl.sqrt(step_x * step_x + step_y * step_y), 1.0)
        flow_x += step_x / length
        flow_y += step_y / length
    x = (pixel - row * width).to(tl.float32) + flow_x
    y = row.to(tl.float32) + flow_y
    red, green, blue = _fetch(b + item * 3 * plane, table, x, y, height, width, inside, 4, STEPS, BLOCK)
    a += item * 3 * plane
    red = tl.load(a + pixel, mask=inside, other=0.0) - red
    green = tl.load(a + plane + pixel, mask=inside, other=0.0) - green
    blue = tl.load(a + 2 * plane + pixel, mask=inside, other=0.0) - blue
    tried += item * 6 * plane
    tl.store(tried + pixel, flow_x, mask=inside)
    tl.store(tried + plane + pixel, flow_y, mask=inside)
    tl.store(tried + 2 * plane + pixel, red, mask=inside)
    tl.store(tried + 3 * plane + pixel, green, mask=inside)
    tl.store(tried + 4 * plane + pixel, blue, mask=inside)
    tl.store(tried + 5 * plane + pixel, red * red + green * green + blue * blue, mask=inside)


def lucas_kanade_try(a: Tensor, b: Tensor, flow: Tensor, means: Tensor | None, damping: float) -> Tensor:
    """Return a flow from `a` to `b` (B, 3, h, w), after a step of at most a pixel, and how the images differ by it.

    Args:
        a: (B, 3, h, w).
        b: (B, 3, h, w), which is sampled bicubically.
        flow: (B, 2, h, w), or what this returned, in which the flow is.
        means: Of what `lucas_kanade_products` returns, for the step; None for no step.
        damping: See flow_refinement.py.

    Returns:
        (B, 6, h, w): the flow, what is left of `a` in every colour, and its square.
    """
    batch, _, height, width = a.shape
    tried = a.new_empty(batch, 6, height, width)
    with _on(a):
        _try_kernel[_programs(height * width), batch](
            a,
            b,
            flow,
            flow if means is None else means,
            _weights(True, a.device),
            tried,
            damping,
            height,
            width,
            PLANES=flow.shape[1],
            STEPPING=means is not None,
            STEPS=STEPS,
            BLOCK=BLOCK,
        )
    return tried


@triton.jit
def _box(plane, row, column, radius, height, width, inside, BLOCK: tl.constexpr):
    """Return the mean over the square of `radius` around pixels; outside lies the border's value."""
    total = tl.full([BLOCK], 0.0, tl.float32)
    for i in range(-radius, radius + 1):
        line = plane + tl.minimum(tl.maximum(row + i, 0), height - 1) * width
        for j in range(-radius, radius + 1):
            total += tl.load(line + tl.minimum(tl.maximum(column + j, 0), width - 1), mask=inside, other=0.0)
    side = 2 * radius + 1
    return total / (side * side)


@triton.jit(do_not_specialize=_SIZES)
def _accept_kernel(state, tried, squares, means, accepted, radius, apart, height, width, BLOCK: tl.constexpr):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    after = _box(squares + item * apart, row, pixel - row * width, radius, height, width, inside, BLOCK)
    before = tl.load(means + (item * 6 + 2) * plane + pixel, mask=inside, other=0.0)
    closer = after < before
    state += item * 6 * plane + pixel
    tried += item * 6 * plane + pixel
    accepted += item * 6 * plane + pixel
    for _ in range(6):
        new = tl.load(tried, mask=inside, other=0.0)
        tl.store(accepted, tl.where(closer, new, tl.load(state, mask=inside, other=0.0)), mask=inside)
        state += plane
        tried += plane
        accepted += plane


def lucas_kanade_accept(state: Tensor, tried: Tensor, squares: Tensor, means: Tensor, radius: int) -> Tensor:
    """Return what was tried where images differ less by it than before, and the state before elsewhere, (B, 6, h, w).

    Args:
        state: What `lucas_kanade_try` returned before.
        tried: What it returns now.
        squares: Of which the means over squares of `radius` tell by how much images differ, (B, 1, h, w).
        means: By how much they did, as `lucas_kanade_products` has it.
        radius: Pixels.
    """
    batch, _, height, width = state.shape
    accepted = torch.empty_like(state)
    with _on(state):
        _accept_kernel[_programs(height * width), batch](
            state, tried, squares, means, accepted, radius, squares.stride(0), height, width, BLOCK=BLOCK
        )
    return accepted


@triton.jit(do_not_specialize=_SIZES)
def _box_mean_kernel(values, means, radius, planes, apart, height, width, BLOCK: tl.constexpr):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    number = tl.program_id(1)
    inside = pixel < plane
    row = pixel // width
    item = (number // planes).to(tl.int64)
    values += item * apart + (number % planes) * plane
    mean = _box(values, row, pixel - row * width, radius, height, width, inside, BLOCK)
    tl.store(means + number.to(tl.int64) * plane + pixel, mean, mask=inside)


def box_mean(values: Tensor, radius: int) -> Tensor:
    """See flow_refinement.py's `box_mean`. The planes (h, w) of an item lie one behind the other."""
    batch, planes, height, width = values.shape
    means = values.new_empty(values.shape)
    with _on(values):
        _box_mean_kernel[_programs(height * width), batch * planes](
            values, means, radius, planes, values.stride(0), height, width, BLOCK=BLOCK
        )
    return means


@triton.jit(do_not_specialize=_SIZES)
def _smooth_directions_kernel(flow, smooth, distance, half, height, width, BLOCK: tl.constexpr):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1)
    inside = pixel < plane
    row = pixel // width
    other = flow + ((item + half) % (2 * half)).to(tl.int64) * 2 * plane
    flow += item.to(tl.int64) * 2 * plane
    smooth += item.to(tl.int64) * 2 * plane
    flow_x = tl.load(flow + pixel, mask=inside, other=0.0)
    flow_y = tl.load(flow + plane + pixel, mask=inside, other=0.0)
    x, y = (pixel - row * width).to(tl.float32) + flow_x, row.to(tl.float32) + flow_y
    rest_x = -_bilinear(other, x, y, height, width, inside) - flow_x
    rest_y = -_bilinear(other + plane, x, y, height, width, inside) - flow_y
    same = rest_x * rest_x + rest_y * rest_y < distance
    tl.store(smooth + pixel, tl.where(same, flow_x + rest_x / 2.0, flow_x), mask=inside)
    tl.store(smooth + plane + pixel, tl.where(same, flow_y + rest_y / 2.0, flow_y), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _smooth_places_kernel(flow, smooth, distance, radius, height, width, BLOCK: tl.constexpr):
    plane = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    inside = pixel < plane
    row = pixel // width
    column = pixel - row * width
    flow += item * 2 * plane
    smooth += item * 2 * plane
    flow_x = tl.load(flow + pixel, mask=inside, other=0.0)
    flow_y = tl.load(flow + plane + pixel, mask=inside, other=0.0)
    mean_x = _box(flow, row, column, radius, height, width, inside, BLOCK)
    mean_y = _box(flow + plane, row, column, radius, height, width, inside, BLOCK)
    rest_x, rest_y = flow_x - mean_x, flow_y - mean_y
    same = rest_x * rest_x + rest_y * rest_y < distance
    tl.store(smooth + pixel, tl.where(same, mean_x, flow_x), mask=inside)
    tl.store(smooth + plane + pixel, tl.where(same, mean_y, flow_y), mask=inside)


def smooth_directions(flow: Tensor, distance: float) -> Tensor:
    """Return flows (2B, 2, h, w), each the mean of both directions' where their difference's square is less."""
    batch, _, height, width = flow.shape
    smooth = torch.empty_like(flow)
    with _on(flow):
        _smooth_directions_kernel[_programs(height * width), batch](
            flow, smooth, distance, batch // 2, height, width, BLOCK=BLOCK
        )
    return smooth


def smooth_places(flow: Tensor, distance: float, radius: int) -> Tensor:
    """Return flows (B, 2, h, w), each the mean of those around it where its difference's square is less."""
    batch, _, height, width = flow.shape
    smooth = torch.empty_like(flow)
    with _on(flow):
        _smooth_places_kernel[_programs(height * width), batch](
            flow, smooth, distance, radius, height, width, BLOCK=BLOCK
        )
    return smooth


def _programs(pixels: int) -> int:
    return -(-pixels // BLOCK)


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    """What is launched meanwhile runs on the device of a tensor."""
    kind = tensor.device.type
    return nullcontext() if kind == "cpu" else torch.get_device_module(kind).device(tensor.device)
