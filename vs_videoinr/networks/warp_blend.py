"""Two frames warped to a time between them, blended and repaired: what a picture between others is made of at the end.

`warp_and_blend` does it in one pass by a kernel in C (native/warp_blend.h), and where that cannot be by PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vs_videoinr.networks import kernels
from vs_videoinr.networks.sampling import (
    LANCZOS_RADIUS,
    lanczos,
    pixel_grid,
    resize_bicubic,
    sample_at,
    sample_lanczos,
)

#: Output pixels made at a time: beside what is kept, little memory is taken, and work can be abandoned.
CHUNK_PIXELS = 1 << 16

#: The same for a kernel, and for each of its threads.
KERNEL_PIXELS = 1 << 18

#: From so many times their size on frames have nothing as fine as a pixel, which bicubic sampling would blur.
LARGE_SCALE = 2

#: Of the occlusion logit: beyond, one frame is all there is.
MAX_LOGIT = 12.0

Check = Callable[[], None]
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class SampledFrame:
    """A frame (B, 3, H, W) in float32, laid out as it is sampled quickest.

    Attributes:
        picture: The frame; a view of `packed`, where there is that.
        packed: (B, H + 2·BORDER, W + 2·BORDER, 4), colours of a pixel side by side, the border repeated; for kernels.
    """

    picture: Tensor
    packed: Tensor | None = None

    def nbytes(self) -> int:
        """Bytes of tensor memory."""
        return self.picture.nbytes if self.packed is None else self.packed.nbytes


def sampled_frame(picture: Tensor) -> SampledFrame:
    """Return a frame (B, 3, H, W), float32, laid out for `warp_and_blend`."""
    kernel = kernels.kernels_for(picture)
    if kernel is None:
        return SampledFrame(picture)
    packed, border = kernel.packed(picture), kernels.BORDER
    return SampledFrame(packed[:, border:-border, border:-border, :3].permute(0, 3, 1, 2), packed)


def is_large(size: tuple[int, int], source: tuple[int, int]) -> bool:
    """Whether a picture of `size` is so much larger than its source (height, width) that bicubic sampling does."""
    return size[0] * size[1] >= LARGE_SCALE**2 * source[0] * source[1]


def warp_and_blend(
    frame0: SampledFrame,
    frame1: SampledFrame,
    flow: Tensor,
    fine: Tensor,
    t: float,
    *,
    large: bool,
    window: Window | None = None,
    check: Check | None = None,
) -> Tensor:
    """Return the picture at time `t`, strictly between 0 and 1, float32 (B, 3, height, width).

    Args:
        frame0: Frame 0 at the size (H, W) of the whole picture.
        frame1: Frame 1.
        flow: Flow to frame 0 and to frame 1, float32 (B, 4, h, w), in pixels of its own size. It is brought to the
            picture's bilinearly.
        fine: The occlusion logit, positive where frame 1 is to be trusted, and what is added in the end (RGB), float32
            (B, 4, h', w') of any size. It is brought to the picture's by `resize_bicubic`.
        t: The time.
        large: Whether frames are much larger than their sources, see `is_large`. They are sampled by bicubic then, and
            otherwise by Lanczos's kernel.
        window: The part (top, left, height, width) of the picture that is wanted, if not all.
        check: Called between bands of rows; may raise to abandon the work.
    """
    check = check or (lambda: None)
    height, width = frame0.picture.shape[-2:]
    window = window or (0, 0, height, width)
    kernel = kernels.kernels_for(flow, fine, frame0.picture, frame1.picture)
    if kernel is None or frame0.packed is None or frame1.packed is None:
        return _by_torch(frame0.picture, frame1.picture, flow, fine, t, large, window, check)
    return _by_kernel(kernel, frame0.packed, frame1.packed, flow, fine, t, large, window, check)


def flow_in_window(flow: Tensor, size: tuple[int, int], window: Window) -> Tensor:
    """Return a flow (B, 4, h, w), in its own pixels, in a window of a picture of `size`, in that picture's pixels."""
    top, left, height, width = window
    low = flow.shape[-2:]
    shrink = flow.new_tensor([low[1] / size[1], low[0] / size[0]]).view(1, 2, 1, 1)
    corner = flow.new_tensor([left + 0.5, top + 0.5]).view(1, 2, 1, 1)
    query = (pixel_grid(height, width, flow) + corner) * shrink - 0.5
    return sample_at(flow, query.expand(flow.shape[0], -1, -1, -1)) / shrink.repeat(1, 2, 1, 1)


