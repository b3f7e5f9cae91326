"""Training goes on exactly where it stopped, and only what is to learn learns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from scripts import ROOT
from scripts.train import main
from scripts.training.examples import Example, Examples
from scripts.training.optimiser import Optimiser
from scripts.training.trainer import new_network
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.weights import library

Train = Callable[..., Path]
SOURCES = ("photographs", "wide", "pans", "drawings", "stills", "clips", "single drawings", "single stills")
MOTION: dict[str, Any] = {"levels": [8, 8], "hidden": 8, "radius": 1}
NETWORK: dict[str, Any] = {**MOTION, "frame_detail": {"width": 8, "blocks": 1}}
THOROUGH: dict[str, Any] = {**MOTION, "trunk_detail": {"width": 8, "blocks": 1}}


@pytest.mark.parametrize("network", [NETWORK, THOROUGH], ids=["light", "thorough"])
def test_every_parameter_learns_and_kernels_in_all_directions(network: dict[str, Any]) -> None:
    torch.manual_seed(3)
    net = new_network(network)
    net.to(memory_format=torch.channels_last)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimiser = Optimiser(net, rate=0.01, motion_rate=0.001)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
        parameter.grad.flatten()[0] = 100  # one direction is far steeper than the others
    optimiser.step(0.5)
    assert all(parameter.grad is None for parameter in net.parameters())

    step = {name: parameter.detach() - before[name] for name, parameter in net.named_parameters()}
    for name, change in step.items():
        longest = 0.0005 if name.startswith(("pyramid.", "flow.")) else 0.005
        assert 0 < float(change.square().mean().sqrt()) < longest * 1.01, name
    kernel = torch.linalg.svdvals(step["detail.trunk.0.conv1.weight"].flatten(1))
    assert float(kernel.max() / kernel.min()) < 2.5


@pytest.fixture
def train(photos: Path, bunny: Path, tmp_path: Path) -> Train:
    """Trains a tiny network for some steps; returns the file of its averaged weights."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "bunny.mp4").symlink_to(bunny)

    def run(folder: str, steps: int, command: bool = False, **more: object) -> Path:
        """`more` settings than those below; with `command` in a process of its own, as people do."""
        tiny = {
            "base": str(ROOT / "scripts" / "configs" / "base.yaml"),
            "network": NETWORK,
            "data": {
                "photos": str(photos),
                "clips": str(clips),
                "val": str(clips),
                "shares": dict.fromkeys(SOURCES, 0.2),
                "drawn": 2,
                "fades": 0.3,
                "compressed": 0.5,
                "batch": 1,
                "side": 24,
                "detail": {"batch": 2, "side": 16},
                "max_motion": 4,
            },
            "budget": {"minutes": 1e6, "steps": steps},
            "motion_rate": 0.001,
            "warmup": 1000000,  # the rate must not depend on where this run is to end
            "ema": 0.9,
            "precision": "float32",
        }
        for name, settings in (("tiny-base", tiny), ("tiny", {"base": "tiny-base.yaml", **more})):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        arguments = [str(tmp_path / "tiny.yaml"), "--run", str(tmp_path / folder), "--device", "cpu"]
        if command:
            whole = [sys.executable, "-m", "scripts.train", *arguments]
            subprocess.run(whole, check=True, cwd=ROOT, capture_output=True, timeout=300)
        else:
            with torch.random.fork_rng(devices=[]):
                main(arguments)
        return tmp_path / folder / "tiny.safetensors"

    return run


def test_training_stopped_and_resumed_is_training_that_never_stopped(train: Train) -> None:
    straight = load_file(train("straight", 6, command=True))
    first = load_file(train("resumed", 3))
    resumed = load_file(train("resumed", 6, data={"workers": 2}))  # batches made ahead are the same batches
    assert any(not torch.equal(first[name], straight[name]) for name in straight)
    for name, tensor in straight.items():
        torch.testing.assert_close(resumed[name], tensor, msg=name)


@pytest.mark.skipif(os.name != "posix", reason="a terminal's signals are others there")
def test_an_interrupt_saves_what_was_learned(train: Train, tmp_path: Path) -> None:
    """Also where other processes make the batches, which a terminal interrupts as well."""
    train("first", 1)
    config = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    settings = config | {"budget": {"steps": 10**9}, "data": {"workers": 2, "shares": {"single stills": 1}}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "scripts.train", str(tmp_path / "tiny.yaml"), "--run", str(tmp_path / "stopped")]
    with subprocess.Popen(
        [*command, "--device", "cpu"], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 100:" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0, said
    assert "Traceback" not in said
    assert torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)["step"] >= 100


