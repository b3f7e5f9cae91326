"""Pictures that batches are cut from: photographs and single frames of clips, (3, H, W) uint8 each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from scripts.data.batch import pick_int
from scripts.data.video import cached
from vs_videoinr.networks.warpinr.self_ensemble import TRANSFORMS, transform

STILL_INTERVAL = 12  # frames; neighbouring ones have little that is new
CANDIDATES = 3  # places looked at for every piece: the one with most detail teaches most


def load_photographs(folder: Path) -> list[Tensor]:
    """All photographs of a folder."""
    images = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            images.append(_to_tensor(image.convert("RGB")))
    return images


def load_stills(clips: list[Path], cache: Path) -> list[Tensor]:
    """Every STILL_INTERVAL-th frame of all clips: pictures as cameras of videos take them."""
    frames = (frame for path in clips for frame in cached(path, cache)[::STILL_INTERVAL])
    return [_to_tensor(frame) for frame in frames]


def _to_tensor(picture: object) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def detail(image: Tensor, side: int) -> float:
    """How much neighbouring pixels differ in the middle `side` pixels of (3, H, W) uint8: what will be seen of it."""
    height, width = image.shape[-2:]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    green = image[1, top : top + side : 2, left : left + side : 2].float()
    return float(green.diff(dim=0).abs().mean() + green.diff(dim=1).abs().mean())


def cut_detailed(images: list[Tensor], size: tuple[int, int], side: int, random: torch.Generator) -> Tensor:
    """The piece (3, *size) in [0, 1] with most detail in its middle `side` pixels, of CANDIDATES at random places.

    It is mirrored and transform somehow, and enlarged if the picture is too small.
    """
    best, most = images[0], -1.0
    for _ in range(CANDIDATES):
        image = images[pick_int(len(images), random)]
        top, left = (pick_int(max(1, image.shape[axis + 1] - size[axis] + 1), random) for axis in range(2))
        piece = image[:, top : top + size[0], left : left + size[1]]
        if (found := detail(piece, side)) > most:
            best, most = piece, found
    best = best.float() / 255
    if best.shape[-2:] != size:
        best = F.interpolate(best[None], size=size, mode="bicubic", align_corners=False)[0].clamp(0, 1)
    return transform(best, pick_int(TRANSFORMS, random))
