"""Two frames warped to a time between them and blended: what a picture between others is made of at the end.

`warp_and_blend` does it in one pass by a kernel, in C on a CPU (native/warp_blend.h) and in Triton on a GPU
(triton_kernels.py), and where that cannot be by PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import kernels
from vs_videoinr.networks.fused import fused
from vs_videoinr.networks.sampling import (
    LANCZOS_RADIUS,
    lanczos,
    pixel_grid,
    sample_at,
    sample_lanczos,
)

#: Output pixels made at a time: beside what is kept, little memory is taken, and work can be abandoned.
CHUNK_PIXELS = 1 << 16

#: The same on a GPU, by bicubic (150 bytes a pixel) and by Lanczos's kernel (1.5 KB): it takes as long to begin a piece
#: of work as to do a small one.
GPU_CHUNK_PIXELS = {True: 1 << 22, False: 1 << 19}

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
        twin = partial(_by_torch, check=check)
        return fused("warp_and_blend", twin, frame0.picture, frame1.picture, flow, t, large)
    return _by_kernel(kernel, frame0.packed, frame1.packed, flow, t, large, check)


def enlarge_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a flow (B, 4, h, w), in its own pixels, for a picture of `size` (height, width), in that picture's pixels.

    Bilinear.
    """
    low = flow.shape[-2:]
    if low == size:
        return flow
    scale = torch.linspace(size[1] / low[1], size[0] / low[0], 2, device=flow.device).view(2, 1, 1)
    scaled = (flow.view(-1, 2, 2, *low) * scale).flatten(1, 2)
    return F.interpolate(scaled, size=size, mode="bilinear", align_corners=False)


def _by_torch(frame0: Tensor, frame1: Tensor, flow: Tensor, t: float, large: bool, check: Check) -> Tensor:
    """The kernel's twin."""
    height, width = frame0.shape[-2:]
    both = None if large else torch.cat((frame0, frame1)).contiguous(memory_format=torch.channels_last)
    ways = enlarge_flow(flow, (height, width)).view(-1, 2, 2, height, width).transpose(0, 1)
    chunk = CHUNK_PIXELS if flow.device.type == "cpu" else GPU_CHUNK_PIXELS[large]
    band = max(1, chunk // (width * flow.shape[0]))
    parts = []
    for top in range(0, height, band):
        check()
        rows = min(band, height - top)
        position = ways[..., top : top + rows, :] + pixel_grid(rows, width, flow, top)
        if both is None:
            colour0, colour1 = (
                sample_at(frame, way, "bicubic") for frame, way in zip((frame0, frame1), position, strict=True)
            )
        else:
            colour0, colour1 = sample_lanczos(both, position.flatten(0, 1)).chunk(2)
        parts.append(torch.lerp(colour0, colour1, t))
    return torch.cat(parts, 2) if len(parts) > 1 else parts[0]


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
