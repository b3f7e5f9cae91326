"""What each stage of WarpINR is worth: python -m scripts.ablate ../shared/data/val/*.mp4 [--model lite].

Takes one stage at a time out of a trained model, which has not learned to do without it, and measures the rest as
training does (`training/probe.py`: 2x size, 2x rate, PSNR on Y in dB), but knowing the pairs around each; and between
frames of which the second has faded to a share of VISIBLE, these by themselves. Then, with every stage in place, tells
neighbours of motion as the frames show it at their full size, which nobody has: what that gains is what flows are not
exact enough for. Last, moves what the model made to where the truth has it: what that gains was not wrong, but
elsewhere. Prints a Markdown table with machine and date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts import command, measured
from scripts.data.video import CACHE
from scripts.training.probe import Probe, reduced
from vs_videoinr.networks.base import VideoField
from vs_videoinr.networks.sampling import pixel_grid, sample_at
from vs_videoinr.networks.warpinr.network import WarpINR
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.stages import Stage
from vs_videoinr.networks.warpinr.trunk_detail import TrunkDetailConfig
from vs_videoinr.weights import library

VISIBLE = 0.7  # share that is left of a frame that fades

#: Stages that are left out, by the row that this makes.
VARIANTS: dict[str, frozenset[Stage]] = {
    "as it is": frozenset(),
    "without Lucas-Kanade refinement of the flow and its smoothing": frozenset({Stage.LUCAS_KANADE, Stage.SMOOTHING}),
    "without smoothing of the flow": frozenset({Stage.SMOOTHING}),
    "without the flow's step at half size": frozenset({Stage.FINE_FLOW}),
    "without matching of exposure": frozenset({Stage.EXPOSURE}),
    "without rest where there is nothing to be seen": frozenset({Stage.STATIC_COLOUR}),
    "without the pairs before and after": frozenset({Stage.NEIGHBOURS}),
    "without any motion": frozenset({Stage.FLOW}),
    "without detail from other frames": frozenset({Stage.NEIGHBOUR_DETAIL}),
    "without residual detail": frozenset({Stage.DETAIL}),
}


def variant(net: WarpINR, kind: type[WarpINR] = WarpINR, **changes: object) -> WarpINR:
    """Return a network with the weights of `net` and a changed configuration."""
    changed = kind(replace(net.config, **changes))  # type: ignore[arg-type]
    changed.load_state_dict(net.state_dict())
    return changed.requires_grad_(False).eval()


class FullSizeMotion(WarpINR):
    """A network that tells neighbours of motion as frames show it at their full size."""

    #: The full size frame by the bytes of what the network gets.
    full_size: dict[bytes, Tensor]

    def estimate_motion(self, frame0: Tensor, frame1: Tensor, *, previous: PairMotion | None = None) -> PairMotion:
        """See `WarpINR.estimate_motion`."""
        motion = super().estimate_motion(frame0, frame1, previous=previous)
        full = super().estimate_motion(*(self.full_size[frame.numpy().tobytes()] for frame in (frame0, frame1)))
        size = motion.flow01.shape[-2:]
        flow01, flow10 = (
            F.interpolate(flow, size=size, mode="area") * (size[-1] / flow.shape[-1])
            for flow in (full.flow01, full.flow10)
        )
        return replace(motion, flow01=flow01, flow10=flow10)


class MovedToTruth(VideoField):
    """A field whose pictures are led to the next of some true ones by the flow between them."""

    def __init__(self, field: VideoField, flow: Callable[[Tensor, Tensor], Tensor], truth: Iterator[Tensor]) -> None:
        self._field, self._flow, self._truth = field, flow, truth

    def with_neighbours(self, before: PairMotion | None, after: PairMotion | None) -> VideoField:
        """See `VideoField.with_neighbours`."""
        return MovedToTruth(self._field.with_neighbours(before, after), self._flow, self._truth)

    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.sample`."""
        made = self._field.sample(t, size, check=check)
        return sample_at(made, pixel_grid(*size, made) + self._flow(next(self._truth), made), "bicubic")

    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """See `VideoField.motion`."""
        return self._field.motion(t, size, check=check)

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        return self._field.nbytes()


class MovingToTruth(WarpINR):
    """A network that makes fields of `MovedToTruth`."""

    truth: Iterator[Tensor]

    def encode(  # type: ignore[override]
        self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None
    ) -> VideoField:
        """See `Network.encode`."""
        field = super().encode(frame0, frame1, previous=previous)
        return MovedToTruth(field, lambda true, made: self.flow_levels(true, made)[-1][:1], self.truth)


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = command("ablate", __doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--rows", nargs="+", choices=VARIANTS, metavar="ROW", help="only these")
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    net, model = library.load(arguments.model), Path(arguments.model).stem
    assert isinstance(net, WarpINR)
    clips, cpu = sorted(arguments.clips), torch.device("cpu")
    probe, fading = Probe(clips, arguments.cache, cpu, neighbours=True), Probe(clips, arguments.cache, cpu, VISIBLE)
    print(f"{measured()}\n")
    print("| | between frames | at source times | between frames that fade |\n|---|---|---|---|")
    print(f"| bicubic, blended | {probe.blended[0]:.2f} | {probe.blended[1]:.2f} | {fading.blended[0]:.2f} |")
    rows = {name: variant(net, without=without) for name, without in VARIANTS.items()}
    if isinstance(net.config.detail, TrunkDetailConfig):
        rows["with the self-ensemble"] = variant(net, detail=replace(net.config.detail, self_ensemble=True))
    for name, changed in rows.items():
        if arguments.rows and name not in arguments.rows:
            continue
        between, source = probe(changed)
        row = f"`{model}` {name}" if name == "as it is" else name
        print(f"| {row} | {between:.2f} | {source:.2f} | {fading(changed)[0]:.2f} |", flush=True)
    if arguments.rows:
        return
    told = variant(net, FullSizeMotion)
    assert isinstance(told, FullSizeMotion)
    shown = [frame for triple in probe.triples for frame in vars(triple).values() if frame is not None]
    told.full_size = {reduced(frame).numpy().tobytes(): frame for frame in shown}
    between, source = probe(told)
    print(f"| with neighbours that are told the motion of the full-size frames | {between:.2f} | {source:.2f} | |")
    moving = variant(net, MovingToTruth)
    assert isinstance(moving, MovingToTruth)
    moving.truth = iter([true for triple in probe.triples for true in (triple.middle, triple.first)])
    between, source = probe(moving)
    print(f"| moved to where the truth is | {between:.2f} | {source:.2f} | |")


if __name__ == "__main__":
    main()
