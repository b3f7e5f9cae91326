"""What becomes of a picture before a network sees it: it is reduced, and now and then blurred, noisy or compressed."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks.sampling import resize_bicubic

DEGRADED_SHARE = 0.15  # of all batches
MAX_BLUR = 0.15  # weight of each neighbouring pixel in either direction
MAX_NOISE = 3  # grey levels of 255, standard deviation
CRF_MIN, CRF_RANGE = 16, 10  # H.264's constant rate factor, from nearly transparent to mildly visible


def quantise(frames: Tensor) -> Tensor:
    """Frames clamped to [0, 1] and rounded to 8 bit, as users' clips are."""
    return (frames.clamp(0, 1) * 255).round() / 255


def reduce_bicubic(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (B, 3, H, W) at the smaller `size`: antialiased bicubic (a = -0.5), rounded to 8 bit."""
    return quantise(resize_bicubic(frames, size))


def degrade_some(frames: list[Tensor], compressed: float, random: torch.Generator) -> list[Tensor]:
    """Consecutive frames (B, 3, h, w) each, degraded in a share DEGRADED_SHARE of all cases.

    As users' clips are, mildly: a slight blur, then noise, then H.264 in a share `compressed` of the degraded.
    """
    if float(torch.rand((), generator=random)) >= DEGRADED_SHARE:
        return frames
    noise, blur, chance, quality = torch.rand(4, generator=random).tolist()
    line = torch.tensor([blur * MAX_BLUR, 1 - 2 * blur * MAX_BLUR, blur * MAX_BLUR])
    kernel = (line[:, None] * line)[None, None].expand(3, 1, 3, 3)
    result = []
    for frame in frames:
        grain = torch.randn(frame.shape, generator=random).to(frame)
        blurred = F.conv2d(F.pad(frame, (1, 1, 1, 1), mode="replicate"), kernel.to(frame), groups=3)
        result.append(quantise(blurred + grain * noise * MAX_NOISE / 255))
    return compress_h264(result, CRF_MIN + CRF_RANGE * quality) if chance < compressed else result


def compress_h264(frames: list[Tensor], crf: float) -> list[Tensor]:
    """Frames (B, 3, h, w) as they come back from H.264 in 4:2:0, each sample as a clip of its own."""
    height, width = frames[0].shape[-2:]
    result = [torch.empty_like(frame) for frame in frames]
    for sample in range(frames[0].shape[0]):
        encoder = av.VideoCodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
        encoder.options = {"crf": f"{crf:.1f}", "preset": "veryfast", "bf": "0"}
        packets = []
        for number, frame in enumerate(frames):
            even = F.pad(frame[sample : sample + 1], (0, width % 2, 0, height % 2), mode="replicate")[0]
            rgb = (even * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts = number
            packets += encoder.encode(picture)
        packets += encoder.encode(None)
        decoder = av.VideoCodecContext.create("h264", "r")
        decoder.thread_count = 1
        decoded = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
        for frame, picture in zip(result, decoded, strict=True):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24")[:height, :width])
            frame[sample] = torch.from_numpy(rgb).permute(2, 0, 1) / 255
    return result
