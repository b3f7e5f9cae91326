"""docs/RELIABILITY.md, and pages like it: each stage writes its own section."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch
import vapoursynth as vs

from scripts import ROOT, today
from vs_videoinr.rendering import accelerator

PAGE = ROOT / "docs" / "RELIABILITY.md"


def _processor() -> str:
    """What the system calls the processor, or only its kind where that is not said."""
    told = Path("/proc/cpuinfo")
    for line in told.read_text(encoding="utf-8").splitlines() if told.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def machine() -> str:
    """The machine and what runs on it, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    gpus = "".join(f"; {accelerator.describe(device)}" for device in accelerator.devices())
    return (
        f"{today()}; {platform.system()} {platform.machine()}, {_processor()}, {cores}, {memory / 2**30:.0f} GiB"
        f"{gpus}; Python {platform.python_version()}, VapourSynth R{vs.__version__.release_major}, "
        f"PyTorch {torch.__version__}"
    )


def write(stage: str, lines: list[str], page: Path = PAGE) -> None:
    """Put `lines` between the marks of `stage` on a page, below a line on the machine."""
    begin, end = f"<!-- {stage}: begin -->\n", f"<!-- {stage}: end -->\n"
    before, opened, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise SystemExit(f"{page.name} has no section {stage}")
    body = "\n".join([f"({machine()})", "", *lines])
    page.write_text(f"{before}{begin}{body}\n{end}{after}", encoding="utf-8")
