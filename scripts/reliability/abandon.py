"""What one long frame takes: time, memory, and how soon it is left when nobody waits for it any more.

The latter is the longest time between two checks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from scripts.reliability.resources import peak_memory, reset_peak_memory
from vs_videoinr import from_state_dict, load
from vs_videoinr.networks import cancellation
from vs_videoinr.networks.base import Network
from vs_videoinr.networks.videoinr.network import VideoINR as Published
from vs_videoinr.networks.videoinr.network import VideoINRConfig


class Gaps:
    """The longest time between two checks, in seconds."""

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
    with torch.inference_mode(), cancellation.checked(found.check):
        yield found
        found.check()


def measure(network: Network, size: tuple[int, int], factor: int) -> str:
    """A row of the table for one frame made between two of `size` (width, height), with a neighbour if those count."""
    width, height = size
    shapes = F.interpolate(torch.rand(1, 3, height // 8, width // 8), size=(height + 6, width + 6), mode="bicubic")
    first, second, third = (shapes[..., 3 * n : 3 * n + height, n : n + width].contiguous() for n in range(3))
    after = network.encode(second, third).pair_motion
    reset_peak_memory()
    with gaps() as encoding:
        start = time.perf_counter()
        field = network.encode(first, second)
        encode = time.perf_counter() - start
    to_encode = peak_memory()
    field = field.with_neighbours(None, after)
    reset_peak_memory()
    with gaps() as sampling:
        start = time.perf_counter()
        field.sample(0.5, (height * factor, width * factor), check=sampling.check)
        sample = time.perf_counter() - start
    longest = max(encoding.longest, sampling.longest)
    return (
        f"{width}x{height} to {width * factor}x{height * factor} | {encode:.1f} s, {to_encode / 1e9:.1f} GB | "
        f"{sample:.1f} s, {peak_memory() / 1e9:.1f} GB | {longest:.2f} s"
    )


def run() -> list[str]:
    """The Markdown table of both networks."""
    published = from_state_dict(Published(VideoINRConfig()).state_dict())  # speed does not depend on weights
    rows = [
        ("`lite`", load("lite"), (1920, 1080), 2),
        ("the published network", published, (320, 180), 4),
    ]
    return [
        f"PyTorch uses {torch.get_num_threads()} thread(s). Memory is what the process had at most.",
        "",
        "| model | frame | to encode | to sample | longest time between checks |",
        "|---|---|---|---|---|",
        *(f"| {name} | {measure(network, size, factor)} |" for name, network, size, factor in rows),
    ]
