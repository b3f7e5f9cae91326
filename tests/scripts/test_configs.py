"""A configuration says what is different from its base, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from scripts import ROOT
from scripts.training.config import Config, load

CONFIGS = ROOT / "scripts" / "configs"
BASE = CONFIGS / "base.yaml"


@pytest.mark.parametrize(
    "path", sorted(set(CONFIGS.glob("*.yaml")) - set(CONFIGS.glob("*.card.yaml"))), ids=lambda path: path.stem
)
def test_every_configuration_is_whole(path: Path) -> None:
    config = load(path)
    assert config.name == path.stem
    assert sum(config.data.shares.values()) == pytest.approx(1)
    assert not config.start or (ROOT / config.start).exists()


@pytest.fixture
def write(tmp_path: Path) -> Path:
    """A file in which a test writes a configuration."""
    return tmp_path / "own.yaml"


def test_settings_override_those_of_the_base_one_by_one(write: Path) -> None:
    base = load(BASE)
    write.with_name("parent.yaml").write_text(
        f"base: {BASE}\nnetwork: {{width: 8}}\nrate: 0.5\n"
        "data:\n  side: 32\n  detail: {side: 24}\n  shares: {pans: 1}"
    )
    write.write_text("base: parent.yaml\nrate: 1\ndata:\n  batch: 2\nbudget: {minutes: 1}\nnetwork: {blocks: 1}")
    config = load(write)
    assert (config.name, config.rate, config.motion_rate) == ("own", 1, base.motion_rate)
    assert (config.data.side, config.data.batch, config.data.drawn) == (32, 2, base.data.drawn)
    assert (config.data.detail.side, config.data.detail.batch) == (24, base.data.detail.batch)
    assert (config.budget.minutes, config.budget.steps) == (1, base.budget.steps)
    # what makes sense only together is replaced as a whole
    assert config.data.shares == {"pans": 1}
    assert config.network == {"blocks": 1}


def test_settings_are_those_of_a_file_without_a_base(write: Path) -> None:
    config = load(CONFIGS / "lite.yaml")
    write.write_text(yaml.safe_dump({name: value for name, value in config.settings().items() if name != "name"}))
    assert load(write) == Config(**{**vars(config), "name": "own"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("ratte: 1", "there is no setting ratte; there are name, architecture, "),
        ("data: {raech: 1}", "there is no setting data.raech; there are photos, "),
        ("rate: 1e-3", "rate should be a number, not '1e-3'"),
        ("warmup: 0.5", "warmup should be a whole number, not 0.5"),
        ("data: {drawn: true}", "data.drawn should be a whole number, not True"),
        ("data: {shares: {pans: most}}", "data.shares.pans should be a number, not 'most'"),
        ("data: 3", "data should be a mapping, not 3"),
        ("learn: decoder", "learn should be a list, not 'decoder'"),
        ("learn: [1]", "every entry of learn should be text, not 1"),
        ("base: own.yaml", "is its own base"),
        ("base: none.yaml", "cannot be read: No such file or directory"),
        ("rate: [", "is no YAML: while parsing a flow node"),
        ("- rate", "should be a mapping of settings"),
    ],
)
def test_a_mistake_is_refused_in_a_sentence(settings: str, message: str, write: Path) -> None:
    based = settings if settings.startswith(("base", "-")) else f"base: {BASE}\n{settings}"
    write.write_text(based)
    with pytest.raises(SystemExit, match=re.escape(message)) as refused:
        load(write)
    assert "\n" not in str(refused.value)


def test_a_missing_setting_is_named(write: Path) -> None:
    write.write_text(re.sub(r"(?m)^  drawn:.*\n", "", BASE.read_text()))
    with pytest.raises(SystemExit, match=r"own\.yaml: data\.drawn is missing"):
        load(write)