@pytest.mark.parametrize("source", ["drawings", "stills", "single drawings", "single stills"])
def test_pictures_alone_teach_detail_and_leave_motion_as_it_was(train: Train, source: str) -> None:
    first, later = (load_file(train("alone", steps, data={"shares": {source: 1}}, warmup=1)) for steps in (1, 4))
    moving = [name for name in first if name.startswith(("pyramid.", "flow."))]
    assert moving
    assert all(torch.equal(first[name], later[name]) for name in moving)
    assert not torch.equal(first["detail.out.weight"], later["detail.out.weight"])


def test_a_teacher_is_learned_from_besides_the_truth(train: Train) -> None:
    def learned(name: str, teacher: str) -> dict[str, torch.Tensor]:
        shares = {"shares": {"single stills": 1}}
        return load_file(train(name, 4, teacher=teacher, data=shares, learn=["detail"], warmup=1))

    alone, taught = learned("alone", ""), learned("taught", "lite")
    assert not torch.equal(alone["detail.out.weight"], taught["detail.out.weight"])
    with pytest.raises(SystemExit, match=r"^teacher: model 'nobody' "):
        learned("refused", "nobody")


@pytest.mark.parametrize("source", ["clips", "photographs", "single stills"])
def test_motion_is_learned_from_a_teacher_too(source: str, train: Train) -> None:
    learning = {"motion_share": 1, "learn": ["pyramid", "flow"], "warmup": 1}
    known, first, later = (
        load_file(train(name, steps, teacher=teacher, data={"shares": {source: 1}}, **learning))
        for name, steps, teacher in (("known", 3, ""), ("taught", 1, "lite"), ("taught", 3, "lite"))
    )
    weight = "flow.steps.0.conv1.weight"
    assert not torch.equal(first[weight], later[weight])
    assert not torch.equal(known[weight], later[weight])
    assert torch.equal(first["detail.out.weight"], later["detail.out.weight"])


def test_frames_are_shown_with_both_neighbours_either_and_none() -> None:
    frame, rest = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 2, 4, 4)
    before, after = (Neighbour(torch.full_like(frame, n), rest, rest, rest[:, :1] == 0) for n in (0.0, 1.0))
    examples = Examples(None, None, None, repeats=4, seed=1)  # type: ignore[arg-type]  # the group's examples are here
    examples.group, examples.examples = 0, [Example(frame, [before, after], frame)]
    seen = [tuple(float(one.frame.mean()) for one in examples.get(step).neighbours) for step in range(150)]
    assert set(seen) == {(0.0, 1.0), (0.0,), (1.0,), ()}
    assert seen.count((0.0, 1.0)) > 100


def test_only_what_is_named_learns(train: Train) -> None:
    first, later = (
        load_file(train("named", steps, learn=["detail.backprojection"], network=THOROUGH, warmup=1))
        for steps in (1, 6)
    )
    learned = {name for name in first if not torch.equal(first[name], later[name])}
    assert {f"detail.backprojection.rounds.{n}.gather.weight" for n in range(3)} <= learned
    assert "detail.backprojection.trust.bias" in learned
    assert all(name.startswith("detail.backprojection.") for name in learned)


def test_a_deeper_network_begins_where_a_shallower_one_ended(train: Train) -> None:
    shallow = train("shallow", 1)
    deep = train("deep", 1, network={**MOTION, "frame_detail": {"width": 8, "blocks": 3}}, start=str(shallow))
    features = torch.rand(1, 8, 16, 16)
    before, after = (library.load(path).get_submodule("detail.trunk")(features) for path in (shallow, deep))
    assert not torch.equal(before, features)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "videoinr"}, "architecture videoinr cannot be trained, only warpinr"),
        ({"network": {"leevls": 8}}, "there is no setting network.leevls; there are levels, hidden, "),
        ({"network": {"frame_detail": {"widht": 8}}}, "no setting network.frame_detail.widht; there are width, blocks"),
        ({"precision": "fp16"}, "precision should be bf16 or float32, not fp16"),
        ({"start": "none.safetensors"}, "start: none.safetensors cannot be read: No such file or directory"),
        ({"start": "README.md"}, "start: README.md cannot be read: "),
        (
            {"data": {"shares": {"panns": 1}}},
            "there is no source of batches called 'panns': give shares to photographs,",
        ),
        ({"data": {"photos": "tests/data"}}, "there are no photographs (*.jpg) in tests/data"),
        ({"data": {"val": "docs"}}, "there are no validation clips (*.mp4) of at least three frames"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    settings: dict[str, object], message: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=re.escape(message)) as refused:
        train("refused", 1, **settings)
    assert "\n" not in str(refused.value)
