"""Fifty reloads with frames on their way in VSView and in VSPreview, off-screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from scripts import ROOT
from scripts.reliability import resources

#: VSPreview needs versions of its own (2026: none of it works with vsjetpack 2).
VSPREVIEW = ROOT / ".venvs" / "vspreview"
VSPREVIEW_NEEDS = ("vspreview", "vsjetpack<2", "vsjetengine<2")

SCRIPT = """
import vapoursynth as vs
core = vs.core
red = core.std.BlankClip(width=64, height=48, format=vs.RGB24, length=60, fpsnum=24, color=[230, 20, 20], keep=True)
both = core.std.StackHorizontal([red, core.std.BlankClip(red, color=[20, 20, 230])])
clip = core.std.SetFrameProps(core.resize.Bicubic(both, format=vs.YUV420P8, matrix=1), _Transfer=1, _Primaries=1)
core.videoinr.Upscale(clip, scale=1.5, fps_num=120, model={model!r}).set_output()
"""


def python_of(previewer: str) -> Path:
    """The Python that runs it; VSPreview's environment is made if there is none, which downloads some 120 MB."""
    if previewer == "VSView":
        return Path(sys.executable)
    python = VSPREVIEW / "bin" / "python"
    if not python.exists():
        print("making an environment for VSPreview", flush=True)
        venv.create(VSPREVIEW, with_pip=True)
        # It sees this environment's packages, the plugin and PyTorch among them, behind its own.
        own = VSPREVIEW / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        (own / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *VSPREVIEW_NEEDS], check=True)
    return python


def session(previewer: str, script: Path, reloads: int, picture: Path, home: Path) -> list[resources.Sample]:
    """Run the session of a previewer, with nothing of the user's own settings; raises with its output if it fails."""
    run = home / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    variables = os.environ | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_RUNTIME_DIR": str(run),
        "QT_QPA_PLATFORM": "offscreen",
        "QT_WIDGETS_RHI": "0",
    }
    program = f"scripts.reliability.{previewer.lower()}_session"
    command: list[str | Path] = [python_of(previewer), "-m", program, script, str(reloads), picture]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode != 0 or "still in use" in output:
        raise RuntimeError(f"{previewer} ended with {done.returncode}:\n{output}")
    return [resources.Sample(*values) for values in json.loads(done.stdout.splitlines()[-1])]


def run(reloads: int, model: str) -> tuple[list[str], bool]:
    """Reload in both; the section's lines, and whether everything stayed flat."""
    lines = [f'`Upscale(scale=1.5, fps_num=120, model="{model}")` of 128x48 pixels, 8 frames on their way each time.']
    flat = True
    for previewer in ("VSView", "VSPreview"):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "script.vpy")
            script.write_text(SCRIPT.format(model=model), encoding="utf-8")
            samples = session(previewer, script, reloads, Path(folder, "window.png"), Path(folder))
        counted = [(f"reloads in {previewer}", str(k + 1)) for k in range(reloads)]
        lines += ["", *resources.table(samples, counted, rows=6), "", resources.verdict(samples)]
        flat = flat and not resources.growths(samples)
        print(*lines[-9:], sep="\n", flush=True)
    return lines, flat
