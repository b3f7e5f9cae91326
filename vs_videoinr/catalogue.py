"""Which models there are: those in the package, and those that the user has imported. Needs no torch.

A model is NAME.safetensors and its card NAME.yaml in one folder. The card says what the tensors' shapes do not: the
architecture and its settings, a checksum, and where the weights come from.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from vs_videoinr.errors import ModelError
from vs_videoinr.headers import open_regular

#: The models that are used when none is named: small enough for a CPU, and the best there is.
DEFAULT, DEFAULT_ON_GPU = "lite", "standard"

#: Environment variable that replaces the user's models folder.
FOLDER_VARIABLE = "VIDEOINR_MODELS"

_MAX_CARD_BYTES = 64 << 10
_MAX_CARD_DEPTH = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt")

_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


@dataclass(frozen=True)
class Card:
    """What is known about a model.

    Attributes:
        architecture: Name of the network class.
        sha256: Of the .safetensors file.
        settings: What the network needs and the shapes do not tell.
        description: One sentence.
        training: What it was trained on, for how long, by what recipe.
        scores: Measured results.
        licence: Of the weights.
        attribution: Whom to credit.
        source: The file that was imported, and its checksum.
    """

    architecture: str
    sha256: str
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    description: str = ""
    training: Any = None
    scores: Any = None
    licence: str = ""
    attribution: str = ""
    source: str = ""


@dataclass(frozen=True)
class Model:
    """A model in one of the folders.

    Attributes:
        name: What scripts call it.
        origin: `bundled` with the package or `imported` by the user.
        folder: Where its two files are.
    """

    name: str
    origin: Literal["bundled", "imported"]
    folder: Path

    @property
    def weights(self) -> Path:
        """Path of its .safetensors file."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def card_path(self) -> Path:
        """Path of its card."""
        return self.folder / f"{self.name}.yaml"

    def card(self) -> Card:
        """Read its card.

        Raises:
            ModelError: The card is missing, too large or not a card of this model.
        """
        return _read_card(self.card_path, self.name)


def bundled_folder() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(__file__).with_name("models")


def user_folder() -> Path:
    """Return the folder of imported models, whether or not it exists."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "videoinr" / "models"


def models() -> list[Model]:
    """List all models by name, bundled ones first; an imported one cannot replace a bundled one."""
    found: dict[str, Model] = {}
    places: list[tuple[Literal["bundled", "imported"], Path]] = [
        ("bundled", bundled_folder()),
        ("imported", user_folder()),
    ]
    for origin, folder in places:
        try:
            names = sorted(path.stem for path in folder.glob("*.yaml"))
        except OSError:  # a folder that may not be listed holds nothing for us
            continue
        for name in names:
            if name not in found and _NAME.fullmatch(name):
                found[name] = Model(name, origin, folder)
    return list(found.values())


def find(name_or_path: str | os.PathLike[str]) -> Model | Path:
    """Return the model of that name, or the path if it is one.

    Raises:
        ModelError: It is neither; the message lists what is available.
    """
    text = os.fspath(name_or_path)
    available = models()
    for model in available:
        if model.name == text:
            return model
    path = Path(text)
    if isinstance(name_or_path, os.PathLike) or len(path.parts) > 1 or path.suffix.lower() in _CHECKPOINT_SUFFIXES:
        return path
    with contextlib.suppress(OSError, ValueError):
        if text and path.is_file():
            return path
    names = ", ".join(model.name for model in available) or "none"
    raise ModelError(f"model {text!r} is not known (available: {names})")


def default(device: str) -> str:
    """Return the name of the model that is used when none is named, on a device of a kind as torch calls it."""
    return DEFAULT if device == "cpu" else DEFAULT_ON_GPU


def write(folder: Path, name: str, weights: bytes, card: Card, *, replace: bool = False) -> Model:
    """Store a model; each of its files appears complete or not at all, the card last.

    Raises:
        ModelError: The name is unusable or taken in this folder, or the folder cannot be written to.
    """
    if not _NAME.fullmatch(name) or name.lower().endswith((*_CHECKPOINT_SUFFIXES, ".yaml")):
        raise ModelError(f"model name {name!r} is not usable: letters, digits, '.', '_' and '-', and no file ending")
    model = Model(name, "bundled" if folder.resolve() == bundled_folder().resolve() else "imported", folder)
    if not replace and model.card_path.exists():
        raise ModelError(f"model {name!r} exists already")
    fields = {"name": name, **{key: value for key, value in vars(card).items() if value}}
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(model.weights, weights)
        _write_atomically(model.card_path, text.encode())
    except OSError as error:
        raise ModelError(f"model {name!r} cannot be stored in {folder} ({error.strerror})") from None
    return model


def _write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside `path` that takes its place once it is complete and on disk."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _check_structure(text: str) -> None:
    """Refuse what lets a small card cost much: aliases, which repeat parts of it, and deep nesting."""
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise ValueError("aliases are not allowed")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _MAX_CARD_DEPTH:
            raise ValueError("it is nested too deeply")


def _read_card(path: Path, name: str) -> Card:
    with open_regular(path, _MAX_CARD_BYTES) as file:
        data = file.read()
    try:
        text = data.decode()
        _check_structure(text)
        fields = yaml.safe_load(text)
        if not isinstance(fields, dict):
            raise ValueError("it is not a table")
        if fields.pop("name", name) != name:
            raise ValueError("it belongs to another model")
        if unknown := sorted(str(key) for key in fields if key not in Card.__dataclass_fields__):
            raise ValueError(f"{unknown[0]!r} is not known")
        for key in ("architecture", "sha256", "description", "licence", "attribution", "source"):
            if not isinstance(fields.get(key, ""), str):
                raise ValueError(f"{key} is not text")
        for key in ("architecture", "sha256"):
            if not fields.get(key):
                raise ValueError(f"{key} is missing")
        settings = fields.get("settings", {})
        if not isinstance(settings, dict) or not all(
            isinstance(key, str) and isinstance(value, (str, int, float, bool)) for key, value in settings.items()
        ):
            raise ValueError("settings are not a table of plain values")
        return Card(**fields)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ModelError(f"model card {path} is not valid: {lines[0]}") from None
