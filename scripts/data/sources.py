"""All sources of batches that a configuration can ask for, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from scripts.data.batch import BatchSpec, Source
from scripts.data.clips import Clips
from scripts.data.drawings import draw
from scripts.data.feed import Batches, Feed
from scripts.data.pans import Pans
from scripts.data.photographs import Photographs
from scripts.data.pictures import load_photographs, load_stills
from scripts.data.single_frames import SingleFrames


@dataclass(frozen=True)
class DetailConfig:
    """The batches that teach detail alone."""

    batch: int
    side: int


@dataclass(frozen=True)
class DataConfig:
    """What to train on; `scripts/configs/base.yaml` explains each setting."""

    photos: str
    clips: str
    val: str
    shares: dict[str, float]
    drawn: int
    fades: float
    batch: int
    side: int
    detail: DetailConfig
    compressed: float
    workers: int
    max_motion: float


def make_feed(config: DataConfig, frames: Path, device: torch.device, seed: int) -> Feed:
    """Batches, on a device, of all sources that have a share; `frames` is the folder of decoded clips."""
    spec = BatchSpec(config.batch, config.side, config.compressed)
    wide = replace(spec, batch=max(1, spec.batch // 4), side=2 * spec.side)
    detail = replace(spec, batch=config.detail.batch, side=config.detail.side)
    motion = config.max_motion
    images = load_photographs(Path(config.photos))
    if not images:
        raise SystemExit(f"there are no photographs (*.jpg) in {config.photos}")
    clips = sorted(Path(config.clips).glob("*.mp4"))

    @cache
    def drawings() -> list[Tensor]:
        return draw(config.drawn, images, seed, config.workers)

    @cache
    def pictures() -> list[Tensor]:
        return images + load_stills(clips, frames)

    photographs = Photographs(images, spec, motion, seed)
    sources: dict[str, Callable[[], Source]] = {
        "photographs": lambda: photographs,
        # as many pixels in fewer pictures, for motion that would leave small ones
        "wide": lambda: Photographs(images, wide, 2 * motion, seed),
        "pans": lambda: Pans(images, spec, motion, seed),
        "drawings": lambda: Pans(drawings(), detail, motion, seed, between=False),
        "stills": lambda: Pans(pictures(), detail, motion, seed, between=False),
        "clips": lambda: Clips(clips, frames, spec, seed),
        "single drawings": lambda: SingleFrames(drawings(), detail, seed),
        "single stills": lambda: SingleFrames(pictures(), detail, seed),
    }
    if unknown := sorted(config.shares.keys() - sources.keys()):
        raise SystemExit(f"there is no source of batches called {unknown[0]!r}: give shares to {', '.join(sources)}")
    made = [(config.shares[name], make()) for name, make in sources.items() if config.shares.get(name, 0) > 0]
    return Feed(Batches(photographs, made, config.fades, seed), config.workers, device)
