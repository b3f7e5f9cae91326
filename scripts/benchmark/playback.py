"""vspipe, run for real: when each frame of a script arrives, and what that has cost until then."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from scripts import ROOT
from scripts.benchmark.builds import Build
from scripts.data.video import cached
from scripts.reliability.resources import peak_memory

CLIP = ROOT / "tests" / "data" / "bunny.mp4"
FIRST, LAST = 16, 40  # its frames that are used, no two of which are the same

#: What every script begins with: `clip` is the source in RGB24.
_SOURCE = """
import sys
sys.path.append({root!r})  # behind everything installed
import numpy as np
import vapoursynth as vs
from scripts.evaluation.baselines import clip_of
core = vs.core
clip = clip_of(np.load({frames!r}, mmap_mode="r")[{first}:{last}]).resize.Bicubic({width}, {height})
"""

#: What those end with that use the plugin.
LOADED = """
import vs_videoinr
print("loaded", vs_videoinr.__file__, core.videoinr.plugin_path, sep="\\t", file=sys.stderr)
"""


#: What those have before their last line that run on a GPU: `out`, which says on stderr what memory of it was taken.
GPU_MEMORY = """
import torch
def told(n, f):
    if n == {last}:
        print("gpu", torch.accelerator.max_memory_allocated(), sep="\\t", file=sys.stderr, flush=True)
    return f
out = out.std.ModifyFrame(out, told)
"""


#: vspipe writes blocks of so many bytes. What is left of a frame waits for the next one, and is not waited for here.
_BLOCK = 4096


class PlaybackError(Exception):
    """vspipe did not make the frames; the message is the last line of what it says."""


@dataclass(frozen=True)
class Playback:
    """What was seen of a run.

    Attributes:
        arrivals: Seconds from the start of the process until each frame was there.
        cpu: CPU seconds, the system's included, that the process had taken by then.
        peak: Bytes that it had resident at most.
        gpu_peak: Bytes that were allocated on a GPU at most, if the script says that; 0 if not.
    """

    arrivals: list[float]
    cpu: list[float]
    peak: int
    gpu_peak: int = 0

    def steady(self, rate: int) -> tuple[float, float]:
        """Seconds and CPU seconds a frame, from the second pair's first frame to the last one's.

        Both are at the same place in their pair, so that what vspipe asks for ahead is as much at the end as before.
        """
        frames = len(self.arrivals) - 1 - rate
        return tuple((values[-1] - values[rate]) / frames for values in (self.arrivals, self.cpu))  # type: ignore[return-value]


def source(size: tuple[int, int], frames: int, work: Path) -> str:
    """The beginning of a script: `clip` with so many frames of a size (width, height), RGB24."""
    if frames > LAST - FIRST:
        raise ValueError(f"the clip has {LAST - FIRST} frames, not {frames}")
    cached(CLIP, work / "frames")
    return _SOURCE.format(
        root=str(ROOT),
        frames=str(work / "frames" / f"{CLIP.stem}.npy"),
        first=FIRST,
        last=FIRST + frames,
        width=size[0],
        height=size[1],
    )


def _script(text: str, work: Path) -> Path:
    path = work / "script.vpy"
    path.write_text(text, encoding="utf-8")
    return path


def _checked(build: Build, returncode: int, said: str) -> int:
    """What a script says of a GPU's memory. Raises if vspipe failed, or if it loaded another version of the plugin."""
    lines = [line for line in said.replace("\r", "\n").splitlines() if line.strip()]
    if returncode != 0:
        told = [line for line in lines if re.match(r"(vapoursynth\.)?\w*Error", line)]
        raise PlaybackError((told or lines or [f"vspipe ended with {returncode}"])[-1])
    for line in lines:
        if line.startswith("loaded\t"):
            build.check(*line.split("\t")[1:])
    return max((int(line.split("\t")[1]) for line in lines if line.startswith("gpu\t")), default=0)


def play(build: Build, script: str, size: tuple[int, int], frames: int, work: Path) -> Playback:
    """Take the first frames of a script whose output has a size (width, height) in RGB24, more than 4 KB a frame.

    The memory is that of vspipe's program alone: `ru_maxrss` would begin with that of the process it was started from.

    Raises:
        PlaybackError: It does not make them.
    """
    frame = 3 * size[0] * size[1]
    arrivals, cpu, peak = [], [], 0
    command = [*build.vspipe, "--end", str(frames - 1), _script(script, work), "-"]
    with (work / "vspipe.log").open("w+", encoding="utf-8") as log:
        start = time.perf_counter()
        with subprocess.Popen(command, env=build.variables, stdout=subprocess.PIPE, stderr=log) as process:
            assert process.stdout is not None
            clock = (~process.pid << 3) | 2  # as clock_getcpuclockid(3) makes it
            due = frame - _BLOCK
            while len(process.stdout.read(due)) == due:
                due = frame
                arrivals.append(time.perf_counter() - start)
                cpu.append(time.clock_gettime(clock))
                peak = max(peak, peak_memory(process.pid))
        log.seek(0)
        gpu_peak = _checked(build, process.returncode, log.read())
    return Playback(arrivals, cpu, peak, gpu_peak)


def seconds_a_frame(build: Build, script: str, work: Path) -> float:
    """How long vspipe itself says that a frame takes, written nowhere; loading the script is not counted.

    Raises:
        PlaybackError: It does not make them.
    """
    command = [*build.vspipe, _script(script, work), "--"]
    done = subprocess.run(command, env=build.variables, capture_output=True, text=True, check=False)
    _checked(build, done.returncode, done.stderr)
    told = re.search(r"Output (\d+) frames in ([\d.]+) seconds", done.stderr)
    assert told is not None
    return float(told[2]) / int(told[1])
