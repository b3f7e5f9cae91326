"""What a call asks for: the arguments of `core.videoinr.*` checked against the clip."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch

from vs_videoinr.networks.limits import LimitError, Limits
from vs_videoinr.plugin import timecodes
from vs_videoinr.plugin.output_size import output_size
from vs_videoinr.plugin.scene_cuts import THRESHOLD, Mode
from vs_videoinr.plugin.timecodes import TimecodeError, Timecodes
from vs_videoinr.plugin.timeline import ConstantRate, ExplicitTimes, Resampled, Timeline, near_frame, rate_ratio
from vs_videoinr.rendering import accelerator
from vs_videoinr.rendering.flow_colours import FlowColours, FlowView

MAX_FRAMES = 2**31 - 1
MAX_INT = 2**63 - 1

#: Color families and sample types as VapourSynth numbers them.
GRAY, RGB, YUV = 1, 2, 3
INTEGER, FLOAT = 0, 1

#: The modes of cuts that `sc_mode` names.
SC_MODES = {"hold": Mode.HOLD, "switch": Mode.SWITCH}

#: Arguments of Upscale that say what to do, one of which is needed.
WORK = frozenset({"scale", "width", "height", "fps_num", "fps_den", "factor_num", "factor_den"})

#: The accelerators of which messages speak. Any other that PyTorch has been built for is taken as well.
ACCELERATORS = ("cuda", "xpu", "mps")

#: The first PyTorch that continues pictures beyond their borders on Apple's GPUs, as all warping does.
MPS_SINCE = "2.13"

#: How a clip whose rate varies can be asked for times all the same.
_TIMECODES_HELP = 'timecodes="FILE", which the timecodes argument of a source filter or vspipe --timecodes writes'


class UsageError(ValueError):
    """The arguments or the clip cannot be used as they are."""


class Clip(NamedTuple):
    """A clip as VapourSynth describes it (VSVideoInfo)."""

    format_name: str
    color_family: int
    sample_type: int
    bits: int
    subsampling_w: int
    subsampling_h: int
    width: int
    height: int
    num_frames: int
    fps_num: int
    fps_den: int

    @property
    def fps(self) -> Fraction | None:
        """Frames per second; None for a variable rate."""
        return Fraction(self.fps_num, self.fps_den) if self.fps_num > 0 else None


@dataclass(frozen=True)
class Request:
    """What a call asks for.

    Attributes:
        size: The output's (width, height).
        timeline: Which source frames, and which time between them, each output frame shows.
        timecodes: When the clip's frames begin, if that was told.
        cuts: What is shown at cuts.
        cut_threshold: How large a share of a picture is nowhere near in the next one at a cut, 0 to 1.
        flow_view: What Flow shows.
        model: Name of a model or path of a checkpoint; None for the default.
        device: Where the network runs.
        dtype: What it computes in; None where the network decides.
    """

    size: tuple[int, int]
    timeline: Timeline
    timecodes: Timecodes | None
    cuts: Mode
    cut_threshold: float
    flow_view: FlowView
    model: str | None
    device: torch.device
    dtype: torch.dtype | None


def read(function: str, clip: Clip, given: Mapping[str, object]) -> Request:
    """Check a clip and the arguments of a function.

    Args:
        function: Name of the VapourSynth function: "Upscale", "Query" or "Flow".
        clip: The clip.
        given: Those arguments that were given, by name; `times` and `seconds` as lists.

    Raises:
        UsageError: What is wrong, in one line.
    """
    _check_format(clip)
    arguments = _Arguments(given)
    if function == "Upscale" and not given.keys() & WORK:
        raise UsageError("there is nothing to do; give scale, width, height, fps_num or factor_num")
    size = _size(clip, arguments)
    known = _timecodes(clip, arguments)
    timeline = _timeline(function, clip, arguments, known)
    cuts, threshold = _cuts(arguments)
    flow_view = _flow_view(arguments, size)
    device = choose_device(arguments.text("device"), accelerator.devices())
    fp16 = arguments.integer("fp16")
    if fp16 and device.type == "cpu":
        raise UsageError('fp16 needs a GPU, as with device="cuda"; a CPU computes in single precision')
    dtype = None if fp16 is None else torch.float16 if fp16 else torch.float32
    return Request(size, timeline, known, cuts, threshold, flow_view, arguments.text("model"), device, dtype)


def check_limits(function: str, clip: Clip, request: Request, limits: Limits) -> None:
    """Check that a network can do all that is asked of it, before its first frame.

    Args:
        function: Name of the VapourSynth function: "Upscale", "Query" or "Flow".
        clip: The clip.
        request: What is asked for.
        limits: The network's.

    Raises:
        UsageError: What it cannot do, and a model that can, in one line.
    """
    width, height = request.size
    try:
        if function == "Flow" and not limits.motion:
            raise limits.no_motion()
        limits.check_size((clip.height, clip.width), (height, width))
        for time in request.timeline.times() if limits.times else ():
            limits.known_time(time)
    except LimitError as error:
        raise UsageError(str(error)) from None


def choose_device(name: str | None, gpus: Sequence[torch.device]) -> torch.device:
    """Return the device that the argument names, or the default: the first GPU, unless it is Apple's, or else the CPU.

    Args:
        name: "cpu", or a kind of accelerator as torch calls it, with or without a number; None for the default.
        gpus: Those that there are.

    Raises:
        UsageError: There is none of that name, or PyTorch cannot do on it what networks need.
    """
    if name is None:  # on Apple's, no network has ever been tried, and a CPU certainly works
        return next((gpu for gpu in gpus if gpu.type != "mps"), torch.device("cpu"))
    if name == "cpu":
        return torch.device("cpu")
    kind, colon, number = name.partition(":")
    same = {str(gpu): gpu for gpu in gpus if gpu.type == kind}
    if not (same or kind in ACCELERATORS) or (colon and not (number.isascii() and number.isdigit())):
        raise UsageError(f'device must be "cpu", "cuda", "xpu", "mps" or one by its number, as "cuda:1", got "{name}"')
    if not same:
        other = f'"{gpus[0].type}" or ' if gpus else ""
        raise UsageError(f'there is no {kind.upper()} device that torch can use; give device={other}"cpu"')
    device = same.get(name if colon else f"{kind}:0")
    if device is None:
        raise UsageError(f'there is no device "{name}"; the last one is "{list(same)[-1]}"')
    if kind == "mps" and torch.__version__ < MPS_SINCE:
        raise UsageError(
            f'device="mps" needs PyTorch {MPS_SINCE} or newer, and this is {torch.__version__}; give device="cpu"'
        )
    return device


class _Arguments:
    """The arguments that were given; None for the others."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    def integer(self, name: str) -> int | None:
        value = self._given.get(name)
        return value if isinstance(value, int) else None

    def real(self, name: str) -> float | None:
        value = self._given.get(name)
        return float(value) if isinstance(value, int | float) else None

    def reals(self, name: str) -> list[float] | None:
        value = self._given.get(name)
        return [float(one) for one in value] if isinstance(value, list) else None

    def text(self, name: str) -> str | None:
        value = self._given.get(name)
        return value if isinstance(value, str) else None


