"""What one output frame shows, as far as that is known before its source frames are there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vs_videoinr.plugin.scene_cuts import Mode
from vs_videoinr.plugin.timecodes import Timecodes
from vs_videoinr.plugin.timeline import Timeline


@dataclass(frozen=True, slots=True)
class FramePlan:
    """One output frame's source frames, the time between them, and what becomes of marks and durations.

    The native side asks for it once and reads its attributes by name (native/frame_plan.c). What depends on the source
    frames themselves, whether they are equal and whether a cut lies between them, it sees for itself.

    Attributes:
        left: The source frame at or before the output frame's time.
        right: The one after it; equal to `left`, with `t` = 0, where the clip has no more.
        t: From `left` (0) to `right` (below 1).
        on_source: The time is that of a source frame.
        shows_right: Where a cut lies between both, the output frame shows `right` and not `left`.
        keeps_start: Of the output frames that show `left` it is the first, which keeps the mark of a scene's beginning.
        keeps_end: Of the output frames that show `left` it is the last, which keeps the mark of a scene's end.
        keeps_right_start: Of those that show `right` at a cut it is the first.
        earlier_duration: Seconds that source frame `left` - 2 lasts; 0 where only the frame itself says it.
        previous_duration: The same of `left` - 1.
        left_duration: The same of `left`.
        right_duration: The same of `right`.
        duration_num: Numerator of the seconds that the output frame lasts; 0 where that takes `Filter.duration`.
        duration_den: Denominator of it; 0 likewise.
    """

    left: int
    right: int
    t: float
    on_source: bool
    shows_right: bool
    keeps_start: bool
    keeps_end: bool
    keeps_right_start: bool
    earlier_duration: float
    previous_duration: float
    left_duration: float
    right_duration: float
    duration_num: int
    duration_den: int


def plan_frame(n: int, timeline: Timeline, cuts: Mode, timecodes: Timecodes | None) -> FramePlan:
    """Return what output frame `n` of a timeline shows.

    Args:
        n: Output frame.
        timeline: Where output frames lie among source frames.
        cuts: What is shown between the frames on both sides of a cut.
        timecodes: When the clip's frames begin, if that is known.
    """
    place = timeline.place(n)
    left, before, after = place.left, place.before, place.after
    switches = cuts is Mode.SWITCH
    # A switch shows the frame after the cut from half way on: some of its output frames come before its own time.
    shown_before = switches and before == (left - 1, True)
    ends_early = switches and place.right != left
    duration = Fraction(0) if timeline.fps is None else timeline.duration(n) or Fraction(0)
    around = left - 2, left - 1, left, place.right
    seconds = [0.0 if timecodes is None else timecodes.duration(frame) for frame in around]
    return FramePlan(
        left=left,
        right=place.right,
        t=place.t.numerator / place.t.denominator,
        on_source=place.on_source,
        shows_right=switches and 2 * place.t >= 1,
        keeps_start=(before is None or before.left != left) and not shown_before,
        keeps_end=after != (left, False) if ends_early else after is None or after.left != left,
        keeps_right_start=before != (left, True),
        earlier_duration=seconds[0],
        previous_duration=seconds[1],
        left_duration=seconds[2],
        right_duration=seconds[3],
        duration_num=duration.numerator,
        duration_den=duration.denominator if duration else 0,
    )
