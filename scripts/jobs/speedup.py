"""What more workers give, and what chunks cost: python -m scripts.jobs speedup.

Each worker is pinned to one core, as `videoinr render` does with as many workers as there are cores. The script is
CPU work that needs no memory to speak of; with more workers than cores, they share.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts import markdown_table

SCRIPT = """
import vapoursynth as vs
core = vs.core
blank = core.std.BlankClip(width=128, height=72, format=vs.YUV420P8, length=SOURCE, fpsnum=24, keep=True)
clip = core.std.FrameEval(blank, lambda n: core.std.BlankClip(blank, color=[40 + n, 90, 160], length=1))
clip = core.std.AddBorders(clip, 16, 16, 12, 12)
clip = core.std.SetFrameProps(clip, _Matrix=1)
core.videoinr.Upscale(clip, scale=4, factor_num=5, model="lite", device="cpu").set_output()
"""

WORKERS = (1, 2, 4)


def run(source: int) -> list[str]:
    """Return the tables for a clip of so many source frames, and what they mean for many machines."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.vpy")
        script.write_text(SCRIPT.replace("SOURCE", str(source)), encoding="utf-8")
        frames = 5 * source
        chunk = frames // 8  # two for each of four workers
        alone = _vspipe(script)
        seconds = {workers: _job(script, workers, chunk) for workers in WORKERS}
        short, long = (_job(script, 1, size) for size in (frames // 16, frames // 2))
    overhead = (short - long) / 14  # 16 chunks and 2
    fixed = seconds[1] - alone - 8 * overhead
    rows = [
        (str(workers), f"{took:.0f} s", f"{frames / took:.2f}", f"{seconds[1] / took:.2f}")
        for workers, took in seconds.items()
    ]
    per_frame = alone / frames
    cores = len(os.sched_getaffinity(0))
    sharing = f" {max(WORKERS)} workers share {cores} cores." if cores < max(WORKERS) else ""
    return [
        f"{frames} frames of 640x384 from `lite`, chunks of {chunk}; vspipe alone on one core takes {alone:.0f} s."
        f"{sharing}",
        "",
        *markdown_table(("workers, a core each", "time", "frames per second", "speed-up"), rows),
        "",
        f"A chunk costs {overhead:.1f} s beside its frames (vspipe, Python and PyTorch start, the model is loaded, "
        f"ffmpeg ends, frames are counted): the difference between 16 chunks and 2, a chunk. The job costs {fixed:.1f} "
        "s more (looking at the script, starting the engine, encoding and joining, on the same core).",
        "",
        *_on_paper(per_frame, overhead, fixed),
    ]


def _on_paper(per_frame: float, overhead: float, fixed: float) -> list[str]:
    """The same figures for a film on many machines: two hours at 120 fps, chunks of 500 frames."""
    frames, chunk = 2 * 3600 * 120, 500
    chunks = frames // chunk

    def hours(workers: int) -> float:
        rounds = -(-chunks // workers)  # the last one may be partly empty
        return (fixed + rounds * (chunk * per_frame + overhead)) / 3600

    rows = []
    for workers in (1, 4, 100, chunks, 10 * chunks):
        speed = hours(1) / hours(workers)
        rows.append((str(workers), f"{hours(workers):.2f} h", f"{speed:.0f}", f"{100 * speed / workers:.0f} %"))
    return [
        f"On paper, from these: two hours at 120 fps are {frames} frames, {chunks} chunks of {chunk}, at "
        f"{per_frame:.2f} s a frame.",
        "",
        *markdown_table(("machines", "time", "speed-up", "of the ideal"), rows),
    ]


def _vspipe(script: Path) -> float:
    from vs_videoinr.jobs import tools

    begun = time.monotonic()
    core = str(sorted(os.sched_getaffinity(0))[0])
    command = ["taskset", "-c", core, tools.vspipe(), "-c", "y4m", str(script), os.devnull]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.monotonic() - begun


def _job(script: Path, workers: int, chunk: int) -> float:
    """Seconds that the whole command takes; with one worker, it has one core."""
    out = script.with_suffix(".mkv")
    command = [sys.executable, "-m", "vs_videoinr.cli", "render", str(script), str(out), "--restart"]
    command += ["--workers", str(workers), "--chunk", str(chunk), "--encoder", "-c:v libx264 -preset ultrafast"]
    cores = sorted(os.sched_getaffinity(0))[:workers]
    begun = time.monotonic()
    done = subprocess.run(
        ["taskset", "-c", ",".join(map(str, cores)), *command], capture_output=True, text=True, check=False
    )
    if done.returncode or not re.search(r"is done$", done.stderr.strip()):
        raise SystemExit(done.stderr)
    return time.monotonic() - begun
