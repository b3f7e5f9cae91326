#!/usr/bin/env python3
"""What each idea in WarpINR is worth: python scripts/ablate.py ../shared/data/val/*.mp4 [--model lite].

Takes one part at a time out of a trained model, which has not learned to do without it, and measures the rest as
training does (`training/probe.py`: 2x size, 2x rate, PSNR on Y in dB), but knowing the pairs around each; and between
frames of which the second has faded to a share of LEFT, these by themselves. Then, with everything in place, tells
neighbours of motion as the frames show it at their full size, which nobody has: what that gains is what flows are not
exact enough for. Last, moves what the model made to where the truth has it: what that gains was not wrong, but
elsewhere. Prints a Markdown table with machine and date.
"""

from __future__ import annotations

import argparse
import datetime as dt
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from training.probe import Probe

from vs_videoinr import weights
from vs_videoinr.model import stillness, warpinr
from vs_videoinr.model.base import Flows
from vs_videoinr.model.exposure import Exposure
from vs_videoinr.model.motion import pixel_grid, sample_at
from vs_videoinr.model.warpfield import Decoder, WarpField
from vs_videoinr.model.warpinr import WarpINR


@contextmanager
def without_exact_flow(net: WarpINR) -> Iterator[None]:
    """The flow as the network estimates it."""
    with patch.object(warpinr, "sharpen", lambda flow, *_, **__: flow), without_settling(net):
        yield


@contextmanager
def without_settling(_: WarpINR) -> Iterator[None]:
    """The flow with all its noise."""
    with patch.object(warpinr, "settle", lambda flow: flow):
        yield


@contextmanager
def without_reconsidering(_: WarpINR) -> Iterator[None]:
    """Every place moves as the network estimates it, made exact, whatever moves nearby."""
    with patch.object(warpinr, "reconsider", lambda flow, *_, **__: flow):
        yield


@contextmanager
def without_refinement(net: WarpINR) -> Iterator[None]:
    """The flow as it is found from 1/4 size upwards, made exact."""
    with patch.object(net.flow, "refine", None):
        yield


@contextmanager
def without_exposure(_: WarpINR) -> Iterator[None]:
    """Frames as they are, though one of them may be darker."""

    def none(frame0: Tensor, _: Tensor) -> Exposure:
        gain, offset = torch.ones_like(frame0[:, :1, :1, :1]), torch.zeros_like(frame0[..., :1, :1])
        return Exposure((gain, gain), (offset, offset))

    with patch.object(Exposure, "between", none):
        yield


@contextmanager
def without_blanks(_: WarpINR) -> Iterator[None]:
    """Motion and detail where there is nothing to be seen, too."""
    with patch.object(stillness, "reach_of_colour", lambda frames, *_: torch.zeros_like(frames[:, :1])):
        yield


@contextmanager
def without_neighbours(_: WarpINR) -> Iterator[None]:
    """Every pair by itself."""
    with patch.object(WarpField, "among", lambda field, *_: field):
        yield


