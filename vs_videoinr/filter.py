"""What the native side calls: arguments become a `Filter`, which knows where each output frame is and renders it.

The native side (native/videoinr.c) calls `create` once per filter, then `locate`, `duration`, `is_cut` and `render`
from any of VapourSynth's threads, and `close` once at the end. All messages are for the user; the native side puts the
function's name in front.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from typing import NamedTuple

import torch

from vs_videoinr import catalogue, cuts, timecodes, weights
from vs_videoinr.errors import ModelError
from vs_videoinr.flow import Colours, Look
from vs_videoinr.renderer import Planes, Renderer, RenderError, Span, frame_of, is_out_of_memory
from vs_videoinr.size import output_size
from vs_videoinr.timecodes import TimecodeError, Timecodes
from vs_videoinr.timeline import Laid, Moments, Resampled, Timeline

MAX_FRAMES = 2**31 - 1
MAX_INT = 2**63 - 1

GRAY, RGB, YUV = 1, 2, 3
INTEGER, FLOAT = 0, 1

#: What is done about a cut, as the native side numbers it.
IGNORE_CUTS, SC_MODES = 0, {"hold": 1, "switch": 2}

#: What the native side asks `Filter.render` for.
PICTURE, TRANSPARENCY, MOTION = 0, 1, 2

#: From here on two frames are taken for different scenes. scripts/measure_cuts.py tells how that does on real clips.
SC_THRESHOLD = 0.04

#: Arguments of Upscale that say what to do, one of which is needed.
WORK = frozenset({"scale", "width", "height", "fps_num", "fps_den", "factor_num", "factor_den"})

_logger = logging.getLogger(__name__)


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


class Scenes(NamedTuple):
    """What is done about cuts: 0 for nothing, or one of SC_MODES; and what counts as one."""

    mode: int
    threshold: float


class Filter:
    """One call of Upscale, Query or Flow."""

    def __init__(
        self,
        timeline: Timeline,
        known: Timecodes | None,
        new_renderer: Callable[[], Renderer],
        scenes: Scenes,
        look: Look,
        around: bool,
    ) -> None:
        """`new_renderer` is asked once for each kind of picture: they share a network, but not what is kept of them.

        `known`: when the clip's frames begin, if that was told. `around`: the network minds the frames around a pair.
        """
        self._timeline = timeline
        self._known = known
        # now, while the environment that the filter is made in is current: a renderer asks which it is
        self._renderers = {what: new_renderer() for what in (PICTURE, TRANSPARENCY)}
        self._scenes = scenes
        self._look = look
        self._around = around

    def output(self) -> tuple[int, int, int, int, int, int, bool]:
        """Return the output's width, height, number of frames, frame rate (0, 1 if variable), and what cuts mean.

        At last, whether `render` wants the frames around a pair as well.
        """
        fps = self._timeline.fps or Fraction(0, 1)
        size = self._renderers[PICTURE].size
        return *size, self._timeline.length, fps.numerator, fps.denominator, self._scenes.mode, self._around

    def locate(self, n: int) -> tuple[int, int, float, bool, bool, bool, bool, bool, bool, int, int]:
        """Return `Place`'s members for output frame `n`, and its duration (0, 0 if that takes `duration`)."""
        place = self._timeline.place(n)
        lasts = None if self._timeline.fps is None else self._timeline.duration(n)
        num, den = (0, 0) if lasts is None else lasts.as_integer_ratio()
        return (
            place.left,
            place.right,
            place.t.numerator / place.t.denominator,
            place.on_source,
            place.first,
            place.last,
            place.first_late,
            place.last_early,
            place.foreshown,
            num,
            den,
        )

    def duration(self, n: int, left_num: int, left_den: int, right_num: int, right_den: int) -> tuple[int, int]:
        """Return how long output frame `n` of a variable rate clip lasts; 0, 0 if that is not known.

        Args:
            n: Output frame.
            left_num: `_DurationNum` of its left source frame, 0 where it has none.
            left_den: `_DurationDen` of its left source frame.
            right_num: `_DurationNum` of its right source frame.
            right_den: `_DurationDen` of its right source frame.
        """
        lasts = self._timeline.duration(n, _rational(left_num, left_den), _rational(right_num, right_den))
        if lasts is None:
            return 0, 0
        if max(lasts.as_integer_ratio()) > MAX_INT:  # what a property cannot hold is rounded to nanoseconds
            lasts = Fraction(round(lasts * 10**9), 10**9)
        return lasts.as_integer_ratio()

    def is_cut(self, frame: Planes, following: Planes, before: Planes | None, after: Planes | None) -> bool:
        """Whether `following` begins another scene than `frame`, a frame of the same clip.

        `before` and `after`, the frames around these two, tell whether it is a fade; None where they are not known.
        """
        size = self._renderers[PICTURE].source_size
        first, second = frame_of(frame, size), frame_of(following, size)
        if cuts.difference(first, second) <= self._scenes.threshold:
            return False
        if before is not None and cuts.is_fade(frame_of(before, size), first, second):
            return False
        return after is None or not cuts.is_fade(first, second, frame_of(after, size))

    def render(
        self,
        what: int,
        left: int,
        right: int,
        t: float,
        frame0: Planes,
        frame1: Planes,
        output: Planes,
        before: Planes | None,
        after: Planes | None,
    ) -> None:
        """Render one frame of the picture, of its transparency or of its motion; see `Renderer`."""
        if self._known is not None:  # only frames at even distances tell by how much motion changes
            before = before if before is not None and self._known.evenly(left - 1) else None
            after = after if after is not None and self._known.evenly(left) else None
        span = Span(left, right, frame0, frame1, before, after)
        if what == MOTION:
            self._renderers[PICTURE].motion(span, t, output, self._look)
            return
        self._renderers[what].render(span, t, output)

    def close(self) -> None:
        """Let go of fields, weights and threads."""
        for renderer in self._renderers.values():
            renderer.close()


