"""Show what the plugin does on a real clip: python -m scripts.demo.

Writes the clip at 3.5 times its size and 240 fps with its sound, and one moment between two of its frames beside what
resizing and blending gives. On a slow machine only as much of the clip is made as takes about two minutes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vapoursynth as vs

from scripts import ROOT

CLIP = ROOT / "tests" / "data" / "bunny.mp4"
SCALE, FPS = 3.5, 240
MOMENT = 7.5  # of the picture, in source frames

Progress = Callable[[int, int], None]


def main() -> None:
    """Read the command line and make video and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=90, help="how long the video may take (default: 90; inf for all of the clip)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "out", help="folder for video and picture (default: out)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    core = vs.core.core
    clip = core.bs.VideoSource(str(CLIP), cachemode=0)

    say(f"Making a picture from between two frames of {CLIP.name} ...")
    picture = arguments.output / "side_by_side.png"
    encode(side_by_side(core, clip), picture, "-frames:v", "1")

    out = core.videoinr.Upscale(clip, scale=SCALE, fps_num=FPS)
    size, rate = f"{clip.width}x{clip.height}", clip.fps.numerator / clip.fps.denominator
    say(f"Making {size} at {rate:g} fps into {out.width}x{out.height} at {FPS} fps, on {device(core)} ...")
    frames = affordable(out, len(out) // len(clip), arguments.seconds)
    if frames < len(out):
        part = f"{frames / FPS:.1f} of {len(out) / FPS:.1f} seconds"
        say(f"(the first {part}, for this machine is slow; all of it with --seconds inf)")
    video = arguments.output / "demo.mp4"
    tags = [part for name in ("color_primaries", "color_trc", "colorspace") for part in (f"-{name}", "bt709")]
    encode(
        out[:frames],
        video,
        *("-i", str(CLIP), "-map", "0:v", "-map", "1:a", "-c:a", "copy", "-shortest"),
        *("-c:v", "libx264", "-crf", "16", "-preset", "medium", "-pix_fmt", "yuv420p", "-color_range", "tv", *tags),
        *("-movflags", "+faststart"),
        progress=remaining(),
    )
    say("Done:")
    print(video, picture, sep="\n")


def side_by_side(core: Any, clip: Any) -> Any:
    """Return one frame: a moment by Spline36 and blending on the left, by videoinr on the right."""
    ours = core.videoinr.Query(clip, times=[MOMENT], scale=SCALE)
    before = int(MOMENT)
    blend = core.std.Merge(clip[before], clip[before + 1], weight=MOMENT - before)
    theirs = core.resize.Spline36(blend, ours.width, ours.height)
    return core.std.StackHorizontal([core.text.Text(theirs, "Spline36, blended"), core.text.Text(ours, "videoinr")])


def device(core: Any) -> str:
    """Return in words what computes."""
    return "the CPU" if core.videoinr.Version()["devices"] == "cpu" else "a GPU"


def affordable(out: Any, pair: int, seconds: float) -> int:
    """Return how many frames of `out` can be made in time, after a try: the first `pair`, between two of the clip's."""
    start = time.monotonic()
    for frame in out[:pair].frames(close=True):
        del frame
    pairs = seconds / (time.monotonic() - start)
    return len(out) if pairs * pair >= len(out) else max(int(pairs), 1) * pair


def encode(clip: Any, path: Path, *options: str, progress: Progress | None = None) -> None:
    """Let ffmpeg make a file of a clip; exits with what it says where it cannot."""
    command = [ffmpeg(), "-hide_banner", "-loglevel", "error", "-y", "-i", "-", *options, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        try:
            clip.output(encoder.stdin, y4m=True, progress_update=progress)
        finally:
            encoder.stdin.close()
    if encoder.returncode:
        raise SystemExit(f"ffmpeg could not write {path}")


def ffmpeg() -> str:
    """Return the path of the system's ffmpeg, or of the one that is installed with the extra `demo`."""
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def remaining() -> Progress:
    """Return a function that shows how many frames are made and how long the others will take."""
    start = time.monotonic()
    shown = start

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        watched = sys.stderr.isatty()
        if done < total and now - shown < (0.2 if watched else 10):
            return
        shown = now
        left = (now - start) / max(done, 1) * (total - done)
        text = f"  {done} of {total} frames, {left:.0f} s to go"
        end = "" if watched and done < total else "\n"
        print(f"\r{text:40}" if watched else text, end=end, file=sys.stderr, flush=True)

    return show


def say(text: str) -> None:
    """Tell somebody who watches what is going on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
