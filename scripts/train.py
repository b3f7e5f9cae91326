"""Train a network: python -m scripts.train CONFIG.yaml [--run FOLDER] [--minutes M].

Saves everything that resuming needs in FOLDER (runs/NAME by default) every few minutes, when asked to stop (Ctrl-C,
SIGTERM) and at the end, together with the averaged weights NAME.safetensors. Started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from scripts.data.batch import Batch, Kind, seed_of
from scripts.data.clips import Clips, stills
from scripts.data.drawings import draw
from scripts.data.feed import Feed, Source
from scripts.data.pans import Pans
from scripts.data.photographs import Photographs, load
from scripts.data.single_frames import Held
from scripts.training.optimiser import MOTION, Optimiser
from scripts.training.probe import Probe
from vs_videoinr import weights
from vs_videoinr.model.warpinr import WarpINR

log = logging.getLogger("train")

SAVE_MINUTES = 5.0
HELD, ONE = 0.3, 0.15  # shares of the batches about neighbours in which a frame has none or one


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """A smooth mean absolute difference: where motion is in doubt it takes a side, and blurs less."""
    return ((a - b).square() + 1e-6).sqrt().mean()


def root_mean_square(a: Tensor, b: Tensor) -> Tensor:
    """The root of each picture's mean squared difference, which PSNR is made of; the mean of these."""
    return ((a - b).square().mean((1, 2, 3)) + 1e-6).sqrt().mean()


def flow_loss(flows: list[Tensor], truth: Tensor) -> Tensor:
    """Mean distance from the true flow, in low-resolution pixels, at every level; far misses count less and less."""
    total = truth.new_zeros(())
    for flow in flows:
        height, width = flow.shape[-2:]
        shrink = truth.shape[-1] / width
        aim = torch.nn.functional.interpolate(truth, size=(height, width), mode="area")
        miss = (flow * shrink - aim).square().sum(1).add(1e-4).sqrt()
        total = total + (miss / (1 + 0.05 * miss)).mean()
    return total / len(flows)


