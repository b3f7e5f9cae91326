"""Random seeks and straight stretches, as a previewer's user makes them, for as long as wanted."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator

import vapoursynth as vs

from scripts import ROOT
from scripts.reliability import resources

CLIP = ROOT / "tests" / "data" / "bunny.mp4"
SAMPLES = 60  # in a run, however long it is
FRAMES_IN_FLIGHT = 4


def wanted(length: int, chance: random.Random) -> Iterator[int]:
    """Frame numbers: now a single seek, now a stretch of up to 30 frames."""
    while True:
        start = chance.randrange(length)
        yield from range(start, min(length, start + chance.choice((1, 1, 1, 8, 30))))


def run(minutes: float, model: str) -> tuple[list[str], bool]:
    """Render for `minutes`; the section's lines, and whether everything stayed flat."""
    core = vs.core
    core.max_cache_size = 64  # MB: VapourSynth's caches, which grow up to this, are not what is looked at
    clip = core.resize.Bicubic(core.bs.VideoSource(str(CLIP), cachemode=0), width=192, height=108)
    clip = core.std.Loop(clip, times=1000)  # so long that hardly a frame is asked for twice
    upscaled = core.videoinr.Upscale(clip, scale=1.5, fps_num=60, model=model, device="cpu")
    frames = wanted(upscaled.num_frames, random.Random(1))
    waiting = deque(upscaled.get_frame_async(next(frames)) for _ in range(FRAMES_IN_FLIGHT))
    start = time.monotonic()
    samples: list[resources.Sample] = []
    counted: list[tuple[str, str]] = []
    done = 0
    while len(samples) < SAMPLES:
        waiting.popleft().result().close()
        waiting.append(upscaled.get_frame_async(next(frames)))
        done += 1
        passed = time.monotonic() - start
        if passed >= (len(samples) + 1) * minutes * 60 / SAMPLES:
            samples.append(resources.sample())
            counted.append(("time, frames", f"{passed / 60:.1f} min, {done}"))
            print(counted[-1][1], *samples[-1][1:], flush=True)
    for future in waiting:
        future.result().close()
    about = (
        f'`Upscale(scale=1.5, fps_num=60, model="{model}")` of `tests/data/bunny.mp4` at 192x108 for {minutes:g} '
        f"minutes, {FRAMES_IN_FLIGHT} frames on their way at a time: {done} frames."
    )
    lines = [about, "", *resources.table(samples, counted), "", resources.verdict(samples)]
    return lines, not resources.growths(samples)