def _check_format(clip: Clip) -> None:
    if clip.color_family not in (GRAY, RGB, YUV) or clip.width <= 0 or clip.height <= 0:
        raise UsageError("the clip must have a constant format and size")
    if clip.bits > (16 if clip.sample_type == INTEGER else 32):
        raise UsageError(
            f"the format {clip.format_name} is not supported; "
            "convert the clip to 8 to 16 bit integer, half or single float"
        )


def _size(clip: Clip, arguments: _Arguments) -> tuple[int, int]:
    try:
        return output_size(
            (clip.width, clip.height),
            (1 << clip.subsampling_w, 1 << clip.subsampling_h),
            arguments.real("scale"),
            arguments.integer("width"),
            arguments.integer("height"),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _timeline(function: str, clip: Clip, arguments: _Arguments, known: Timecodes | None) -> Timeline:
    times, seconds = arguments.reals("times"), arguments.reals("seconds")
    if times is None and seconds is None:
        if function == "Query":
            raise UsageError("give times or seconds")
        return _resampled(clip, arguments, known)
    if times is not None and seconds is not None:
        raise UsageError("give times or seconds, but not both")
    if any(arguments.integer(name) is not None for name in ("fps_num", "fps_den", "factor_num", "factor_den")):
        raise UsageError("give times or seconds, or a frame rate, but not both")
    if seconds is None:
        if known is not None:
            raise UsageError("timecodes are for seconds or fps_num; times are counted in frames")
        return ExplicitTimes(_positions(times or [], clip), clip.num_frames, clip.fps)
    return ExplicitTimes(_positions_in_time(seconds, clip, known), clip.num_frames, clip.fps)


def _timecodes(clip: Clip, arguments: _Arguments) -> Timecodes | None:
    path = arguments.text("timecodes")
    if path is None:
        return None
    try:
        return timecodes.read(path, clip.num_frames)
    except TimecodeError as error:
        raise UsageError(str(error)) from None


def _resampled(clip: Clip, arguments: _Arguments, known: Timecodes | None) -> Timeline:
    fps = _ratio(arguments, "fps")
    factor = _ratio(arguments, "factor")
    if fps is not None and factor is not None:
        raise UsageError("give fps_num or factor_num, but not both")
    if fps is None and known is not None:
        raise UsageError("timecodes are for fps_num; factor_num works without them")
    timeline: Timeline
    if fps is not None and known is not None:
        timeline = ConstantRate(known, fps)
    elif fps is not None:
        if clip.fps is None:
            raise UsageError(
                f"the clip has a variable frame rate; for fps_num give {_TIMECODES_HELP}, or give factor_num instead"
            )
        timeline = Resampled(clip.num_frames, rate_ratio(fps, clip.fps), clip.fps, fps)
    else:
        ratio = factor or Fraction(1)
        if clip.fps is None and ratio < 1:
            raise UsageError(
                f"the clip has a variable frame rate; factor_num/factor_den must be at least 1, got {ratio}"
            )
        timeline = Resampled(clip.num_frames, ratio, clip.fps)
    if timeline.length > MAX_FRAMES:
        raise UsageError(f"the result would be too long: {timeline.length} frames; at most {MAX_FRAMES} are possible")
    exact = (timeline.fps, timeline.duration(0), timeline.duration(timeline.length - 1))
    if timeline.fps is not None and any(value is None or max(value.as_integer_ratio()) > MAX_INT for value in exact):
        raise UsageError(f"a frame rate of {timeline.fps} is too fine to be kept exactly; give smaller numbers")
    return timeline


def _cuts(arguments: _Arguments) -> tuple[Mode, float]:
    on, mode, threshold = arguments.integer("sc"), arguments.text("sc_mode"), arguments.real("sc_threshold")
    if mode is not None and mode not in SC_MODES:
        raise UsageError(f'sc_mode must be "hold" or "switch", got "{mode}"')
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"sc_threshold must be from 0 to 1, got {_text(threshold)}")
    return Mode.IGNORE if on == 0 else SC_MODES[mode or "hold"], THRESHOLD if threshold is None else threshold


