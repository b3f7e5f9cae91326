"""What a frame costs each family of methods: work, launches, memory and time, all from one run.

Every method makes frames of the same clip at 4x size and 2x rate through VapourSynth, in a process of its own, played
from the beginning. The first pairs warm up; of the next one, time and memory are taken, and what is asked of PyTorch is
counted of the one after that, by PyTorch's profiler, in all threads. None of that depends on what weights have learned,
so that networks whose weights are not ours to pass on are measured with untrained ones of the published size.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import vapoursynth as vs
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from scripts import ROOT, today
from scripts.benchmark.counting import launches
from scripts.evaluation.baselines import BASELINES, Method, clip_of, ours
from vs_videoinr.networks.base import Network
from vs_videoinr.networks.videoinr.network import VideoINR
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo
from vs_videoinr.weights import library

SCALE, RATE = 4, 2
SOURCE = 160, 90  # (width, height)
WARM_UP = 2  # pairs
PAIRS = WARM_UP + 2  # the last one but one is timed, the last one counted
AFTER = 2  # source frames that follow, so that the pairs have all their neighbours

UNTRAINED: dict[str, type[Network]] = {kind.architecture: kind for kind in (ZoomingSlowMo, VideoINR)}

#: Each family with its methods.
FAMILIES = {
    "two stages": tuple(name for name in BASELINES if name.startswith("mvtools")),
    "one stage, fixed steps": (ZoomingSlowMo.architecture,),
    "one stage, continuous": (VideoINR.architecture, "lite", "standard", "ensemble"),
}

#: Operators whose multiply-adds PyTorch knows; all other work is small beside them.
_MULTIPLY = {"aten::conv2d", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}


@dataclass(frozen=True)
class Cost:
    """What one method costs for an output frame.

    Attributes:
        method: Name of the baseline, bundled model or architecture.
        multiply_adds: In convolutions and matrix products of PyTorch; 0 where it does not use PyTorch.
        launches: Operations of PyTorch's that a GPU is given one by one, see scripts/benchmark/counting.py; 0 likewise.
        memory: Bytes resident at most beyond those of the process before the method was loaded.
        seconds: CPU time.
        source: Source size as WxH.
        date: When.
        machine: On what.
    """

    method: str
    multiply_adds: float
    launches: float
    memory: int
    seconds: float
    source: str
    date: str
    machine: str


def measure(file: Path, source: tuple[int, int] = SOURCE) -> None:
    """Measure all methods of all families, whose programs are installed, and store what they cost in `file`."""
    costs = []
    for method in (method for family in FAMILIES.values() for method in family):
        command = [sys.executable, "-m", "scripts.evaluation.costs", method, *map(str, source)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            reason = said[-1] if done.returncode > 0 and said else f"its process ended with {done.returncode}"
            print(f"{method} is not measured: {reason}", flush=True)
            continue
        costs.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{method}: {costs[-1]['seconds']:.2f} s CPU a frame", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[\n" + ",\n".join(map(json.dumps, costs)) + "\n]\n")


def load(file: Path) -> dict[str, Cost]:
    """What is stored, by method; nothing where there is no file yet."""
    rows = json.loads(file.read_text()) if file.exists() else []
    return {row["method"]: Cost(**row) for row in rows}


def cost(method: str, source: tuple[int, int]) -> Cost:
    """Measure a method in this process, in which nothing has been done before."""
    width, height = source
    size = SCALE * width, SCALE * height
    clip = clip_of(_drifting(width, height, PAIRS + AFTER))
    with tempfile.TemporaryDirectory() as folder:
        before = _memory("VmRSS")
        frames = _method(method, Path(folder))(clip, *size, RATE)
        _play(frames, range(RATE * WARM_UP))
        start = time.process_time()
        _play(frames, range(RATE * WARM_UP, RATE * (WARM_UP + 1)))
        seconds, memory = (time.process_time() - start) / RATE, _memory("VmHWM") - before
        counted = range(RATE * (WARM_UP + 1), RATE * PAIRS)
        threads = _ExperimentalConfig(profile_all_threads=True)
        with profile(activities=[ProfilerActivity.CPU], with_flops=True, experimental_config=threads) as profiled:
            _play(frames, counted)
        events = profiled.events()
        multiply_adds = sum(event.flops for event in events if event.name in _MULTIPLY) / 2
        asked = launches(events)
        del frames
    return Cost(
        method,
        multiply_adds / len(counted),
        asked / len(counted),
        memory,
        round(seconds, 4),
        f"{width}x{height}",
        today(),
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}",
    )


def _method(name: str, folder: Path) -> Method:
    if name in BASELINES:
        return BASELINES[name]
    if name not in UNTRAINED:
        return ours(name)
    torch.manual_seed(0)
    kind = UNTRAINED[name]
    return ours(str(library.save(kind(kind.Config()), folder, name).weights))


def _drifting(width: int, height: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Smooth noise that drifts, in which no two frames are alike."""
    noise = torch.rand(1, 3, height // 4 + 2, width // 4 + 2, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(noise, size=(height + count, width + count), mode="bicubic")[0].clamp(0, 1)
    picture = (large * 255).byte().permute(1, 2, 0).numpy()
    return np.stack([picture[n : n + height, n : n + width] for n in range(count)])


def _play(clip: vs.VideoNode, numbers: range) -> None:
    for n in numbers:
        clip.get_frame(n).close()


def _memory(field: str) -> int:
    """Bytes resident: "VmRSS" now, "VmHWM" at most."""
    line = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert line is not None
    return int(line[1]) << 10


if __name__ == "__main__":
    print(json.dumps(asdict(cost(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]))))))
