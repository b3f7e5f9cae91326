"""The process that evaluates a script without rendering: python -m vs_videoinr.jobs.inspector REQUEST.

REQUEST is JSON, and so is the answer on stdout: see `script_info.inspect` and `script_info.this_machine`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import vs_videoinr
from vs_videoinr.errors import ModelError
from vs_videoinr.jobs import chunks, script_info, tools
from vs_videoinr.jobs.colour_tags import colour_tags, pixel_shape
from vs_videoinr.jobs.errors import JobError
from vs_videoinr.jobs.script_info import Clip, Machine, ScriptInfo
from vs_videoinr.plugin import dry_run
from vs_videoinr.weights import catalogue


def main() -> None:
    """Answer the request on the command line, or end with 1 and a line on stderr."""
    request = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w") as answer:  # what the script prints is not part of the answer
        os.dup2(2, 1)
        try:
            if "script" in request:
                info = _script(Path(request["script"]), request["arguments"], request["chunk"])
                answer.write(json.dumps(script_info.encode(info)))
            else:
                answer.write(json.dumps(vars(_machine(request["models"]))))
        except (JobError, ModelError) as error:
            sys.exit(str(error))


def _script(path: Path, arguments: Mapping[str, str], chunk: int | None) -> ScriptInfo:
    import vapoursynth as vs

    learnt = dry_run.start()
    source, known = path.read_bytes(), set(sys.modules)
    os.chdir(path.parent)  # as vspipe does
    sys.path.insert(0, str(path.parent))
    exec(compile(source, path, "exec"), {"__name__": "__vapoursynth__", "__file__": str(path), **arguments})
    files = {str(path): _sha256(source)} | _own_modules(set(sys.modules) - known)
    output = vs.get_outputs().get(0)
    if output is None or not hasattr(output, "clip"):
        raise JobError(f"{path.name} has no video as output 0; end it with set_output()")
    clip = output.clip
    with clip.get_frame(0) as frame:
        properties = {key: value for key, value in frame.props.items() if isinstance(value, int)}
    about = _clip(clip, properties)
    marks = functools.lru_cache(16)(lambda n: _marks(clip, n))
    found = [*chunks.cut(len(clip), chunk, about.fps is None, marks)] if chunk else []
    if about.fps is None and any(one.last_duration is None for one in found):
        raise JobError("the clip has a variable rate, but its frames do not say how long they last (_DurationNum)")
    used = [catalogue.default(device) if model is None else model for model, device in learnt.models]
    return ScriptInfo(files, about, _machine(used), found)


def _clip(clip: Any, properties: Mapping[str, int]) -> Clip:
    import vapoursynth as vs

    kind = clip.format
    if kind is None or not clip.width or kind.color_family not in (vs.YUV, vs.GRAY) or kind.sample_type != vs.INTEGER:
        raise JobError(
            f"the script's output is {kind.name if kind else 'of no constant format'}, but encoders get constant YUV "
            "or gray of integers; end the script with e.g. resize.Bicubic(format=vs.YUV420P10, matrix=1)"
        )
    planes = [(clip.width, clip.height)]
    if kind.color_family == vs.YUV:
        planes += [(clip.width >> kind.subsampling_w, clip.height >> kind.subsampling_h)] * 2
    fps = Fraction(clip.fps) if clip.fps else None
    lasts = _duration(properties)
    pace = fps or (1 / lasts if lasts else Fraction(25))
    return Clip(
        len(clip),
        clip.width,
        clip.height,
        kind.name,
        sum(width * height for width, height in planes) * kind.bytes_per_sample,
        fps,
        pace,
        colour_tags(properties),
        pixel_shape(properties),
    )


def _marks(clip: Any, n: int) -> chunks.Marks:
    with clip.get_frame(n) as frame:
        properties = frame.props
        ends = properties.get("_SceneChangeNext")
        return chunks.Marks(
            properties.get("_VideoINRPair"),
            None if ends is None else bool(ends),
            bool(properties.get("_SceneChangePrev", 0)),
            _duration(properties),
        )


def _duration(properties: Mapping[str, Any]) -> Fraction | None:
    num, den = properties.get("_DurationNum", 0), properties.get("_DurationDen", 0)
    return Fraction(num, den) if num > 0 and den > 0 else None


def _own_modules(names: Iterable[str]) -> dict[str, str]:
    """Checksums of the modules that are not part of an installation, by path."""
    folders = [*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), str(Path(vs_videoinr.__file__).parent)]
    installed = tuple(folder + os.sep for folder in folders)
    paths = {getattr(sys.modules[name], "__file__", None) for name in names}
    own = sorted(path for path in paths if path and Path(path).is_file() and not path.startswith(installed))
    return {path: _sha256(Path(path).read_bytes()) for path in own}


def _machine(models: Collection[str]) -> Machine:
    checksums = {}
    for name in sorted(set(models)):
        try:
            place = catalogue.find(name)
            checksums[name] = place.card().sha256 if isinstance(place, catalogue.Model) else _sha256(place.read_bytes())
        except (ModelError, OSError):  # missing here
            continue
    versions = {name: metadata.version(name) for name in ("vapoursynth-videoinr", "vapoursynth", "torch")}
    said = subprocess.run([tools.ffmpeg(), "-version"], capture_output=True, text=True, check=True).stdout
    versions["ffmpeg"] = said.split()[2]
    return Machine(versions, _device() if models else None, checksums, _gpus())


def _device() -> str:
    import torch  # which takes seconds

    return "cuda" if torch.cuda.is_available() else "cpu"


def _gpus() -> int:
    if torch := sys.modules.get("torch"):
        count: int = torch.cuda.device_count()
        return count
    if driver := shutil.which("nvidia-smi"):
        said = subprocess.run([driver, "-L"], capture_output=True, text=True, check=False).stdout
        return len(said.splitlines())
    return 0


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
