"""What the sanitizers watch: every path of the native part, from several threads at once.

Arguments: the native library, and two models: one that uses a pair's neighbours, and one that does not. Run in a
process of its own; prints "done".
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from typing import Any

import vapoursynth as vs
from vsengine.policy import Policy, ThreadLocalStore

THREADS, ROUNDS = 3, 1


def clips(core: Any) -> list[Any]:
    """Clips of several formats; with cuts, transparency, repeated frames, of variable rate, refused in the middle."""
    blank = core.std.BlankClip(width=16, height=16, format=vs.RGB24, length=1, fpsnum=24)
    rgb = core.std.Splice([core.std.BlankClip(blank, color=[20 + 9 * n, 200, 90]) for n in range(8)])
    gray = core.resize.Bicubic(rgb, format=vs.GRAY8, matrix=1)
    yuv = core.std.SetFrameProps(core.resize.Bicubic(rgb, format=vs.YUV420P10, matrix=1), _SARNum=4, _SARDen=3)
    floats = core.resize.Bicubic(rgb, format=vs.RGBS)
    cuts = floats[:3] + core.std.SetFrameProps(floats[3], _SceneChangeNext=1) + floats[4:]
    variable = core.std.Splice([yuv[:4], core.std.AssumeFPS(yuv[4:], fpsnum=30)])
    interlaced = rgb[:5] + core.std.SetFieldBased(rgb[5:], 1)
    repeated = core.std.Interleave([rgb[:4], rgb[:4]])
    transparent = core.std.ClipToProp(yuv, gray, prop="_Alpha")
    return [gray, rgb, yuv, floats, cuts, variable, interlaced, repeated, transparent]


def outputs(core: Any, models: tuple[str, ...]) -> list[Any]:
    """Filters of every kind on every clip, by turns with either model."""
    upscale, query, flow = core.videoinr.Upscale, core.videoinr.Query, core.videoinr.Flow
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (upscale, {"scale": 1.5, "factor_num": 5, "factor_den": 2}),
        (upscale, {"factor_num": 2}),
        (query, {"times": [0.5, 6.25, 3, 7], "width": 40}),
        (upscale, {"factor_num": 4, "sc_mode": "switch"}),
        (flow, {"times": [0.5, 6.25, 3, 7], "scale": 2, "sc": False}),
    ]
    made: list[Any] = []
    for clip in clips(core):
        for function, arguments in kinds:
            made.append(function(clip, model=models[len(made) % 2], device="cpu", **arguments))
    return made


def refused(core: Any, model: str) -> None:
    """Calls that end in an error message."""
    clip = clips(core)[2]
    for arguments in ({}, {"scale": 0.5}, {"scale": 2, "device": "é" * 5000}, {"scale": 2, "model": "none"}):
        try:
            core.videoinr.Upscale(clip, **{"model": model, **arguments})
        except vs.Error:
            continue
        raise AssertionError(arguments)
    core.videoinr.Version()


def finish(waiting: list[Future[Any]]) -> int:
    """Wait for frames; return how many came."""
    came = 0
    for future in waiting:
        try:
            future.result().close()
            came += 1
        except vs.Error:
            pass
    return came


def script(policy: Policy, library: str, models: tuple[str, ...], failures: list[BaseException]) -> None:
    """Environment after environment: the last frames of each are still on their way when it is taken down."""
    try:
        for _ in range(ROUNDS):
            environment = policy.new_environment()
            with environment.use():
                core = vs.core.core
                core.std.LoadPlugin(library)
                refused(core, models[0])
                made = outputs(core, models)
                waiting = [out.get_frame_async(n) for n in (3, 0, 2, 1) for out in made]
                assert finish(waiting) > len(waiting) / 2
                late = [out.get_frame_async(out.num_frames - 1) for out in made]
                del made, core, waiting
            environment.dispose()
            finish(late)
    except BaseException as error:
        failures.append(error)


def main(library: str, *models: str) -> None:
    """Run scripts in several threads; raise what any of them raises."""
    failures: list[BaseException] = []
    flags = vs.CoreCreationFlags.DISABLE_AUTO_LOADING
    with Policy(ThreadLocalStore(), flags_creation=flags) as policy:
        threads = [threading.Thread(target=script, args=(policy, library, models, failures)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