@contextmanager
def without_flow(net: WarpINR) -> Iterator[None]:
    """No motion: both frames are blended where they are."""
    flow = net.flow.forward

    def still(a: list[Tensor], b: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        flows, hidden = flow(a, b)
        return [torch.zeros_like(one) for one in flows], hidden

    with without_exact_flow(net), without_refinement(net), patch.object(net.flow, "forward", still):
        yield


@contextmanager
def without_occlusion(_: WarpINR) -> Iterator[None]:
    """Blend by time alone, whatever is hidden in one of the frames."""
    with _fine(keep=[0, 1, 1, 1]):
        yield


@contextmanager
def without_repair(_: WarpINR) -> Iterator[None]:
    """Nothing added to what is blended."""
    with _fine(keep=[1, 0, 0, 0]):
        yield


@contextmanager
def _fine(keep: list[float]) -> Iterator[None]:
    """The second part of `Decoder.lattice` with only those channels."""
    lattice = Decoder.lattice

    def part(decoder: Decoder, field: WarpField, t: float) -> tuple[Tensor, Tensor]:
        there, fine = lattice(decoder, field, t)
        return there, fine * fine.new_tensor(keep).view(1, 4, 1, 1)

    with patch.object(Decoder, "lattice", part):
        yield


@contextmanager
def without_detail(_: WarpINR) -> Iterator[None]:
    """Bicubic enlargements, warped, blended and repaired."""
    details = WarpField._details
    with patch.object(WarpField, "_details", lambda *known: [torch.zeros_like(one) for one in details(*known)]):
        yield


@contextmanager
def without_detail_of_neighbours(_: WarpINR) -> Iterator[None]:
    """Every frame enlarged without what others show of it, but for what the trunk makes of a pair."""
    with patch.object(WarpField, "_neighbours", lambda *_: []):
        yield


@contextmanager
def turned(net: WarpINR) -> Iterator[None]:
    """Frames turned all ways, as `standard` looks at them."""
    with patch.object(net, "config", replace(net.config, turned=True)):
        yield


@contextmanager
def whole(_: WarpINR) -> Iterator[None]:
    """Everything."""
    yield


@contextmanager
def moved(net: WarpINR, truth: list[Tensor]) -> Iterator[None]:
    """Each of a probe's pictures led to the next of `truth` by the flow between them."""
    sample, coming = WarpField.sample, iter(truth)

    def there(field: WarpField, t: float, size: tuple[int, int]) -> Tensor:
        made, true = sample(field, t, size), next(coming)
        flow = net.flow_levels(true, made)[-1][:1]
        return sample_at(made, pixel_grid(*size, made) + flow, "bicubic")

    with patch.object(WarpField, "sample", there):
        yield


@contextmanager
def told_exactly(probe: Probe) -> Iterator[None]:
    """What neighbours are told of motion is what the network sees of it in the frames at their full size."""
    shown = [frame for known in (*probe.triples, *probe.around) for frame in known if frame is not None]
    full = {Probe.low(frame).numpy().tobytes(): frame for frame in shown}
    flows, encode = WarpINR.flows, WarpINR.encode

    def exact(net: WarpINR, *pair: Tensor) -> Flows:
        known = flows(net, *pair)
        fine = flows(net, *(full[frame.numpy().tobytes()] for frame in pair))
        ways = [
            F.interpolate(way, size=known.onward.shape[-2:], mode="area") * (known.onward.shape[-1] / way.shape[-1])
            for way in (fine.onward, fine.back)
        ]
        return replace(known, onward=ways[0], back=ways[1])

    def told(net: WarpINR, *pair: Tensor) -> WarpField:
        field = encode(net, *pair)
        field._flows = exact(net, *pair)
        return field

    with patch.object(WarpINR, "flows", exact), patch.object(WarpINR, "encode", told):
        yield


LEFT = 0.7  # of a frame that fades

VARIANTS: dict[str, Callable[[WarpINR], AbstractContextManager[None]]] = {
    "as it is": whole,
    "without making the flow exact": without_exact_flow,
    "without evening out its noise": without_settling,
    "without refining it where it is finest": without_refinement,
    "without taking over motion from nearby": without_reconsidering,
    "without evening out exposure": without_exposure,
    "without minding what is blank": without_blanks,
    "without the pairs around": without_neighbours,
    "without any motion": without_flow,
    "without occlusion weights": without_occlusion,
    "without repair": without_repair,
    "without detail of neighbours": without_detail_of_neighbours,
    "without learned detail": without_detail,
    "looking at turned frames as well": turned,
}


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--rows", nargs="+", choices=VARIANTS, metavar="ROW", help="only these")
    parser.add_argument("--cache", type=Path, default=Path("runs/frames"))
    arguments = parser.parse_args()
    net, model = weights.load(arguments.model), Path(arguments.model).stem
    assert isinstance(net, WarpINR)
    clips, cpu = sorted(arguments.clips), torch.device("cpu")
    probe, fading = Probe(clips, arguments.cache, cpu, around=True), Probe(clips, arguments.cache, cpu, LEFT)
    print(f"Measured {dt.datetime.now(dt.UTC).date()} on {platform.machine()}.\n")
    print("| | between frames | at source times | between frames that fade |\n|---|---|---|---|")
    print(f"| bicubic, blended | {probe.blend[0]:.2f} | {probe.blend[1]:.2f} | {fading.blend[0]:.2f} |")
    for name in arguments.rows or VARIANTS:
        with VARIANTS[name](net):
            between, source = probe(net)
            fade, _ = fading(net)
        print(f"| `{model}` {name} | {between:.2f} | {source:.2f} | {fade:.2f} |", flush=True)
    if arguments.rows:
        return
    with told_exactly(probe):
        between, source = probe(net)
    print(f"| `{model}`, neighbours told of motion as full size shows it | {between:.2f} | {source:.2f} | |")
    with moved(net, [true for first, middle, _ in probe.triples for true in (middle, first)]):
        between, source = probe(net)
    print(f"| `{model}`, moved to where the truth is | {between:.2f} | {source:.2f} | |")


if __name__ == "__main__":
    main()