def _flow_view(arguments: _Arguments, size: tuple[int, int]) -> FlowView:
    toward, reach = arguments.integer("to"), arguments.real("reach")
    if toward not in (None, 0, 1):
        raise UsageError(f"to must be 0 (the frame before) or 1 (the frame after), got {toward}")
    if reach is not None and not 0 < reach < math.inf:
        raise UsageError(f"reach must be greater than 0, got {_text(reach)}")
    colours = None if arguments.integer("data") else FlowColours(reach or size[0] / 32)
    return FlowView(1 if toward is None else toward, colours)


def _ratio(arguments: _Arguments, name: str) -> Fraction | None:
    num = arguments.integer(f"{name}_num")
    den = arguments.integer(f"{name}_den")
    if num is None:
        if den is not None:
            raise UsageError(f"{name}_den needs {name}_num")
        return None
    for part, value in (("num", num), ("den", den)):
        if value is not None and value <= 0:
            raise UsageError(f"{name}_{part} must be greater than 0, got {value}")
    return Fraction(num, 1 if den is None else den)


def _positions(times: Sequence[float], clip: Clip) -> list[Fraction]:
    last = clip.num_frames - 1
    result = []
    for time in times:
        position = near_frame(_as_written(time), clip.num_frames) if math.isfinite(time) else None
        if position is None or not 0 <= position <= last:
            raise UsageError(f"times must be from 0 to {last}, the clip's last frame, got {_text(time)}")
        result.append(position)
    return result


def _positions_in_time(seconds: Sequence[float], clip: Clip, known: Timecodes | None) -> list[Fraction]:
    if known is None and clip.fps is None:
        raise UsageError(f"the clip has a variable frame rate; for seconds give {_TIMECODES_HELP}")

    def position(time: Fraction) -> Fraction:
        return known.position(time) if known is not None else time * (clip.fps or 0)

    end = known.total if known is not None else clip.num_frames / (clip.fps or 1)
    result = []
    for time in seconds:
        if not 0 <= time < end:
            raise UsageError(f"seconds must be from 0 to below {float(end):g}, the clip's end, got {_text(time)}")
        result.append(near_frame(position(_as_written(time)), clip.num_frames))
    return result


def _text(number: float) -> str:
    """Return enough digits to see on which side of a bound a number lies."""
    return f"{number:.15g}"


def _as_written(number: float) -> Fraction:
    """Return the decimal that a float prints as: 1.001 is meant, and not the binary fraction next to it."""
    return Fraction(repr(number))
