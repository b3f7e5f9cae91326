"""The VapourSynth environment that a filter was made in: whether its host has begun to take it down.

VapourSynth waits for every frame that is on its way before it frees a filter, so a filter learns of the end last of
all: a window would stay open for as long as a frame, or a queue of them, takes. The one thing that changes when the
taking down begins is that an environment accepts no more callbacks for its end.
"""

from __future__ import annotations

import time

import vapoursynth as vs

#: Seconds between two looks, each of which takes some microseconds.
_INTERVAL = 0.02


class Host:
    """The environment that is current where this is made; keeps nothing of it alive."""

    def __init__(self) -> None:
        self._environment = _current()
        self._leaving = False
        self._next_look = 0.0

    def is_leaving(self) -> bool:
        """Whether the environment is being destroyed; to be asked on a thread that never entered any environment.

        Where all threads share one environment (plain Python, VSPreview) this stays False: looking means to enter
        ours for a moment, and the others would find themselves in it.
        """
        now = time.monotonic()
        if not self._leaving and self._environment is not None and now >= self._next_look and _current() is None:
            self._next_look = now + _INTERVAL
            self._leaving = _takes_no_callbacks(self._environment)
        return self._leaving


def _current() -> vs.Environment | None:
    if not vs.has_policy():  # asking would make one
        return None
    try:
        return vs.get_current_environment()
    except RuntimeError:
        return None


def _takes_no_callbacks(environment: vs.Environment) -> bool:
    try:
        with environment.use():
            vs.register_on_destroy(_nothing)
            vs.unregister_on_destroy(_nothing)
    except ValueError:
        return True
    except RuntimeError:  # it cannot be entered: it may be gone altogether
        return not environment.alive
    return False


def _nothing() -> None:
    pass
