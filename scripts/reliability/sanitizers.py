"""The native part, built with a sanitizer, under the workload."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from scripts import ROOT
from vs_videoinr.networks.videoinr.network import VideoINR, VideoINRConfig
from vs_videoinr.networks.warpinr.frame_detail import FrameDetailConfig
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
from vs_videoinr.weights import library

OURS = "plugin/native/"  # where the files are of which a frame makes a report one about our code

#: Only ours is built with it: without these, what other libraries do would end the process or fill the log.
OPTIONS = {
    "address": ("ASAN_OPTIONS", "detect_leaks=1:halt_on_error=0:exitcode=0:detect_odr_violation=0:handle_segv=0"),
    "thread": ("TSAN_OPTIONS", "halt_on_error=0:exitcode=0:report_signal_unsafe=0:history_size=4"),
}
RUNTIME = {"address": "libasan.so", "thread": "libtsan.so"}


def build(sanitizer: str, folder: Path) -> Path:
    """Build the native library with a sanitizer."""
    command: list[str | Path] = [sys.executable, "setup.py", "--quiet", "build_ext"]
    command += ["--build-lib", folder, "--build-temp", folder / "objects"]
    variables = os.environ | {"VIDEOINR_SANITIZE": sanitizer}
    subprocess.run(command, cwd=ROOT, env=variables, check=True, capture_output=True)
    return folder / "vapoursynth" / "plugins" / "videoinr" / "libvideoinr.so"


def reports(log: str) -> list[str]:
    """The reports in a sanitizer's log. A leak is one stack; other reports begin with a line of their own."""
    parts = re.split(r"\n(?==+\n)|\n(?=(?:Direct|Indirect) leak of)|\n(?==+\d+==ERROR)", log)
    return [part for part in parts if re.search(r"WARNING: ThreadSanitizer|ERROR: AddressSanitizer|leak of", part)]


def run_workload(sanitizer: str, models: list[str], folder: Path) -> tuple[str, list[str]]:
    """Run the workload under a sanitizer; a row of the table, and the reports about our code."""
    library = build(sanitizer, folder)
    runtime = subprocess.run(
        ["cc", f"-print-file-name={RUNTIME[sanitizer]}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    name, options = OPTIONS[sanitizer]
    log = folder / "log"
    variables = os.environ | {
        "LD_PRELOAD": runtime,
        name: f"{options}:log_path={log}",
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
    }
    # ThreadSanitizer of older compilers cannot place its shadow where Linux now puts libraries at random.
    command = ["setarch", platform.machine(), "-R", sys.executable]
    command += ["-m", "scripts.reliability.workload", str(library), *models]
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    logs = "\n".join(path.read_text(errors="replace") for path in folder.glob("log.*"))
    everything = reports(logs)
    ours = [report for report in everything if OURS in report]
    if not ours and (done.returncode, done.stdout) != (0, "done\n"):  # AddressSanitizer ends it at the first report
        raise RuntimeError(f"the workload ended with {done.returncode}:\n{done.stdout}{done.stderr}{logs}")
    row = f"| {sanitizer} | {time.monotonic() - start:.0f} s | {len(everything) - len(ours)} | {len(ours)} |"
    return row, ours


def run() -> tuple[list[str], bool]:
    """Both sanitizers; the section's lines, and whether nothing was found."""
    torch.manual_seed(1)
    networks = {
        "warpinr": WarpINR(WarpINRConfig(levels=(4, 4), hidden=4, radius=1, detail=FrameDetailConfig(8, 1))),
        "published": VideoINR(VideoINRConfig(4, 2, 1, 1, 4, (8,), (8,), (8,))),
    }
    lines = ["| sanitizer | workload took | reports elsewhere | reports about our code |", "|---|---|---|---|"]
    wrong: list[str] = []
    for sanitizer in OPTIONS:
        with tempfile.TemporaryDirectory() as folder:
            models = [str(library.save(net, Path(folder), name).weights) for name, net in networks.items()]
            row, ours = run_workload(sanitizer, models, Path(folder))
        lines.append(row)
        wrong += ours
    print(*wrong, sep="\n\n", file=sys.stderr)
    return lines, not wrong
