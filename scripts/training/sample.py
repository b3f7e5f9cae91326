"""One training batch, however it was made, and the low-resolution frames that a network sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.model.sampling import resize


@dataclass(frozen=True)
class Kind:
    """What batches are to be like, whoever makes them."""

    batch: int  # samples
    side: int  # low-resolution pixels a side
    window: int  # full-size pixels a side, at most, that the loss looks at: see Target
    compressed: float  # see `disturb`


@dataclass
class Target:
    """What the network must say at time `t` in `window` (top, left, height, width) of the full-size picture."""

    t: float
    window: tuple[int, int, int, int]
    rgb: Tensor  # (B, 3, height, width)


@dataclass
class Batch:
    """A pair of low-resolution frames and the truth at some times between them."""

    frame0: Tensor  # (B, 3, h, w) in [0, 1]
    frame1: Tensor
    size: tuple[int, int]  # (H, W) of the truth
    targets: list[Target]
    flow: Tensor | None = None  # (2B, 2, h, w), 0 → 1 then 1 → 0, low-resolution pixels; None where nobody knows
    middle: tuple[Tensor, Target] | None = None  # a frame between them (B, 3, h, w), and what it must look like
    beyond: Tensor | None = None  # the frame as far after frame 1 as the middle one is before it


def shrink(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bicubic reduction (a = -0.5), rounded to 8 bit as users' clips are."""
    if frames.shape[-2:] != size:
        frames = resize(frames, size)
    return (frames.clamp(0, 1) * 255).round() / 255


def disturb(frames: list[Tensor], compressed: float, random: torch.Generator) -> list[Tensor]:
    """What users' clips suffer, mildly: a slight blur, then noise, then H.264 in a share `compressed` of all cases."""
    strength, blur, chance, quality = torch.rand(4, generator=random).tolist()
    kernel = torch.tensor([blur * 0.15, 1 - blur * 0.3, blur * 0.15])
    kernel = (kernel[:, None] * kernel)[None, None].expand(3, 1, 3, 3)
    result = []
    for frame in frames:
        noise = torch.randn(frame.shape, generator=random).to(frame)
        soft = F.conv2d(F.pad(frame, (1, 1, 1, 1), mode="replicate"), kernel.to(frame), groups=3)
        result.append(((soft + noise * strength * 3 / 255).clamp(0, 1) * 255).round() / 255)
    return compress(result, 16 + 10 * quality) if chance < compressed else result


def compress(frames: list[Tensor], crf: float) -> list[Tensor]:
    """Frames (B, 3, h, w) as they come back from H.264 in 4:2:0, each of the batch being a short clip of its own."""
    import av  # not to be had on a machine without a network, where `compressed` is 0

    height, width = frames[0].shape[-2:]
    result = [torch.empty_like(frame) for frame in frames]
    for number in range(frames[0].shape[0]):
        encoder = av.VideoCodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
        encoder.options = {"crf": f"{crf:.1f}", "preset": "veryfast", "bf": "0"}
        packets = []
        for time, frame in enumerate(frames):
            even = F.pad(frame[number : number + 1], (0, width % 2, 0, height % 2), mode="replicate")[0]
            rgb = (even * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts = time
            packets += encoder.encode(picture)
        packets += encoder.encode(None)
        decoder = av.VideoCodecContext.create("h264", "r")
        decoder.thread_count = 1
        decoded = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
        for whole, picture in zip(result, decoded, strict=True):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24")[:height, :width])
            whole[number] = torch.from_numpy(rgb).permute(2, 0, 1) / 255
    return result


def pick_window(size: tuple[int, int], limit: int, random: torch.Generator) -> tuple[int, int, int, int]:
    """A random part of at most `limit` pixels a side."""
    height, width = (min(limit, side) for side in size)
    top = int(torch.randint(size[0] - height + 1, (), generator=random))
    left = int(torch.randint(size[1] - width + 1, (), generator=random))
    return top, left, height, width


def seed_of(seed: int, number: int) -> int:
    """The seed of one batch: training can stop and go on at any number, and batches can be made side by side."""
    return seed * 1_000_003 + number


def pick_scale(random: torch.Generator) -> float:
    """Real scales from 1 to 4; every second time one of the whole factors that people ask for most.

    Of these 4 twice as often: there is most to learn, and what is learned of it is right at smaller scales as well.
    """
    if float(torch.rand((), generator=random)) < 0.5:
        return 1 + 3 * float(torch.rand((), generator=random))
    return (2.0, 3.0, 4.0, 4.0)[int(torch.randint(4, (), generator=random))]
