"""How often pairs are encoded when a clip is made in chunks: python -m scripts.jobs pairs.

The pairs at the beginning of a chunk were encoded for the one before it as well, for the network looks at the pairs
around a pair, but not across a cut.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import vapoursynth as vs

from scripts import markdown_table
from vs_videoinr.networks.warpinr.network import WarpINR

#: Source frames, output frames for each, and the source frame behind which the scene changes.
SOURCE, RATIO, CUT = 24, 5, 11


def run() -> list[str]:
    """Return the table."""
    core = vs.core.core
    flat = core.std.BlankClip(width=48, height=32, format=vs.RGBS, length=SOURCE, fpsnum=24, keep=True)
    square = core.std.BlankClip(flat, width=8, height=8, color=[0.9, 0.5, 0.1], length=1)
    steps = [core.std.AddBorders(square, n, 40 - n, 12, 12, color=[0.1, 0.3, 0.2]) for n in range(SOURCE)]
    marked = [core.std.SetFrameProps(step, _SceneChangeNext=int(n == CUT)) for n, step in enumerate(steps)]
    clip = core.std.Splice(marked)
    places: dict[str, list[int]] = {
        "one process": [],
        "two chunks, the second begins in the middle of a pair": [RATIO * 6 + 2],
        "… where a pair begins": [RATIO * 6],
        "… behind a marked cut": [RATIO * (CUT + 1)],
    }
    rows = []
    frames: dict[int, list[bytes]] = {}
    for what, cuts in places.items():
        bounds = [0, *cuts, RATIO * SOURCE]
        cells = [what]
        for scale in (1, 2):
            parts = [_made(clip, scale, first, end) for first, end in itertools.pairwise(bounds)]
            made = [frame for part, _ in parts for frame in part]
            if frames.setdefault(scale, made) != made:
                raise SystemExit(f"{what}, {scale}x: chunks have other frames than one process")
            cells.append(str(sum(count for _, count in parts)))
        rows.append(cells)
    return [
        f"{SOURCE} source frames, {RATIO} output frames each, a cut behind frame {CUT}: how many pairs are encoded. "
        "All frames are equal to the last bit.",
        "",
        *markdown_table(("`lite`", "at the clip's size", "at 2x"), rows),
    ]


def _made(clip: Any, scale: int, first: int, end: int) -> tuple[list[bytes], int]:
    """The frames of a chunk from a new filter, and how many pairs it has encoded."""
    count = 0
    original = WarpINR.encode

    def counting(self: WarpINR, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        return original(self, *arguments, **named)

    WarpINR.encode = counting  # type: ignore[method-assign]
    try:
        size = {"width": clip.width * scale, "height": clip.height * scale}
        out = vs.core.videoinr.Upscale(clip, factor_num=RATIO, model="lite", device="cpu", **size)
        frames = []
        for n in range(first, end):
            with out.get_frame(n) as frame:
                digest = hashlib.sha256()
                for plane in range(3):
                    digest.update(memoryview(frame[plane]).tobytes())
                frames.append(digest.digest())
    finally:
        WarpINR.encode = original  # type: ignore[method-assign]
    return frames, count
