"""Two frames warped to a time between them and blended: what a picture between others is made of at the end.

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
    sample_at,
    sample_lanczos,
)

#: Output pixels made at a time: beside what is kept, little memory is taken, and work can be abandoned.
CHUNK_PIXELS = 1 << 16

#: The same for a kernel, and for each of its threads.
KERNEL_PIXELS = 1 << 18

#: From so many times their size on frames have nothing as fine as a pixel, which bicubic sampling would blur.
LARGE_SCALE = 2

Check = Callable[[], None]


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
    t: float,
    *,
    large: bool,
    check: Check | None = None,
) -> Tensor:
    """Return the picture at time `t`, 0 to 1, float32 (B, 3, H, W).

    Args:
        frame0: Frame 0 at the size (H, W) of the picture.
        frame1: Frame 1.
        flow: Flow to frame 0 and to frame 1, float32 (B, 4, h, w), in pixels of its own size. It is brought to the
            picture's bilinearly.
        t: The time, which is the share of frame 1.
        large: Whether frames are much larger than their sources, see `is_large`. They are sampled by bicubic then, and
            otherwise by Lanczos's kernel.
        check: Called between bands of rows; may raise to abandon the work.
    """
    check = check or (lambda: None)
    kernel = kernels.kernels_for(flow, frame0.picture, frame1.picture)
    if kernel is None or frame0.packed is None or frame1.packed is None:
        return _by_torch(frame0.picture, frame1.picture, flow, t, large, check)
    return _by_kernel(kernel, frame0.packed, frame1.packed, flow, t, large, check)


def enlarge_flow(flow: Tensor, size: tuple[int, int], top: int = 0, rows: int | None = None) -> Tensor:
    """Return a flow (B, 4, h, w), in its own pixels, for a picture of `size` (height, width), in that picture's pixels.

    Bilinear; of the `rows` from `top` on, or of all.
    """
    height, width = size
    low = flow.shape[-2:]
    shrink = flow.new_tensor([low[1] / width, low[0] / height]).view(1, 2, 1, 1)
    corner = flow.new_tensor([0.5, top + 0.5]).view(1, 2, 1, 1)
    query = (pixel_grid(height if rows is None else rows, width, flow) + corner) * shrink - 0.5
    return sample_at(flow, query.expand(flow.shape[0], -1, -1, -1)) / shrink.repeat(1, 2, 1, 1)


def _by_torch(frame0: Tensor, frame1: Tensor, flow: Tensor, t: float, large: bool, check: Check) -> Tensor:
    """The kernel's twin."""
    height, width = frame0.shape[-2:]
    layout = torch.contiguous_format if large else torch.channels_last  # as each is sampled quickest
    frame0, frame1 = frame0.contiguous(memory_format=layout), frame1.contiguous(memory_format=layout)
    band = max(1, CHUNK_PIXELS // (width * flow.shape[0]))
    parts = []
    for top in range(0, height, band):
        check()
        rows = min(band, height - top)
        here = pixel_grid(rows, width, flow) + flow.new_tensor([0, top]).view(1, 2, 1, 1)
        ways = enlarge_flow(flow, (height, width), top, rows)
        colour0, colour1 = (
            sample_at(frame, here + way, "bicubic") if large else sample_lanczos(frame, here + way)
            for frame, way in ((frame0, ways[:, 0:2]), (frame1, ways[:, 2:4]))
        )
        parts.append(colour0 + t * (colour1 - colour0))
    return torch.cat(parts, 2)


def _by_kernel(
    kernel: kernels.Kernels, frame0: Tensor, frame1: Tensor, flow: Tensor, t: float, large: bool, check: Check
) -> Tensor:
    height, width = (side - 2 * kernels.BORDER for side in frame0.shape[1:3])
    flow = flow.permute(0, 2, 3, 1).contiguous()
    floats = 4 * (width + flow.shape[2])  # of each thread: a row of flow, and one of the map
    threads = kernels.thread_count()
    scratch = flow.new_empty(threads, floats)
    table = None if large else _lanczos_table()
    output = flow.new_empty(len(flow), 3, height, width)
    band = max(1, KERNEL_PIXELS * threads // width)
    for item in range(len(flow)):
        job = kernels.WarpBlend(
            (frame0[item].data_ptr(), frame1[item].data_ptr()),
            flow[item].data_ptr(),
            output[item].data_ptr(),
            scratch.data_ptr(),
            None if table is None else table.data_ptr(),
            floats,
            *(height, width, *flow.shape[1:3]),
            t,
        )
        for row in range(0, height, band):
            check()
            kernel.warp_and_blend(job, row, min(height, row + band), threads)
    return output


@lru_cache(maxsize=1)
def _lanczos_table() -> Tensor:
    """Weights of the pixels around a place, by its distance from the one before it, (LANCZOS_STEPS + 1, 8)."""
    table = torch.zeros(kernels.LANCZOS_STEPS + 1, 8, device="cpu")
    table[:, : 2 * LANCZOS_RADIUS] = lanczos(torch.linspace(0, 1, len(table), dtype=torch.float64, device="cpu"))
    return table
