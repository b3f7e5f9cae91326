"""Dask Distributed and Ray at the points that matter for chunks: python -m scripts.jobs engines.

Chunks are stood for by tasks that sleep: two workers with a GPU each (as the engine counts them, there need not be
any), one of them is killed in the middle of a chunk of 5 s, and a third one is added while 10 chunks of 3 s wait.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts import markdown_table

ENGINES = {"dask": ["distributed"], "ray": ["ray[default]"]}
HEADS = {"dask": "Dask Distributed", "ray": "Ray"}


def run(environments: Path | None) -> list[str]:
    """Return the table; environments are kept in a folder, if one is given."""
    with tempfile.TemporaryDirectory() as folder:
        found = {engine: _trial(engine, (environments or Path(folder)) / engine) for engine in ENGINES}
    rows = [
        ("version", *(f"{one['version']}" for one in found.values())),
        ("installed, with what it needs", *(f"{one['bytes'] / 1e6:.0f} MB" for one in found.values())),
        ("packages", *(str(one["packages"]) for one in found.values())),
        ("scheduler and two workers ready after", *(f"{one['start']:.1f} s" for one in found.values())),
        ("killed in a chunk: another worker or process begins it after", *_seconds(found, "again")),
        ("… there are two workers again after", *_seconds(found, "replaced")),
        ("added late: it has joined after", *_seconds(found, "joined")),
        ("… its first chunk, of those that wait already, begins after", *_seconds(found, "late")),
        (
            "each of two chunks sees a GPU of its own",
            *("yes" if len({*one["gpus"]}) == 2 else "no" for one in found.values()),
        ),
    ]
    return markdown_table(("", *HEADS.values()), rows)


def _seconds(found: dict[str, dict[str, Any]], key: str) -> list[str]:
    return ["never" if one[key] is None else f"{one[key]:.1f} s" for one in found.values()]


def _trial(engine: str, environment: Path) -> dict[str, Any]:
    """Install an engine and let it go through its trial."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *ENGINES[engine]], check=True)
    listed = json.loads(subprocess.check_output([python, "-m", "pip", "list", "--format=json"], text=True))
    packages = {one["name"]: one["version"] for one in listed if one["name"] != "pip"}
    (libraries,) = environment.glob("lib/python3*/site-packages")
    size = sum(
        path.stat().st_size
        for path in libraries.rglob("*")
        if path.is_file() and path.relative_to(libraries).parts[0].partition("-")[0] != "pip"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), str(Path(__file__).with_name(f"trial_{engine}.py")), folder]
        home = os.environ | {"HOME": folder, "RAY_AUTH_MODE": "disabled"}  # Ray leaves files there
        said = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=home, timeout=300).stdout
    version = packages[ENGINES[engine][0].partition("[")[0]]
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result | {"version": version, "packages": len(packages), "bytes": size}
