"""A process that runs networks of one version of the package and measures them: a request a line, an answer a line.

Everything here is written against the calls that every version has. `client.py` starts it and speaks to it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import vs_videoinr  # isort: skip - has to tell torch how to work before that is imported
import torch

from scripts.benchmark.counting import counted
from scripts.reliability.resources import peak_memory, reset_peak_memory
from tests.networks.videoinr.twin_decoder import decode
from tests.reference_recipe import frame, pair
from vs_videoinr.networks.videoinr.network import VideoINR

Row = dict[str, Any]

TOP = 6  # operations of a profile
KERNEL_NAME = 80  # characters of a kernel's name, which can say much of its types


class Device:
    """Where a network runs, with its clock and its memory."""

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)
        self.is_cpu = self.torch.type == "cpu"

    def wait(self) -> None:
        """Return when everything it was given is done."""
        if not self.is_cpu:
            torch.accelerator.synchronize()

    def reset_peak_memory(self) -> None:
        """Let `peak_memory` begin anew."""
        if self.is_cpu:
            reset_peak_memory()
        else:
            torch.accelerator.reset_peak_memory_stats()

    def peak_memory(self) -> int:
        """Bytes in use at most since the last `reset_peak_memory`: of this process, or of the GPU."""
        return peak_memory() if self.is_cpu else torch.accelerator.max_memory_allocated()

    @contextmanager
    def timed(self, row: Row) -> Iterator[None]:
        """Put wall clock and CPU seconds and the peak memory in bytes of what runs meanwhile into `row`."""
        self.reset_peak_memory()
        start, cpu = time.perf_counter(), time.process_time()
        yield
        self.wait()
        row |= {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "peak": self.peak_memory(),
        }

    @contextmanager
    def profiled(self, row: Row) -> Iterator[None]:
        """Put the operations that take most of the time of what runs meanwhile into `row`, with their shares of it.

        On a GPU these are kernels; there, how many ran and for how many seconds goes into `row` as well.
        """
        cpu_alone = [torch.profiler.ProfilerActivity.CPU] if self.is_cpu else None
        with torch.profiler.profile(activities=cpu_alone) as profile:
            yield
            self.wait()
        times: dict[str, float] = {}
        kernels = 0
        for event in profile.key_averages():
            if self.is_cpu:
                times[event.key.removeprefix("aten::")] = event.self_cpu_time_total
            elif event.device_type.name != "CPU":  # what has been run there, not what has asked for it
                name = event.key[:KERNEL_NAME]
                times[name] = times.get(name, 0) + event.self_device_time_total
                kernels += event.count
        total = sum(times.values())
        if not self.is_cpu:
            row |= {"kernels": kernels, "busy": total / 1e6}
        largest = sorted(times, key=lambda key: -times[key])[:TOP]
        row["profile"] = [[key, times[key] / total] for key in largest if total]


@contextmanager
def _counted(row: Row) -> Iterator[None]:
    with counted() as counts:
        yield
    row |= vars(counts)


class Pair:
    """A pair of frames with those around it, and a network that is to make frames of it."""

    def __init__(self, model: str, device: str, source: tuple[int, int], size: tuple[int, int]) -> None:
        """Load a model; sizes are (width, height)."""
        self.device = Device(device)
        # As the plugin loads it: our own networks compute in half precision on a GPU.
        self.network = vs_videoinr.load(model, device) if self.device.is_cpu else vs_videoinr.load(model, device, None)
        self.size = size[1], size[0]
        self._source = source[1], source[0]
        self._shown = 0

    def _frames(self) -> list[torch.Tensor]:
        """Four frames that were not there before, so that nothing can be known of them from the last time."""
        times = range(self._shown, self._shown + 4)
        self._shown += 4
        return [torch.from_numpy(frame(*self._source, t))[None].to(self.device.torch) for t in times]

    def steps(self, around: Callable[[Row], Any]) -> dict[str, Row]:
        """Run every step of the work inside of `around`; what that notes of each."""
        rows: dict[str, Row] = {}

        def step(name: str, call: Callable[[], Any]) -> Any:
            row = rows[name] = {}
            with around(row):
                return call()

        net, frames = self.network, self._frames()
        before = after = None
        if net.uses_neighbours:
            before = step("motion of a neighbouring pair", lambda: _motion(net, *frames[:2]))
            after = _motion(net, *frames[2:])
        field = step("encode a pair", lambda: net.encode(frames[1], frames[2])).with_neighbours(before, after)
        step("first frame of a pair", lambda: field.sample(0.25, self.size))
        step("further frame", lambda: field.sample(0.75, self.size))
        return rows

    def whole(self, rate: int) -> Row:
        """Make all frames that a rate has in the pair, source times included."""
        row: Row = {}
        frames = self._frames()
        with torch.inference_mode(), self.device.timed(row):
            before, after = (_motion(self.network, *frames[n : n + 2]) for n in (0, 2))
            field = self.network.encode(frames[1], frames[2]).with_neighbours(before, after)
            for k in range(rate):
                field.sample(k / rate, self.size)
        return row


def _motion(net: Any, frame0: torch.Tensor, frame1: torch.Tensor) -> Any:
    """What a pair tells its neighbours; the commit before may have a quicker way to it than to encode the pair."""
    quick = getattr(net, "estimate_motion", None)
    return net.encode(frame0, frame1).pair_motion if quick is None else quick(frame0, frame1)


_pair: tuple[Any, Pair] | None = None


def _opened(model: str, device: str, source: list[int], size: list[int]) -> Pair:
    """The pair that was asked for last, or another one in its place."""
    global _pair
    key = model, device, source, size
    if _pair is None or _pair[0] != key:
        _pair = None
        _pair = key, Pair(model, device, (source[0], source[1]), (size[0], size[1]))
    return _pair[1]


def about() -> Row:
    """What runs here."""
    return {"file": vs_videoinr.__file__, "threads": torch.get_num_threads()}


def steps(how: str, **what: Any) -> dict[str, Row]:
    """Run the steps of a pair once, "timed", "counted" or "profiled"."""
    opened = _opened(**what)
    with torch.no_grad() if how == "counted" else torch.inference_mode():
        return opened.steps(
            {"timed": opened.device.timed, "counted": _counted, "profiled": opened.device.profiled}[how]
        )


def whole(rate: int, **what: Any) -> Row:
    """Make all frames of a pair at a rate."""
    return _opened(**what).whole(rate)


def literal(model: str, threads: int, source: list[int], size: list[int], repeats: int) -> Row:
    """The published network's decoder, as the paper writes it and as the package has it, by turns.

    Both begin with the same feature map. Of the package's, the first frame of a pair and a further one are timed.
    """
    torch.set_num_threads(threads)
    network = vs_videoinr.load(model)
    assert isinstance(network, VideoINR)
    frames = pair(source[1], source[0])
    shape = size[1], size[0]
    cpu = Device("cpu")
    rows: list[dict[str, Row]] = []
    with torch.inference_mode():
        features = network.feature_map(*frames)
        network.feature_map = lambda *_: features  # type: ignore[method-assign]
        for _ in range(repeats + 1):  # the first one warms up
            row: dict[str, Row] = {"literal": {}, "first": {}, "further": {}}
            with cpu.timed(row["literal"]):
                rgb, _ = decode(network, *frames, 0.7, shape)
            field = network.encode(*frames)
            with cpu.timed(row["first"]):
                ours = field.sample(0.7, shape)
            with cpu.timed(row["further"]):
                field.sample(0.3, shape)
            rows.append(row)
    return {
        **{name: min(row[name]["seconds"] for row in rows[1:]) for name in rows[0]},
        "difference": float((rgb - ours).abs().max()),
        **_multiply_adds(network),
    }


def _multiply_adds(network: VideoINR) -> Row:
    """How many the factorised decoder makes for each pixel, and how many a second PyTorch's matrix product can.

    That of the shape of the decoder's largest layer. Layers by their names, which are those of the published weights.
    """
    state = network.state_dict()
    spatial, temporal, colour = (
        [weight for name, weight in state.items() if name.startswith(f"{siren}.net.") and name.endswith(".weight")]
        for siren in ("feat_imnet", "flow_imnet", "encode_imnet")
    )
    # Of first layers only the continuous feature's part, which the last network takes twice: the rest is of cells.
    continuous = len(spatial[-1])
    count = continuous * (len(temporal[0]) + 2 * len(colour[0]))
    count += sum(weight.numel() for weights in (spatial, temporal, colour) for weight in weights[1:])
    largest = max(colour[1:], key=torch.numel)
    values, times = torch.rand(8192, largest.shape[1]), []
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(values, largest.T)
        times.append(time.perf_counter() - start)
    return {"pixel_macs": count, "macs_per_second": len(values) * largest.numel() / min(times)}


COMMANDS: dict[str, Callable[..., Any]] = {command.__name__: command for command in (about, steps, whole, literal)}


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": COMMANDS[request.pop("command")](**request)}
        except (vs_videoinr.ModelError, RuntimeError, MemoryError) as error:
            answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
