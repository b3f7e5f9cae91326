"""What a job knows of its script before the first frame is rendered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from vs_videoinr.jobs import tools
from vs_videoinr.jobs.chunks import Chunk


@dataclass(frozen=True)
class Clip:
    """A script's output.

    Attributes:
        frames: Number of frames.
        width: Of a frame.
        height: Of a frame.
        format: As VapourSynth names it.
        frame_bytes: Of all planes as y4m holds them.
        fps: Frames per second; None where the rate varies.
        pace: Frames per second of the first frame where the rate varies, which encoders are told; else `fps`.
        tags: ffmpeg's options for its colours.
        sar: Width and height of a pixel; 0, 0 if not known.
    """

    frames: int
    width: int
    height: int
    format: str
    frame_bytes: int
    fps: Fraction | None
    pace: Fraction
    tags: Mapping[str, int]
    sar: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """What decides how a machine renders.

    Attributes:
        versions: Of the programs that make frames.
        device: "cuda" where PyTorch has a GPU, or "cpu": the default of scripts, also for their model; None for a
            script that uses no model.
        models: Checksums of the models that the script uses, by name or path.
        gpus: Number of GPUs, which decides nothing.
    """

    versions: Mapping[str, str]
    device: str | None
    models: Mapping[str, str]
    gpus: int

    def differences(self, other: Machine) -> list[str]:
        """Return, as "A instead of B", what this machine has otherwise than `other`."""
        found = [
            f"{name} {self.versions.get(name, 'missing')} instead of {version}"
            for name, version in other.versions.items()
            if self.versions.get(name) != version
        ]
        if other.device not in (None, self.device):
            found.append(f"the device {self.device} instead of {other.device}")
        return found + [
            f"{'another' if name in self.models else 'no'} model {name} instead of {checksum[:12]}"
            for name, checksum in other.models.items()
            if self.models.get(name) != checksum
        ]


@dataclass(frozen=True)
class ScriptInfo:
    """A script as it was found.

    Attributes:
        files: Checksums of the script and of the modules of its own that it imports, by path.
        clip: Its output.
        machine: Where that was found out.
        chunks: Where its output is cut; empty if that was not asked for.
    """

    files: Mapping[str, str]
    clip: Clip
    machine: Machine
    chunks: list[Chunk]


def inspect(script: str, arguments: Mapping[str, str], chunk: int | None) -> ScriptInfo:
    """Evaluate a script in a process of its own, in which nothing is rendered.

    Args:
        script: Its path.
        arguments: What `vspipe --arg` would be given.
        chunk: Frames of a chunk; None if its chunks are known already.

    Raises:
        JobError: The script fails, or has no output that can be encoded.
    """
    request = {"script": script, "arguments": dict(arguments), "chunk": chunk}
    return decode(json.loads(tools.run_python("vs_videoinr.jobs.inspector", json.dumps(request))))


def this_machine(models: list[str]) -> Machine:
    """Return what decides how this machine renders.

    Args:
        models: Names and paths of the models whose checksums are wanted; those that are missing are left out.
    """
    return Machine(**json.loads(tools.run_python("vs_videoinr.jobs.inspector", json.dumps({"models": models}))))


def encode(info: ScriptInfo) -> dict[str, Any]:
    """Return what JSON can hold."""
    return {
        "files": dict(info.files),
        "clip": asdict(info.clip) | {"fps": _text(info.clip.fps), "pace": _text(info.clip.pace)},
        "machine": asdict(info.machine),
        "chunks": [[chunk.first, chunk.last, _text(chunk.last_duration)] for chunk in info.chunks],
    }


def decode(data: Mapping[str, Any]) -> ScriptInfo:
    """Return what `encode` was given.

    Raises:
        KeyError, TypeError, ValueError: It was not made by `encode`.
    """
    clip = dict(data["clip"])
    clip |= {"fps": _fraction(clip["fps"]), "pace": Fraction(clip["pace"]), "sar": tuple(clip["sar"])}
    chunks = [Chunk(first, last, _fraction(duration)) for first, last, duration in data["chunks"]]
    return ScriptInfo(data["files"], Clip(**clip), Machine(**data["machine"]), chunks)


def _text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _fraction(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)