def create(
    function: str, clip: tuple[str, int, int, int, int, int, int, int, int, int, int], given: Mapping[str, object]
) -> Filter:
    """Check the clip and the arguments of `function` and prepare what they ask for.

    Args:
        function: Name of the VapourSynth function: "Upscale", "Query" or "Flow".
        clip: The members of `Clip`.
        given: Those arguments that were given, by name; `times` and `seconds` as lists.

    Raises:
        UsageError: What is wrong, in one line.
        ModelError: The model cannot be used.
    """
    source = Clip(*clip)
    _check_format(source)
    arguments = _Arguments(given)
    if function == "Upscale" and not given.keys() & WORK:
        raise UsageError("there is nothing to do; give scale, width, height, fps_num or factor_num")
    try:
        size = output_size(
            (source.width, source.height),
            (1 << source.subsampling_w, 1 << source.subsampling_h),
            arguments.real("scale"),
            arguments.integer("width"),
            arguments.integer("height"),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    known = _timecodes(source, arguments)
    timeline = _timeline(function, source, arguments, known)
    scenes = _scenes(arguments)
    look = _look(arguments, size)
    device = _device(arguments.text("device"))
    fp16 = bool(arguments.integer("fp16"))
    if fp16 and device.type == "cpu":
        raise UsageError('fp16 needs device="cuda"; a CPU computes in single precision')
    dtype = torch.float16 if fp16 else torch.float32
    try:
        network = weights.load(arguments.text("model"), device, dtype)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(f"out of memory on {device} for the model; use a smaller model or another device") from None
    source_size = (source.width, source.height)
    around = network.minds_neighbours
    return Filter(timeline, known, lambda: Renderer(network, device, dtype, source_size, size), scenes, look, around)


def version() -> dict[str, list[str]]:
    """Return what `core.videoinr.Version()` says: texts by key."""
    devices = ["cpu", *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count()))]
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
    return text.encode(errors="replace").decode()  # names of files need not be UTF-8


def _about(model: catalogue.Model) -> str:
    try:
        return f"{model.name} sha256:{model.card().sha256}"
    except ModelError:  # one damaged card does not hide the others
        return f"{model.name} damaged"


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
        return Moments(_positions(times or [], clip), clip.num_frames, clip.fps)
    return Moments(_positions_in_time(seconds, clip, known), clip.num_frames, clip.fps)


