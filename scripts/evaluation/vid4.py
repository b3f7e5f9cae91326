"""The protocol by which papers on space-time super-resolution measure Vid4, on any folder of clips."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from scripts.data.video import Frames, decode, to_tensor
from scripts.evaluation.measure import label, method_of, produce, reduced
from scripts.evaluation.metrics import luma, psnr, ssim

SCALE, RATE = 4, 2

DEFINITIONS = f"""\
Every second frame of a clip, from the first on, is reduced to a quarter of its width and height (bicubic, a = -0.5,
antialiased, as MATLAB's imresize but for the outermost pixels; rounded to 8 bit) and given to the method, which returns
{SCALE}x the size and {RATE}x the rate through VapourSynth. All frames from the first that is given to the last one are
compared with the originals, rounded to 8 bit: those that were given and those between them. So a clip with an even
number of frames loses its last one, which the authors of Zooming Slow-Mo reach through a last window of the other
frames. Sides are cut off at the bottom and on the right to multiples of {SCALE}; no border is left out. PSNR and SSIM
are on Y (BT.601, 16 to 235, not rounded); SSIM has a Gaussian window of 11 pixels, sigma 1.5, that lies inside the
picture. A clip's score is the mean over its frames, "mean" is the mean over clips. Cells: PSNR in dB / SSIM.
"""

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".y4m"}


class Score(NamedTuple):
    """Means over the frames of a clip, or over clips."""

    psnr: float
    ssim: float

    def __str__(self) -> str:
        return f"{self.psnr:.2f} / {self.ssim:.4f}"


def clips(folder: Path) -> Iterator[tuple[str, Frames]]:
    """Name and frames of every clip in a folder: videos, and folders of pictures in the order of their numbers.

    Ends the script with a sentence where there is none, or pictures are not of one size.
    """
    found = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir():
            files = [file for file in path.iterdir() if file.suffix.lower() in PICTURES]
            if files:
                yield path.name, _pictures(path, sorted(files, key=_number))
                found += 1
        elif path.suffix.lower() in VIDEOS:
            yield path.stem, decode(path)
            found += 1
    if not found:
        raise SystemExit(f"{folder} holds no clips: give a folder of videos, or of folders of pictures")


def _number(file: Path) -> tuple[int, str]:
    """What a picture of a clip is sorted by: the last number in its name."""
    numbers = re.findall(r"\d+", file.stem)
    return (int(numbers[-1]) if numbers else -1, file.name)


def _pictures(clip: Path, files: list[Path]) -> Frames:
    frames = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    if len({frame.shape for frame in frames}) > 1:
        raise SystemExit(f"the pictures of {clip} are not of one size")
    return np.stack(frames)


def score(frames: Frames, method: str) -> Score:
    """What a method scores on a clip."""
    low, truth = reduced(frames, SCALE)
    made, _ = produce(method_of(method), low, (truth.shape[2], truth.shape[1]), RATE)
    lumas = [tuple(luma(to_tensor(one)[None]) for one in both) for both in zip(made, truth, strict=False)]
    return Score(
        statistics.fmean(psnr(ours, aim) for ours, aim in lumas),
        statistics.fmean(ssim(ours, aim) for ours, aim in lumas),
    )


def table(scores: dict[str, dict[str, Score]]) -> str:
    """The definitions, and a Markdown table of scores by method and clip."""
    names = list(next(iter(scores.values())))
    lines = [f"| method | {' | '.join(names)} | mean |", "|---" * (len(names) + 2) + "|"]
    for method, row in scores.items():
        mean = Score(*(statistics.fmean(column) for column in zip(*row.values(), strict=True)))
        lines.append(f"| {label(method)} | {' | '.join(str(row[name]) for name in names)} | {mean} |")
    return "\n".join([DEFINITIONS, *lines])
