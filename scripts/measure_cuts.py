"""How the scene detector does on the training clips: python -m scripts.measure_cuts ../shared/data/train/clips/*.mp4.

The cuts were found by eye among the pairs of frames that differ most by several measures; frames are counted from 0,
and each number is the last frame of its scene.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts import command
from scripts.data.video import CACHE, cached
from vs_videoinr.plugin.scene_cuts import MAX_REPEATS, THRESHOLD, Verdict, cells, difference, judge

CUTS = {"sintel_24": [3, 65, 73, 89, 240, 290, 327, 341], "bunny_24": [84, 177], "bunny_60": [20], "city_25": [115]}


def main() -> None:
    """Print what the detector takes for a cut, and what it misses."""
    parser = command("measure_cuts", __doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    arguments = parser.parse_args()
    pairs = found = missed = wrong = 0
    for path in arguments.clips:
        frames = [cells(np.moveaxis(frame, 2, 0).astype(np.float32) / 255) for frame in cached(path, arguments.cache)]
        for n in range(len(frames) - 1):
            pairs += 1
            value = difference(frames[n], frames[n + 1])
            before, after = frames[max(n - MAX_REPEATS, 0) : n][::-1], frames[n + 2 : n + 2 + MAX_REPEATS]
            true = n in CUTS.get(path.stem, [])
            taken = judge(frames[n], frames[n + 1], before, after, arguments.threshold) != Verdict.NO_CUT
            found += true and taken
            missed += true and not taken
            wrong += taken and not true
            if true or taken:
                word = "found" if true and taken else "missed" if true else "taken for a cut"
                print(f"{path.stem} {n}: {value:.3f} {word}")
    print(f"{pairs} pairs, threshold {arguments.threshold:g}: {found} cuts found, {missed} missed, {wrong} wrong")


if __name__ == "__main__":
    main()
