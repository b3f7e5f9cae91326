"""What is wanted of the speed, and whether the measurements say so."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from scripts.benchmark import overhead
from scripts.benchmark.bench import Row, value
from scripts.benchmark.layout import gb, milliseconds, ratio, seconds
from scripts.evaluation.scores import Entry, Setting, at_source, between

Sections = dict[str, list[Row]]  # rows by the section's name
Both = tuple[float | None, float | None]  # before and now
Shown = Callable[[float | None], str]

SCORED = (Setting(4, 2), Setting(4, 2, 9))  # where the quality of `standard` is compared: the first that both have


@dataclass(frozen=True)
class Goal:
    """One of them.

    Attributes:
        text: What is measured.
        wanted: What is wanted of it.
        before: Of the version before, or of what it is compared with; "–" where that is not known.
        now: Of the installed version, likewise.
        ratio: The two as one number, likewise.
        met: None if it was not measured.
    """

    text: str
    wanted: str
    before: str
    now: str
    ratio: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


def _both(find: Callable[[str], float | None]) -> Both:
    """What is found of either version."""
    return find("before"), find("now")


def _less(text: str, both: Both, factor: float) -> Goal:
    """A time that has to be so many times shorter."""
    before, now = both
    met = None if before is None or not now else before / now >= factor
    return Goal(text, f"1/{factor:g}", seconds(before), seconds(now), ratio(before, now), met)


def _at_most(text: str, both: Both, limit: float, shown: Shown) -> Goal:
    """What must not be more than a number."""
    before, now = both
    met = None if now is None else now <= limit
    return Goal(text, f"≤ {shown(limit)}", shown(before), shown(now), ratio(before, now), met)


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:.0f}"


def _clip(rows: list[Row], model: str, setting: Setting) -> Both:
    """CPU time of a frame of a clip."""
    where = {"method": model, "device": "cpu", "setting": list(setting)}
    return _both(lambda build: value(rows, "cpu", build=build, **where))


def _launches(rows: list[Row], *steps: str) -> Both:
    """Operations of some steps of `lite` together."""

    def find(build: str) -> float | None:
        where = {"model": "lite", "build": build, "source": [160, 90], "factor": 4}
        counts = [value(rows, "launches", step=step, **where) for step in steps]
        return None if None in counts else sum(counts)

    return _both(find)


def _decoding(rows: list[Row], tuned: bool) -> Both:
    """The literal order of work and the package's, on one thread."""
    where = {"build": "now", "threads": 1, "tuned": tuned}
    return value(rows, "literal", **where), value(rows, "first", **where)


def _frame_rate(rows: list[Row], build: str) -> float | None:
    taken = value(rows, "seconds", build=build, format="YUV420P8")
    return None if taken is None else 1 / max(taken, 1e-6)


def _quality(scores: list[Entry], before: list[Entry]) -> Goal:
    """How much PSNR on Y `standard` has lost, at source times or between them, wherever more; by docs/EVALUATION.md."""
    text, wanted = "`standard` 4x size, PSNR lost (docs/EVALUATION.md)", "≤ 0.03 dB"
    for setting in SCORED:
        old, new = (
            {entry.clip: entry for entry in entries if entry.method == "standard" and entry.setting == setting}
            for entries in (before, scores)
        )
        if new and old.keys() == new.keys():
            was, is_now = (
                [statistics.fmean(place(entry.psnr) for entry in entries.values()) for place in (at_source, between)]
                for entries in (old, new)
            )
            lost = round(max(one - other for one, other in zip(was, is_now, strict=True)), 2)
            shown = [" / ".join(f"{mean:.2f}" for mean in means) + " dB" for means in (was, is_now)]
            return Goal(text, wanted, shown[0], shown[1], f"{lost:.2f} dB", lost <= 0.03)
    return Goal(text, wanted, "–", "–", "–", None)


def goals(sections: Sections, scores: list[Entry], scores_before: list[Entry]) -> list[Goal]:
    """All of them, by the rows of what was measured and by the scores of docs/EVALUATION.md now and before."""
    clips, pairs, plain, decoded, large, started = (
        sections.get(name, []) for name in ("end_to_end", "steps", "overhead", "literal", "large_frame", "startup")
    )
    further = {"step": "further frame", "model": "lite", "device": "cpu", "source": [320, 180], "factor": 4}
    rates = _both(lambda build: _frame_rate(plain, build))
    return [
        _less("`lite` 1x size, 2x rate (854x480), CPU time a frame", _clip(clips, "lite", Setting(1, 2)), 12),
        *(
            _less(f"`lite` 4x size, {rate}x rate (213x120 to 854x480), CPU time a frame", cost, 6)
            for rate in (2, 10)
            for cost in [_clip(clips, "lite", Setting(4, rate))]
        ),
        _less("`standard` 4x size, 2x rate, CPU time a frame", _clip(clips, "standard", Setting(4, 2)), 10),
        _quality(scores, scores_before),
        _at_most(
            "`lite`, launches for a pair", _launches(pairs, "encode a pair", "first frame of a pair"), 500, _count
        ),
        _at_most("`lite`, launches for a further frame", _launches(pairs, "further frame"), 30, _count),
        _at_most(
            "`lite`, a further frame at 1280x720",
            _both(lambda build: value(pairs, "seconds", build=build, **further)),
            0.04,
            milliseconds,
        ),
        _at_most(
            "`lite`, 1920x1080 to 3840x2160, peak memory",
            _both(lambda build: value(large, "peak", build=build)),
            2e9,
            gb,
        ),
        _less("published network, decoding on one thread, allocation as it comes", _decoding(decoded, False), 5),
        _less("published network, decoding on one thread, allocation tuned", _decoding(decoded, True), 3),
        _at_most(
            "fresh process to first frame, 160x90 to 640x360",
            _both(lambda what: value(started, "seconds", what=what)),
            4,
            seconds,
        ),
        _at_most(
            "the plugin around a network that copies, time added to a 1080p frame (RGBS)",
            _both(lambda build: overhead.added(plain, build, "RGBS")),
            0.001,
            milliseconds,
        ),
        Goal(
            "the same in YUV 4:2:0 through vspipe, frames a second",
            "≥ 400",
            _count(rates[0]),
            _count(rates[1]),
            ratio(rates[1], rates[0]),
            None if rates[1] is None else rates[1] >= 400,
        ),
    ]
