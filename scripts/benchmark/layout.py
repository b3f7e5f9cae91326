"""Numbers as the report shows them."""

from __future__ import annotations


def seconds(value: float | None) -> str:
    """A time of a second and more or less."""
    return "–" if value is None else f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def milliseconds(value: float | None) -> str:
    """A time, given in seconds, that is shorter than that as a rule."""
    return "–" if value is None else f"{value * 1000:.2g} ms" if value < 0.01 else f"{value * 1000:.0f} ms"


def gb(value: float | None) -> str:
    """An amount of memory that is given in bytes."""
    return "–" if not value else f"{value / 1e9:.2f} GB"


def ratio(before: float | None, now: float | None) -> str:
    """How many times as much it was before."""
    return "–" if before is None or not now else f"{before / now:.2f}"
