"""What the native side calls: a call becomes a `Filter`, which plans output frames and renders them.

The native side (native/*.c) calls `create` once per filter and reads `Filter.output`, calls `plan`, `duration`,
`judge` and `render` from any of VapourSynth's threads, and `close` once at the end. All messages are for the user; the
native side puts the function's name in front.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from typing import NamedTuple

import torch

from vs_videoinr.errors import ModelError
from vs_videoinr.networks.base import Network
from vs_videoinr.plugin import arguments, dry_run, scene_cuts
from vs_videoinr.plugin.arguments import MAX_INT, Clip, Request, UsageError
from vs_videoinr.plugin.frame_plan import FramePlan, plan_frame
from vs_videoinr.rendering import accelerator
from vs_videoinr.rendering.planes import Planes, views
from vs_videoinr.rendering.renderer import ChromaResidual, FramePair, Renderer, RenderError, is_out_of_memory
from vs_videoinr.weights import catalogue, library

_logger = logging.getLogger(__name__)


class Content(enum.IntEnum):
    """What the native side asks `Filter.render` for, as it numbers it (native/videoinr.h)."""

    PICTURE = 0
    TRANSPARENCY = 1
    MOTION = 2


class Output(NamedTuple):
    """What the native side wants to know of the output before its first frame."""

    width: int
    height: int
    num_frames: int
    fps_num: int  # 0 for a variable rate
    fps_den: int
    scene_cuts: scene_cuts.Mode
    uses_neighbours: bool  # `render` wants the frames around a pair as well


class Filter:
    """One call of Upscale, Query or Flow.

    Attributes:
        output: What the output is.
    """

    def __init__(self, clip: Clip, request: Request, network: Network) -> None:
        """Prepare what `request` asks of a clip, with a network on the request's device."""
        self._request = request
        self._source_size = clip.width, clip.height
        self._chroma_size = clip.width >> clip.subsampling_w, clip.height >> clip.subsampling_h
        # They share a network, but not what is kept of frames. Both are made now, while the environment that the filter
        # is made in is current: a renderer asks which it is.
        self._picture, self._transparency = (
            Renderer(network, request.device, self._source_size, request.size) for _ in range(2)
        )
        fps = request.timeline.fps or Fraction(0)
        self.output = Output(
            *request.size,
            request.timeline.length,
            fps.numerator,
            fps.denominator if fps else 0,
            request.cuts,
            network.uses_neighbours,
        )

    def plan(self, n: int) -> FramePlan:
        """Return what output frame `n` shows."""
        return plan_frame(n, self._request.timeline, self._request.cuts, self._request.timecodes)

    def duration(self, n: int, left_num: int, left_den: int, right_num: int, right_den: int) -> Fraction:
        """Return how many seconds output frame `n` of a variable rate clip lasts; 0 if that is not known.

        Args:
            n: Output frame.
            left_num: `_DurationNum` of its left source frame, 0 where it has none.
            left_den: `_DurationDen` of its left source frame.
            right_num: `_DurationNum` of its right source frame.
            right_den: `_DurationDen` of its right source frame.
        """
        lasts = self._request.timeline.duration(n, _rational(left_num, left_den), _rational(right_num, right_den))
        if lasts is None:
            return Fraction(0)
        if max(lasts.as_integer_ratio()) > MAX_INT:  # what a property cannot hold is rounded to nanoseconds
            lasts = Fraction(round(lasts * 10**9), 10**9)
        return lasts if lasts.numerator <= MAX_INT else Fraction(0)

    def judge(
        self, frame: Planes, following: Planes, before: Sequence[Planes], after: Sequence[Planes]
    ) -> scene_cuts.Verdict:
        """Return whether `following` begins another scene than `frame`, a frame of the same clip.

        `before` and `after` are frames around these two, the nearest first, as many as are known.
        """
        pair, earlier, later = (
            [scene_cuts.cells(views(planes, self._source_size)) for planes in frames]
            for frames in ((frame, following), before, after)
        )
        return scene_cuts.judge(pair[0], pair[1], earlier, later, self._request.cut_threshold)

    def render(
        self,
        content: int,
        left: int,
        right: int,
        t: float,
        frame0: Planes,
        frame1: Planes,
        output: Planes,
        before: Planes | None,
        after: Planes | None,
        residual: tuple[Planes, Planes, Planes] | None,
    ) -> None:
        """Render one frame into `output`; see `Renderer`.

        Args:
            content: One of `Content`.
            left: Number of source frame `frame0`.
            right: Number of source frame `frame1`.
            t: From `frame0` (0) to `frame1` (1).
            frame0: RGB or gray planes in single precision.
            frame1: The same.
            output: Planes of the output's size.
            before: The source frame before `frame0`, if it tells of the pair.
            after: The source frame after `frame1`, if it tells of the pair.
            residual: Y, U and V of the chroma that `frame0` and `frame1` lack, and where that goes which `output`
                lacks; Y is not looked at.
        """
        if dry_run.current is not None:
            return
        pair = FramePair(left, right, frame0, frame1, before, after)
        if content == Content.MOTION:
            self._picture.motion(pair, t, output, self._request.flow_view)
            return
        lacking = None
        if residual is not None:
            lacking = ChromaResidual(self._chroma_size, residual[0][1:], residual[1][1:], residual[2][1:])
        renderer = self._transparency if content == Content.TRANSPARENCY else self._picture
        renderer.render(pair, t, output, lacking)

    def close(self) -> None:
        """Let go of fields, weights and threads."""
        self._picture.close()
        self._transparency.close()


