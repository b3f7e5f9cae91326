"""What vspipe does, by Python itself, where vspipe finds no library of Python's: pipe.py --end N SCRIPT -."""

from __future__ import annotations

import runpy
import sys

import vapoursynth as vs


def main() -> None:
    """Write the frames of a script's output, up to one."""
    _, last, script, _ = sys.argv[1:]
    output = sys.stdout.buffer
    runpy.run_path(script, run_name="__vapoursynth__")
    vs.get_output(0).clip[: int(last) + 1].output(output)


if __name__ == "__main__":
    main()
