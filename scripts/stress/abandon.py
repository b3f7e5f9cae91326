"""How long it takes until a frame that nobody waits for any more is left: the longest time between two checks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vs_videoinr import VideoINR
from vs_videoinr.model import interrupt
from vs_videoinr.model.base import Network
from vs_videoinr.model.videoinr import VideoINR as Published
from vs_videoinr.model.videoinr import VideoINRConfig


class Gaps:
    """Times between checks."""

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.longest = 0.0

    def check(self) -> None:
        """Note how long ago the last check was."""
        now = time.perf_counter()
        self.longest = max(self.longest, now - self.last)
        self.last = now


@contextmanager
def gaps() -> Iterator[Gaps]:
    """Measure the times between the checks of a network that runs meanwhile, beginning and end included."""
    found = Gaps()
    with torch.inference_mode(), interrupt.checked(found.check):
        yield found
        found.check()


def measure(network: Network, size: tuple[int, int], factor: int) -> str:
    """A row of the table for one frame made between two of `size` (width, height)."""
    width, height = size
    pair = torch.rand(2, 1, 3, height, width)
    with gaps() as encoding:
        start = time.perf_counter()
        field = network.encode(*pair)
        encode = time.perf_counter() - start
    with gaps() as sampling:
        start = time.perf_counter()
        field.sample(0.5, (height * factor, width * factor), check=sampling.check)
        sample = time.perf_counter() - start
    longest = max(encoding.longest, sampling.longest)
    return f"{width}x{height} to {width * factor}x{height * factor} | {encode:.1f} s | {sample:.1f} s | {longest:.2f} s"


def run() -> list[str]:
    """The Markdown table of both networks."""
    published = VideoINR.from_state_dict(Published(VideoINRConfig()).state_dict())  # speed does not depend on weights
    rows = [
        ("`lite`", VideoINR.load("lite"), (1920, 1080), 2),
        ("the published network", published, (320, 180), 4),
    ]
    return [
        f"PyTorch uses {torch.get_num_threads()} thread(s).",
        "",
        "| model | frame | encode | sample | longest time between checks |",
        "|---|---|---|---|---|",
        *(f"| {name} | {measure(network, size, factor)} |" for name, network, size, factor in rows),
    ]
