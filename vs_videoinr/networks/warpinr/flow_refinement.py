"""A flow made more exact by what the two pictures themselves say; nothing here is learned.

Flow is in pixels of the grid it lives on, channels (x, y). All functions take flows and images of pairs in both
directions, (2B, …): frame 0 → 1 in the first half of the batch, frame 1 → 0 in the second; the gradient passes by them.
Where they can, kernels do the work, in C on a CPU (native/motion.h) and in Triton on a GPU (triton_kernels.py), to the
same result but for rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import kernels
from vs_videoinr.networks.cancellation import between_layers
from vs_videoinr.networks.fused import fused, operation
from vs_videoinr.networks.sampling import warp
from vs_videoinr.networks.warpinr.blocks import RGB

STEPS = 3  # that refine a flow
SAME_MOTION_BOTH_WAYS_PX = 0.5  # both directions' estimates of one motion differ by less
SAME_MOTION_NEARBY_PX = 0.2  # estimates of places near by do
SMOOTHING_RADIUS = 2  # of places near by


def box_mean(values: Tensor, radius: int) -> Tensor:
    """Return means over the square of `radius` pixels around each place."""
    side = 2 * radius + 1
    values = F.pad(values, (radius,) * 4, mode="replicate")
    if values.device.type != "cpu":  # a GPU begins one piece of work sooner than two
        return F.avg_pool2d(values, side, 1)
    return F.avg_pool2d(F.avg_pool2d(values, (1, side), 1), (side, 1), 1)


def tent_mean(values: Tensor, radius: int) -> Tensor:
    """Return means over the square of `radius` pixels around each place, weighted less the farther off."""
    return box_mean(box_mean(values, (radius + 1) // 2), radius // 2)


def refine_lucas_kanade(flow: Tensor, a: Tensor, b: Tensor, radius: int, damping: float) -> Tensor:
    """Return a flow from image `a` to `b` improved to fractions of a pixel (Lucas and Kanade, 1981).

    Three steps of at most a pixel each: the displacement that best explains, in the square of `radius` pixels around
    each pixel, how the images still differ; taken where it does explain more. Images are sampled bicubically: what
    bilinear sampling blurs would be taken for motion. A network that estimates flow is good at finding about where
    something went, and this at saying exactly where.

    Args:
        flow: (2B, 2, h, w).
        a: (2B, C, h, w).
        b: (2B, C, h, w).
        radius: Pixels.
        damping: Added to the squares of slopes: how much contrast a step needs.
    """
    with torch.no_grad():
        kernel = kernels.kernels_for(flow, a, b)
        if a.shape[1] != RGB or radius > kernels.MAX_MEAN_RADIUS:
            better = _refine_by_torch(flow, a, b, radius, damping)
        elif kernel is None:
            given = flow, a.float(), b.float(), radius, damping
            better = fused("refine_lucas_kanade", _refine_by_torch, *given, work=_refine_by_triton)
        else:
            better = _refine_by_kernel(kernel, flow, a, b, radius, damping)
    return _with_gradient_of(flow, better)


def smooth_consistent_flow(flow: Tensor) -> Tensor:
    """Return flows (2B, 2, h, w) with less noise, where both directions, and places near by, agree but for noise.

    What the one direction says of a place and what the other does are two estimates of the same, and so are those of
    its neighbours: their mean errs less. Where they differ by more than noise would, they are of different things, and
    stay as they are.
    """
    with torch.no_grad():
        kernel = kernels.kernels_for(flow)
        if kernel is None:
            smooth = fused("smooth_consistent_flow", _smooth_by_torch, flow, work=_smooth_by_triton)
        else:
            smooth = _smooth_by_kernel(kernel, flow)
    return _with_gradient_of(flow, smooth)


def _with_gradient_of(flow: Tensor, found: Tensor) -> Tensor:
    """Return what was found; the gradient passes by it, to the flow that it was made of."""
    return flow + (found - flow.detach()) if flow.requires_grad and torch.is_grad_enabled() else found


def _refine_by_torch(flow: Tensor, a: Tensor, b: Tensor, radius: int, damping: float) -> Tensor:
    a, b = a.float(), b.float()
    error, two_thirds = a - warp(b, flow, "bicubic"), a * (2 / 3)
    for _ in range(STEPS):
        between_layers()
        # Of both images' mean. All that is averaged is so at a time: a GPU takes as long to begin as to do it.
        x, y = _slopes(torch.add(two_thirds, error, alpha=-1 / 3))
        parts = torch.stack((y, x, error, y), 1)
        # (B, 2, 3, C, h, w): each with itself, and with the next one.
        products = (parts[:, None, :3] * parts.unfold(1, 2, 1).movedim(-1, 1)).sum(3)
        means = tent_mean(products.flatten(1, 2), radius)
        before, xy, errors = means[:, 2:3], means[:, 3:4], means[:, 4:]  # x_error and y_error
        squares = means[:, :2].add_(damping)  # yy and xx
        # A step is this divided by the determinant, or by what makes it a pixel long.
        step = torch.addcmul(squares * errors, xy, errors.flip(1), value=-1)
        determinant = torch.addcmul(squares.prod(1, keepdim=True), xy, xy, value=-1)
        length = torch.linalg.vector_norm(step, dim=1, keepdim=True)
        tried_flow = torch.addcdiv(flow, step, torch.maximum(determinant, length))
        tried = a - warp(b, tried_flow, "bicubic")
        closer = tent_mean(tried.square().sum(1, keepdim=True), radius) < before
        flow, error = torch.where(closer, tried_flow, flow), torch.where(closer, tried, error)
    return flow


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes in x and y of a picture, given as 2/3 of it, over five pixels.

    Over three, what is fine would seem less steep than it is.
    """
    height, width = image.shape[-2:]
    wide = F.pad(image, (2, 2, 2, 2), mode="replicate")
    x = [wide[..., 2:-2, i : i + width] for i in (0, 1, 3, 4)]
    y = [wide[..., i : i + height, 2:-2] for i in (0, 1, 3, 4)]
    return tuple(  # type: ignore[return-value]
        torch.sub(line[2] - line[1], line[3] - line[0], alpha=1 / 8) for line in (x, y)
    )