def create(
    function: str, clip: tuple[str, int, int, int, int, int, int, int, int, int, int], given: Mapping[str, object]
) -> Filter:
    """Check the clip and the arguments of `function` and prepare what they ask for.

    Args:
        function: Name of the VapourSynth function: "Upscale", "Query" or "Flow".
        clip: The members of `Clip`.
        given: Those arguments that were given, by name; `times` and `seconds` as lists.

    Raises:
        UsageError: What is wrong, or what the model cannot do, in one line.
        ModelError: The model cannot be used.
    """
    source = Clip(*clip)
    request = arguments.read(function, source, given)
    try:
        network = library.load(request.model, request.device, request.dtype)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(
            f"out of memory on {request.device} for the model; use a smaller model or another device"
        ) from None
    arguments.check_limits(function, source, request, network.limits)
    if dry_run.current is not None:
        dry_run.current.models.add((request.model, request.device.type))
    return Filter(source, request, network)


def version() -> dict[str, list[str]]:
    """Return what `core.videoinr.Version()` says: texts by key."""
    devices = ["cpu", *map(accelerator.describe, accelerator.devices())]
    return {
        "version": [metadata.version("vapoursynth-videoinr")],
        "torch": [torch.__version__],
        "devices": devices,
        "models": [_about(model) for model in catalogue.models()],
    }


def describe(error: BaseException) -> str:
    """Return what the user is told of an exception: its own words if they were meant for that."""
    if isinstance(error, UsageError | ModelError | RenderError):
        text = str(error)
    elif is_out_of_memory(error):
        text = "out of memory"
    else:
        _logger.debug("unexpected exception", exc_info=error)
        text = f"internal error, please report it: {type(error).__name__}: {error}"
    line = " ".join(text.encode(errors="replace").decode().split())  # names of files need not be UTF-8
    return "".join(one if one.isprintable() else "?" for one in line)  # a NUL would end the message


def _about(model: catalogue.Model) -> str:
    try:
        return f"{model.name} sha256:{model.card().sha256}"
    except ModelError:  # one damaged card does not hide the others
        return f"{model.name} damaged"


def _rational(num: int, den: int) -> Fraction | None:
    return Fraction(num, den) if num > 0 and den > 0 else None
