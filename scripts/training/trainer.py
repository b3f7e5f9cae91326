"""A training run: what a step learns, and how it is stopped and gone on with."""

from __future__ import annotations

import copy
import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from scripts.data.sources import make_feed
from scripts.training.config import Config
from scripts.training.examples import Examples, MotionExamples
from scripts.training.losses import flow_loss, root_mean_square
from scripts.training.optimiser import MOTION_PREFIXES, Optimiser
from scripts.training.probe import Probe
from vs_videoinr import ModelError, load
from vs_videoinr.networks.warpinr.frame_detail import FrameDetailConfig
from vs_videoinr.networks.warpinr.network import WarpINR
from vs_videoinr.networks.warpinr.trunk_detail import TrunkDetailConfig
from vs_videoinr.weights import library

log = logging.getLogger("train")

SAVE_MINUTES = 5.0
DETAIL = {"frame_detail": FrameDetailConfig, "trunk_detail": TrunkDetailConfig}  # as a configuration names them
FINAL_RATE = 0.01  # of the learning rate at its highest


class Trainer:
    """A run: network, averaged network, optimiser, data, and how far it has come."""

    def __init__(self, config: Config, run: Path, device: torch.device) -> None:
        """Begin the run in folder `run`, or go on with what is saved there."""
        self.config, self.run, self.device = config, run, device
        run.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        if config.precision not in ("bf16", "float32"):
            raise SystemExit(f"precision should be bf16 or float32, not {config.precision}")
        if config.architecture != WarpINR.architecture:
            raise SystemExit(f"architecture {config.architecture} cannot be trained, only {WarpINR.architecture}")
        self.net = new_network(config.network).to(device).to(memory_format=torch.channels_last)
        if config.start:
            self.start_from(load_start(config.start))
        self.learning = [name for name, _ in self.net.named_parameters() if name.startswith(tuple(config.learn))]
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimiser = Optimiser(self.net, config.rate, config.motion_rate)
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        frames = run.parent / "frames"
        self.feed = make_feed(config.data, frames, device, config.seed)
        teacher = load_teacher(config.teacher, device) if config.teacher else None
        self.motion_examples = MotionExamples(self.feed, teacher)
        self.examples = Examples(self.feed, self.net, teacher, config.repeats, config.seed)
        self.probe = Probe(sorted(Path(config.data.val).glob("*.mp4")), frames, device, neighbours=True)
        self.state = run / "state.pt"
        if self.state.exists():
            self.restore()

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take over what fits of other weights, by name and shape; blocks that are new to the trunk do nothing yet."""
        own = self.net.state_dict()
        fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise SystemExit(f"nothing in {self.config.start} fits this network")
        for name in own.keys() - fitting.keys():
            if ".trunk." in name and ".conv2." in name:
                own[name].zero_()
        self.net.load_state_dict({**own, **fitting})
        log.info("started from %d of %d tensors; new: %s", len(fitting), len(own), sorted(own.keys() - fitting.keys()))

    def progress(self) -> float:
        """How much of the budget is used, 0 to 1."""
        budget = self.config.budget
        return float(max(self.step / budget.steps, self.seconds / 60 / budget.minutes))

    def train_step(self) -> Tensor:
        """One step: the motion alone for the first part of the budget, then the detail of frames. Returns the loss.

        Nobody reads it off a GPU at every step, which would wait for it.
        """
        motion_share, done = self.config.motion_share, min(1.0, self.progress())
        motion_only = done < motion_share
        factor = rate_factor(done, motion_share if motion_share < 1 else 0.0)
        self.let_learn(motion_only)
        loss = self.motion_loss() if motion_only else self.detail_loss()
        self.net.zero_grad()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        if math.isfinite(float(norm)):  # a step of nonsense would spoil everything after it
            self.optimiser.step(factor * min(1.0, (self.step + 1) / self.config.warmup))
        else:
            self.skipped += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        averaged = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        averaged(list(self.ema.parameters()), list(self.net.parameters()), self.step)
        self.step += 1
        return loss.detach()

    def autocast(self) -> torch.autocast:
        """The precision that the network trains in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def motion_loss(self) -> Tensor:
        """How wrong the flows of a batch are."""
        example = self.motion_examples.get(self.step)
        with self.autocast():
            flows = self.net.flow_levels(example.frame0, example.frame1)
        return flow_loss(flows, example.flow)

    def detail_loss(self) -> Tensor:
        """How wrong enlarged frames are, and by as much again how far from what a teacher makes.

        Nothing is in doubt there but detail, and the root mean square learns that sooner than Charbonnier's loss. What
        nobody can know of a frame is in the truth, but not in what a teacher makes of it.
        """
        example = self.examples.get(self.step)
        with self.autocast():
            made = example.enlarged(self.net)
        loss = root_mean_square(made, example.truth)
        return loss if example.taught is None else loss + root_mean_square(made, example.taught)

    def let_learn(self, motion: bool) -> None:
        """Let what is to learn take part in the next step: pyramid and flow, or all but these."""
        learning = {name for name in self.learning if motion == name.startswith(MOTION_PREFIXES)}
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
        training = {"config": self.config.settings(), "steps": self.step, "minutes": round(self.seconds / 60)}
        library.save(self.ema, self.run, self.config.name, training=training)

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
        begun = saved = since = time.monotonic()
        loss, counted = torch.zeros((), device=self.device), 0
        log.info("probe: blended bicubic %.2f dB between frames, %.2f dB at source times", *self.probe.blended)
        with stop_signals() as stop:
            while not stop:
                now = time.monotonic()
                loss += self.train_step()
                counted += 1
                after = time.monotonic()
                self.seconds += after - since
                since = after
                done = self.progress() >= 1 or (after - begun) / 60 >= minutes
                if done or after - saved > SAVE_MINUTES * 60:
                    self.report(float(loss) / counted, counted * self.config.data.batch / (after - saved))
                    self.save()
                    loss, counted, saved, self.skipped = torch.zeros_like(loss), 0, after, 0
                    if done:
                        return
                elif self.step % 100 == 0:
                    log.info("step %d: loss %.5f, %.3f s a step", self.step, float(loss) / counted, after - now)
        self.save()

    def report(self, loss: float, samples_per_second: float) -> None:
        """Look at the validation clips, and add a line to the log."""
        between, source = self.probe(self.ema)
        line = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 1),
            "loss": round(loss, 5),
            "samples_per_s": round(samples_per_second, 2),
            "skipped": self.skipped,
            "psnr_between": round(between, 3),
            "psnr_source": round(source, 3),
        }
        log.info("%s", json.dumps(line))
        with (self.run / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def new_network(settings: dict[str, Any]) -> WarpINR:
    """An untrained network of a configuration's settings; ends the script with a sentence if one is not known."""
    settings = dict(settings)
    for name, kind in DETAIL.items():
        if name in settings:
            settings["detail"] = _checked(kind, settings.pop(name), f"network.{name}.", ())
    return WarpINR(_checked(WarpINR.Config, settings, "network.", tuple(DETAIL)))


def _checked(kind: Any, settings: dict[str, Any], where: str, more: tuple[str, ...]) -> Any:
    """The configuration `kind` of `settings`; ends the script with a sentence if there is none of that name."""
    known = [field.name for field in fields(kind)]
    if unknown := sorted(settings.keys() - known):
        raise SystemExit(f"there is no setting {where}{unknown[0]}; there are {', '.join([*known, *more])}")
    return kind(**settings)


def load_start(path: str) -> dict[str, Tensor]:
    """The weights in a file; ends the script with a sentence if there are none."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SystemExit(f"start: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def load_teacher(name: str, device: torch.device) -> WarpINR:
    """A model by its name or file; ends the script with a sentence if it is none that can teach."""
    try:
        teacher = load(name, str(device))
    except ModelError as error:
        raise SystemExit(f"teacher: {error}") from None
    if not isinstance(teacher, WarpINR):
        raise SystemExit(f"teacher: {name} is not a {WarpINR.architecture}")
    return teacher


def rate_factor(done: float, constant: float) -> float:
    """What the learning rates are multiplied by: 1 until `constant` of the budget is done, then falling on a cosine."""
    if done < constant:
        return 1.0
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * (done - constant) / (1 - constant)))


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Signals that ask to stop, gathered in a list instead of ending the process at once."""
    got: list[int] = []
    before = {number: signal.signal(number, lambda n, _: got.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
