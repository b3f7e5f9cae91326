"""Make the pictures of the README: python -m scripts.pictures.

Writes docs/pictures from tests/data/bunny.mp4, by `lite`: a frame enlarged, the motion between two frames, and an
animation in slow motion. Needs `pip install '.[test]'`; takes a few minutes on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vapoursynth as vs
from PIL import Image, ImageDraw, ImageFont

from scripts import ROOT

FOLDER = ROOT / "docs" / "pictures"
MODEL = "lite"

Box = tuple[int, int, int, int]  # left, top, right, bottom; pixels of the enlarged picture

#: One frame, enlarged: its number, by how much, and what is seen of it.
FRAME, SCALE, BOX = 8, 4, (50, 60, 466, 470)

#: The motion between two frames: the time, counted in frames, and what Flow is asked for.
TIME, SIZE, REACH_PX = 24.5, (416, 234), 8

#: The animation: source frames from and to, how they are enlarged, what is seen of them, and how fast it is played.
FIRST, LAST, SLOW_SCALE, SLOW_BOX = 24, 30, 3, (115, 0, 435, 280)
FPS, PLAYED_FPS = 240, 24


def main() -> None:
    """Write all three pictures and print their paths and sizes."""
    core = vs.core.core
    clip = core.bs.VideoSource(str(ROOT / "tests" / "data" / "bunny.mp4"), cachemode=0)
    FOLDER.mkdir(exist_ok=True)
    save("enlarged", [enlarged(core, clip)], quality=90)
    save("motion", [motion(core, clip)], quality=90)
    frames = slow_motion(core, clip)
    save("slow_motion", frames, quality=80, duration=round(1000 / PLAYED_FPS), loop=0)


def enlarged(core: Any, clip: Any) -> Image.Image:
    """Return a frame by bicubic resizing beside the same by videoinr."""
    ours = core.videoinr.Upscale(clip, scale=SCALE, model=MODEL)
    theirs = core.resize.Bicubic(clip, ours.width, ours.height)
    return beside(
        label(picture(core, theirs, FRAME, BOX), f"bicubic, {SCALE}x"),
        label(picture(core, ours, FRAME, BOX), f"videoinr ({MODEL}), {SCALE}x"),
    )


def motion(core: Any, clip: Any) -> Image.Image:
    """Return the picture between two frames beside the motion that it is made with."""
    asked = {"times": [TIME], "width": SIZE[0], "height": SIZE[1], "model": MODEL}
    shown = [core.videoinr.Query(clip, **asked), core.videoinr.Flow(clip, reach=REACH_PX, **asked)]
    return beside(*(picture(core, one, 0) for one in shown))


def slow_motion(core: Any, clip: Any) -> list[Image.Image]:
    """Return frames: on the left the source's, each as long as it lasts, on the right those of the higher rate."""
    ours = core.videoinr.Upscale(clip, scale=SLOW_SCALE, fps_num=FPS, model=MODEL)
    theirs = core.resize.Bicubic(clip, ours.width, ours.height)
    fps = clip.fps.numerator / clip.fps.denominator
    held = [label(picture(core, theirs, n, SLOW_BOX), f"{fps:g} fps, bicubic") for n in range(FIRST, LAST + 1)]
    return [
        beside(held[int(n * fps / FPS) - FIRST], label(picture(core, ours, n, SLOW_BOX), f"{FPS} fps, videoinr"))
        for n in range(round(FIRST * FPS / fps), round(LAST * FPS / fps))
    ]


def picture(core: Any, clip: Any, number: int, box: Box | None = None) -> Image.Image:
    """Return a part of a frame of a clip of any format."""
    rgb = core.resize.Bicubic(clip[number], format=vs.RGB24, dither_type="error_diffusion")
    with rgb.get_frame(0) as frame:
        return Image.fromarray(np.dstack([np.asarray(plane) for plane in frame])).crop(box)


def label(image: Image.Image, text: str) -> Image.Image:
    """Write a line at the bottom of a picture and return it."""
    ImageDraw.Draw(image).text(
        (10, image.height - 10),
        text,
        fill="white",
        font=ImageFont.load_default(18),
        anchor="ls",
        stroke_width=2,
        stroke_fill="black",
    )
    return image


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return two pictures of one size side by side, a line between them."""
    both = Image.new("RGB", (left.width + 2 + right.width, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + 2, 0))
    return both


def save(name: str, frames: list[Image.Image], **options: Any) -> None:
    """Write a picture, or an animation of several frames, and print what has been written."""
    path = FOLDER / f"{name}.webp"
    frames[0].save(path, method=6, save_all=len(frames) > 1, append_images=frames[1:], **options)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