class Trainer:
    """A run: network, averaged network, optimiser, data, and how far it has come."""

    def __init__(self, config: dict[str, Any], run: Path, device: torch.device) -> None:
        self.config, self.run, self.device = config, run, device
        run.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config["seed"])
        assert config["architecture"] == WarpINR.architecture
        self.net = WarpINR(WarpINR.Config(**config["network"])).to(device)
        self.net.to(memory_format=torch.channels_last)
        if config.get("start"):
            self.start_from(load_file(config["start"]))
        self.learning = [name for name, _ in self.net.named_parameters() if name.startswith(tuple(config["learn"]))]
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimiser = Optimiser(self.net, config["rate"], config["motion_rate"])
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        data = config["data"]
        kind = Kind(data["batch"], data["side"], data["window"], data["compressed"])
        wide = replace(kind, batch=max(1, kind.batch // 4), side=2 * kind.side)
        alone = replace(kind, **data["alone"])
        reach, seed = data["reach"], config["seed"]
        cache = run.parent / "frames"
        images = load(Path(data["photos"]), device)
        clips = sorted(Path(data["clips"]).glob("*.mp4"))
        photographs = Photographs(images, kind, reach, seed)
        drawings, pictures = draw(data["drawn"], images, seed), images + stills(clips, cache, device)
        sources: dict[str, Source] = {
            "photographs": photographs,
            # as many pixels in fewer pictures, for motion that would leave small ones
            "wide": Photographs(images, wide, 2 * reach, seed),
            "pans": Pans(images, kind, reach, seed),
            "drawings": Pans(drawings, alone, reach, seed, between=False),
            "stills": Pans(pictures, alone, reach, seed, between=False),
            "clips": Clips(clips, cache, kind, device, seed),
            "held drawings": Held(drawings, alone, seed),
            "held stills": Held(pictures, alone, seed),
        }
        if unknown := sorted(data["shares"].keys() - sources.keys()):
            raise SystemExit(f"train: there is no source of batches called {unknown[0]!r}")
        shares = [(data["shares"].get(name, 0), source) for name, source in sources.items()]
        self.feed = Feed(photographs, shares, data["fades"], seed, data["workers"])
        self.probe = Probe(sorted(Path(data["val"]).glob("*.mp4")), cache, device, around=True)
        self.state = run / "state.pt"
        if self.state.exists():
            self.restore()

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take over what fits of other weights, by name and shape; blocks that are new to the trunk do nothing yet."""
        own = self.net.state_dict()
        fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise SystemExit(f"train: nothing in {self.config['start']} fits this network")
        for name in own.keys() - fitting.keys():
            if name.startswith("trunk.") and ".conv2." in name:
                own[name].zero_()
        self.net.load_state_dict({**own, **fitting})
        log.info("started from %d of %d tensors; new: %s", len(fitting), len(own), sorted(own.keys() - fitting.keys()))

    def progress(self) -> float:
        """How much of the budget is used, 0 to 1."""
        budget = self.config["budget"]
        return float(max(self.step / budget["steps"], self.seconds / 60 / budget["minutes"]))

    def train_step(self) -> float:
        """One step: the motion alone for the first part of the budget, then everything. Returns the loss."""
        alone = self.config["motion_share"]
        done = min(1.0, self.progress())
        full = alone if alone < 1 else 0.0  # the part at full rate; if only motion is learned, its rate falls, too
        fall = 1.0 if done < full else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - full) / (1 - full)))
        batch = self.feed.get(self.step, motion=done < alone)
        chance = torch.Generator().manual_seed(seed_of(self.config["seed"] + 2, self.step))
        choice, kind = torch.rand(2, generator=chance).tolist()
        if done < alone:
            loss = total = self.motion_loss(batch)
        elif choice < self.config["neighbours"] and batch.middle is not None:
            loss = total = self.neighbours_loss(batch, kind)
        else:
            loss, total = self.loss(batch, self.config["flow_weight"] * fall)
        self.net.zero_grad()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.config["clip"])
        if math.isfinite(float(norm)):  # a step of nonsense would spoil everything after it
            self.optimiser.step(fall * min(1.0, (self.step + 1) / self.config["warmup"]))
        else:
            self.skipped += 1
        decay = min(self.config["ema"], (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.ema.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        self.step += 1
        return loss.item()

    def autocast(self) -> torch.autocast:
        """The precision that the network trains in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config["precision"] == "bf16")

    def motion_loss(self, batch: Batch) -> Tensor:
        """The flow's loss alone."""
        self.learn_motion(True)
        with self.autocast():
            flows = self.net.flow_levels(batch.frame0, batch.frame1)
        assert batch.flow is not None
        return flow_loss(flows, batch.flow)

    def loss(self, batch: Batch, flow_weight: float) -> tuple[Tensor, Tensor]:
        """The pictures' loss, and the same with the flow's where the true motion is known.

        Charbonnier's between the frames; at the frames' own times, where nothing is in doubt but detail, the root mean
        square, which learns that sooner.
        """
        # what is seen at the frames' own times teaches next to nothing about motion, and is quicker without
        self.learn_motion(any(0 < target.t < 1 for target in batch.targets))
        with self.autocast():
            flows: list[Tensor] = []
            if batch.frame1 is batch.frame0:
                field = self.net.encode_held(batch.frame0)
            else:
                field, flows = self.net.encode_with_flows(batch.frame0, batch.frame1)
            made = [field.sample_window(target.t, batch.size, target.window) for target in batch.targets]
        losses = [
            (charbonnier if 0 < target.t < 1 else root_mean_square)(picture, target.rgb)
            for picture, target in zip(made, batch.targets, strict=True)
        ]
        loss = torch.stack(losses).mean()
        return loss, loss if batch.flow is None else loss + flow_weight * flow_loss(flows, batch.flow)

    def neighbours_loss(self, batch: Batch, kind: float) -> Tensor:
        """The loss of two frames that are enlarged with what those around them show.

        `kind` in [0, 1) says which: in the first part, HELD, none, as frames that are held are a pair with themselves;
        in the next, ONE, only each other; else the one before them too, and often the one after them.
        """
        assert batch.middle is not None
        frame, truth = batch.middle
        self.learn_motion(False)
        onward = int(1000 * kind) % 4 > 0
        other, one = (batch.frame0, batch.frame1) if onward else (batch.frame1, batch.frame0)
        aims = [(0.0, truth), (1.0, next(target for target in batch.targets if target.t == float(onward)))]
        with self.autocast():
            if kind < HELD:
                field = self.net.encode_held(frame)
                aims = aims[:1]
            elif kind < HELD + ONE:
                field = self.net.encode(frame, one)
            else:
                after = self.net.flows(one, batch.beyond) if onward and batch.beyond is not None else None
                field = self.net.encode(frame, one).among(self.net.flows(other, frame), after)
            made = [field.sample_window(t, batch.size, target.window) for t, target in aims]
        losses = [root_mean_square(picture, target.rgb) for picture, (_, target) in zip(made, aims, strict=True)]
        return torch.stack(losses).mean()

    def learn_motion(self, motion: bool) -> None:
        """Let what is to learn take part in the next step; pyramid and flow only with `motion`."""
        learning = {name for name in self.learning if motion or not name.startswith(MOTION)}
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name in learning)

    def save(self) -> None:
        """Write the whole state and the averaged weights, each whole or not at all."""
        part = self.state.with_suffix(".part")
        torch.save(
            {
                "net": self.net.state_dict(),
                "ema": self.ema.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            },
            part,
        )
        part.replace(self.state)
        training = {"config": self.config, "steps": self.step, "minutes": round(self.seconds / 60)}
        weights.save(self.ema, self.run, self.config["name"], training=training)

    def restore(self) -> None:
        """Go back to where the saved state was."""
        state = torch.load(self.state, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        log.info("resumed at step %d after %.1f minutes", self.step, self.seconds / 60)

    def loop(self, minutes: float) -> None:
        """Train until the budget, `minutes` of this call, or a signal ends it."""
        stop = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.append(True))
        begun = saved = time.monotonic()
        loss, since, counted = 0.0, begun, 0
        log.info("probe: blended bicubic %.2f dB between frames, %.2f dB at source times", *self.probe.blend)
        while not stop:
            now = time.monotonic()
            loss += self.train_step()
            counted += 1
            after = time.monotonic()
            self.seconds += after - since
            since = after
            done = self.progress() >= 1 or (after - begun) / 60 >= minutes
            if done or after - saved > SAVE_MINUTES * 60:
                middle, source = self.probe(self.ema)
                line = {
                    "step": self.step,
                    "minutes": round(self.seconds / 60, 1),
                    "loss": round(loss / counted, 5),
                    "samples_per_s": round(counted * self.config["data"]["batch"] / (after - saved), 2),
                    "skipped": self.skipped,
                    "psnr_between": round(middle, 3),
                    "psnr_source": round(source, 3),
                }
                log.info("%s", json.dumps(line))
                with (self.run / "log.jsonl").open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
                self.save()
                loss, counted, saved, self.skipped = 0.0, 0, after, 0
                if done:
                    return
            elif self.step % 100 == 0:
                log.info("step %d: loss %.5f, %.2f s a step", self.step, loss / counted, after - now)
        self.save()


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--run", type=Path, help="folder of this run (default: runs/NAME)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many minutes of this call")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    config = yaml.safe_load(arguments.config.read_text())
    run = arguments.run or Path("runs") / config["name"]
    trainer = Trainer(config, run, torch.device(arguments.device))
    try:
        trainer.loop(arguments.minutes)
    finally:
        trainer.feed.close()


if __name__ == "__main__":
    main()
