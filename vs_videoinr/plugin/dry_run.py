"""A dry run: filters plan frames, but leave their pixels as they are. For processes that only look at a script.

Needs no torch, which a script without this plugin's functions would have to wait for.
"""

from __future__ import annotations


class DryRun:
    """What is learnt from filters that are made during a dry run.

    Attributes:
        models: What scripts have asked for: the name or path of a model, or None, and the type of the device.
    """

    def __init__(self) -> None:
        self.models: set[tuple[str | None, str]] = set()


#: What `start` has returned, if it was called in this process.
current: DryRun | None = None


def start() -> DryRun:
    """Have filters of this process render nothing from now on."""
    global current
    current = DryRun()
    return current