def _timecodes(clip: Clip, arguments: _Arguments) -> Timecodes | None:
    path = arguments.text("timecodes")
    if path is None:
        return None
    try:
        return timecodes.read(path, clip.num_frames)
    except TimecodeError as error:
        raise UsageError(str(error)) from None


#: How a clip whose rate varies can be asked for times all the same.
_TIMECODES_HELP = 'timecodes="FILE", which the timecodes argument of a source filter or vspipe --timecodes writes'


def _resampled(clip: Clip, arguments: _Arguments, known: Timecodes | None) -> Timeline:
    fps = _ratio(arguments, "fps")
    factor = _ratio(arguments, "factor")
    if fps is not None and factor is not None:
        raise UsageError("give fps_num or factor_num, but not both")
    if fps is None and known is not None:
        raise UsageError("timecodes are for fps_num; factor_num works without them")
    timeline: Timeline
    if fps is not None and known is not None:
        timeline = Laid(known, fps)
    elif fps is not None:
        if clip.fps is None:
            raise UsageError(
                f"the clip has a variable frame rate; for fps_num give {_TIMECODES_HELP}, or give factor_num instead"
            )
        timeline = Resampled(clip.num_frames, fps / clip.fps, clip.fps)
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


def _scenes(arguments: _Arguments) -> Scenes:
    on, mode, threshold = arguments.integer("sc"), arguments.text("sc_mode"), arguments.real("sc_threshold")
    if mode is not None and mode not in SC_MODES:
        raise UsageError(f'sc_mode must be "hold" or "switch", got "{mode}"')
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"sc_threshold must be from 0 to 1, got {threshold:g}")
    return Scenes(
        IGNORE_CUTS if on == 0 else SC_MODES[mode or "hold"], SC_THRESHOLD if threshold is None else threshold
    )


def _look(arguments: _Arguments, size: tuple[int, int]) -> Look:
    toward, reach = arguments.integer("to"), arguments.real("reach")
    if toward not in (None, 0, 1):
        raise UsageError(f"to must be 0 (the frame before) or 1 (the frame after), got {toward}")
    if reach is not None and not 0 < reach < math.inf:
        raise UsageError(f"reach must be greater than 0, got {reach:g}")
    colours = None if arguments.integer("data") else Colours(reach or size[0] / 32)
    return Look(1 if toward is None else toward, colours)


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
    for time in times:
        if not 0 <= time <= clip.num_frames - 1:  # also refuses NaN
            raise UsageError(f"times must be from 0 to {clip.num_frames - 1}, the clip's last frame, got {time:g}")
    return [Fraction(time) for time in times]


def _positions_in_time(seconds: Sequence[float], clip: Clip, known: Timecodes | None) -> list[Fraction]:
    if known is not None:
        end, position = known.total, known.position
    elif clip.fps is not None:
        fps = clip.fps
        end, position = clip.num_frames / fps, lambda time: time * fps
    else:
        raise UsageError(f"the clip has a variable frame rate; for seconds give {_TIMECODES_HELP}")
    result = []
    for time in seconds:
        if not 0 <= time < end:
            raise UsageError(f"seconds must be from 0 to below {float(end):g}, the clip's end, got {time:g}")
        result.append(position(Fraction(repr(time))))  # 1.001 is meant as it is written
    return result


def _device(name: str | None) -> torch.device:
    count = torch.cuda.device_count()
    if name is None:
        return torch.device("cuda", 0) if count else torch.device("cpu")
    kind, _, index = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (name != "cuda" and not (index.isascii() and index.isdigit())):
        raise UsageError(f'device must be "cpu", "cuda" or "cuda:N", got "{name}"')
    if not count:
        raise UsageError('there is no CUDA device that torch can use; give device="cpu"')
    if int(index or 0) >= count:
        raise UsageError(f'there is no device "{name}"; the last one is "cuda:{count - 1}"')
    return torch.device("cuda", int(index or 0))


def _rational(num: int, den: int) -> Fraction | None:
    return Fraction(num, den) if num > 0 and den > 0 else None