def _refine_by_triton(flow: Tensor, a: Tensor, b: Tensor, radius: int, damping: float) -> Tensor:
    names = "lucas_kanade_products", "lucas_kanade_try", "lucas_kanade_accept", "box_mean"
    products, step, accept, mean = (operation(name) for name in names)
    first, second = (radius + 1) // 2, radius // 2  # of a `tent_mean`
    state = step(a, b, flow, None, damping)  # the flow, the error, and its square
    for _ in range(STEPS):
        means = mean(mean(products(a, state), first), second)
        tried = step(a, b, state, means, damping)
        state = accept(state, tried, mean(tried[:, -1:], first), means, second)
    return state[:, :2]


def _refine_by_kernel(
    kernel: kernels.Kernels, flow: Tensor, a: Tensor, b: Tensor, radius: int, damping: float
) -> Tensor:
    height, width = flow.shape[-2:]
    stride = kernels.row_stride(width)
    planes = flow.new_empty(kernels.LUCAS_KANADE_PLANES, height, stride)
    job = kernels.LucasKanade(
        planes=planes.data_ptr(), height=height, width=width, stride=stride, radius=radius, damping=damping
    )
    scratch = kernel.scratch_for(job)
    result = torch.empty_like(flow, memory_format=torch.contiguous_format)
    for item, (one, into) in enumerate(zip(flow, result, strict=True)):
        packed = [kernel.packed(frames[item : item + 1]) for frames in (a, b)]  # of one direction at a time
        job.a, job.b = (frame.data_ptr() for frame in packed)
        if stride > width:
            planes[:2, :, width:] = 0
        planes[:2, :, :width] = one
        kernel.work("lucas_kanade_start", job, scratch)
        for _ in range(STEPS):
            between_layers()
            kernel.work("lucas_kanade_solve", job, scratch)
            kernel.work("lucas_kanade_accept", job, scratch)
        into.copy_(planes[:2, :, :width])
    return result


def _smooth_by_torch(flow: Tensor) -> Tensor:
    apart = flow + warp(flow.roll(flow.shape[0] // 2, 0), flow)  # from the other direction's, turned round
    flow = torch.sub(flow, apart * _shorter_than(apart, SAME_MOTION_BOTH_WAYS_PX), alpha=0.5)
    mean = box_mean(flow, SMOOTHING_RADIUS)
    return torch.where(_shorter_than(flow - mean, SAME_MOTION_NEARBY_PX), mean, flow)


def _smooth_by_triton(flow: Tensor) -> Tensor:
    between = operation("smooth_directions")(flow, SAME_MOTION_BOTH_WAYS_PX**2)
    return operation("smooth_places")(between, SAME_MOTION_NEARBY_PX**2, SMOOTHING_RADIUS)


def _shorter_than(flow: Tensor, length_px: float) -> Tensor:
    """Where a flow (B, 2, h, w) is shorter: (B, 1, h, w) bool."""
    return flow.square().sum(1, keepdim=True) < length_px**2


def _smooth_by_kernel(kernel: kernels.Kernels, flow: Tensor) -> Tensor:
    height, width = flow.shape[-2:]
    stride = kernels.row_stride(width)
    flow = flow.contiguous()
    between, result = flow.new_empty(2, height, stride), torch.empty_like(flow)
    job = kernels.Smooth(
        between=between.data_ptr(),
        height=height,
        width=width,
        stride=stride,
        both_ways=SAME_MOTION_BOTH_WAYS_PX**2,
        near_by=SAME_MOTION_NEARBY_PX**2,
    )
    scratch = kernel.scratch_for(job)
    for one, other, into in zip(flow, flow.roll(flow.shape[0] // 2, 0), result, strict=True):
        job.flow, job.other, job.result = one.data_ptr(), other.data_ptr(), into.data_ptr()
        kernel.work("smooth_directions", job, scratch)
        kernel.work("smooth_places", job, scratch)
    return result