def _by_torch(
    frame0: Tensor, frame1: Tensor, flow: Tensor, fine: Tensor, t: float, large: bool, window: Window, check: Check
) -> Tensor:
    """The kernel's twin."""
    size = (frame0.shape[-2], frame0.shape[-1])
    layout = torch.contiguous_format if large else torch.channels_last  # as each is sampled quickest
    frame0, frame1 = frame0.contiguous(memory_format=layout), frame1.contiguous(memory_format=layout)
    fine = resize_bicubic(fine, size)
    top, left, height, width = window
    rows = max(1, CHUNK_PIXELS // (width * flow.shape[0]))
    parts = []
    for row in range(0, height, rows):
        check()
        part = (top + row, left, min(rows, height - row), width)
        here = pixel_grid(part[2], width, flow) + flow.new_tensor([left, part[0]]).view(1, 2, 1, 1)
        ways = flow_in_window(flow, size, part)
        colour0, colour1 = (
            sample_at(frame, here + way, "bicubic") if large else sample_lanczos(frame, here + way)
            for frame, way in ((frame0, ways[:, 0:2]), (frame1, ways[:, 2:4]))
        )
        fusion = fine[..., part[0] : part[0] + part[2], left : left + width]
        odds = fusion[:, :1].clamp(-MAX_LOGIT, MAX_LOGIT).exp() * (t / (1 - t))
        weight1 = odds / (1 + odds)
        parts.append(colour0 + weight1 * (colour1 - colour0) + fusion[:, 1:])
    return torch.cat(parts, 2)


def _by_kernel(
    kernel: kernels.Kernels,
    frame0: Tensor,
    frame1: Tensor,
    flow: Tensor,
    fine: Tensor,
    t: float,
    large: bool,
    window: Window,
    check: Check,
) -> Tensor:
    top, left, rows, columns = window
    height, width = (side - 2 * kernels.BORDER for side in frame0.shape[1:3])
    flow, fine = (maps.permute(0, 2, 3, 1).contiguous() for maps in (flow, fine))
    fine_rows, fine_columns = _resize_taps(fine.shape[1], height), _resize_taps(fine.shape[2], width)
    # of each thread: three rows of flow, fusion and share, and one of a map
    floats = 9 * columns + 4 * max(flow.shape[2], fine.shape[2])
    scratch = flow.new_empty(kernels.threads(), floats)
    table = None if large else _lanczos_table()
    output = flow.new_empty(len(flow), 3, rows, columns)
    band = max(1, KERNEL_PIXELS * kernels.threads() // columns)
    for item in range(len(flow)):
        job = kernels.WarpBlend(
            (frame0[item].data_ptr(), frame1[item].data_ptr()),
            flow[item].data_ptr(),
            fine[item].data_ptr(),
            output[item].data_ptr(),
            scratch.data_ptr(),
            None if table is None else table.data_ptr(),
            fine_rows.for_kernel(),
            fine_columns.for_kernel(),
            floats,
            *(height, width, *flow.shape[1:3], top, left, rows, columns),
            t / (1 - t),
            MAX_LOGIT,
        )
        for row in range(0, rows, band):
            check()
            kernel.warp_and_blend(job, row, min(rows, row + band))
    return output


@dataclass(frozen=True)
class _Taps:
    """What each output row or column of a resized picture is made of: `taps` inputs from the first one on, weighted."""

    first: Tensor  # (outputs,), int32
    weights: Tensor  # (outputs, taps), float32
    inputs: int

    def for_kernel(self) -> kernels.Resize:
        """The same as the kernel takes it, as long as this lives."""
        return kernels.Resize(self.first.data_ptr(), self.weights.data_ptr(), self.weights.shape[1], self.inputs)


@lru_cache(maxsize=16)
def _resize_taps(inputs: int, outputs: int) -> _Taps:
    """What `resize_bicubic` does along one axis."""
    if inputs == outputs:
        return _Taps(
            torch.arange(outputs, dtype=torch.int32, device="cpu"), torch.ones(outputs, 1, device="cpu"), inputs
        )
    # Antialiasing widens the kernel, which is two pixels to either side, to two output pixels.
    wide = max(1.0, inputs / outputs)
    centre = (torch.arange(outputs, dtype=torch.float64, device="cpu") + 0.5) * (inputs / outputs)
    first = (centre - 2 * wide + 0.5).floor().clamp(min=0)
    behind = (centre + 2 * wide + 0.5).floor().clamp(max=inputs)
    taps = int((behind - first).max())
    first = first.clamp(max=inputs - taps)
    d = ((first[:, None] + torch.arange(taps, device="cpu") + 0.5 - centre[:, None]) / wide).abs()
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = torch.where(d < 1, near, torch.where(d < 2, far, 0.0))
    return _Taps(first.int(), (weights / weights.sum(1, keepdim=True)).float(), inputs)


@lru_cache(maxsize=1)
def _lanczos_table() -> Tensor:
    """Weights of the pixels around a place, by its distance from the one before it, (LANCZOS_STEPS + 1, 8)."""
    table = torch.zeros(kernels.LANCZOS_STEPS + 1, 8, device="cpu")
    table[:, : 2 * LANCZOS_RADIUS] = lanczos(torch.linspace(0, 1, len(table), dtype=torch.float64, device="cpu"))
    return table
