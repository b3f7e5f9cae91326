"""Which models there are: those in the package, and those that the user has imported. Needs no torch.

A model is NAME.safetensors and its card NAME.yaml in one folder. The card says what the tensors' shapes do not: the
architecture and its settings, a checksum, and where the weights come from. A card can name another model's weights, to
use them with other settings.

While a model is being replaced, other processes may load it. The new weights are written beside the old ones, under a
name that holds their checksum; then the new card takes the old one's place, which is the moment of the change; then the
weights take theirs. Whoever reads looks for the weights of the card's checksum first. What a process that was killed
has left is put in order by the next one that writes a model of that name.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs
import yaml

from vs_videoinr.errors import ModelError
from vs_videoinr.weights.safetensors_header import open_regular

#: The models that are used when none is named: small enough for a CPU, and the best there is.
DEFAULT, DEFAULT_ON_GPU = "lite", "standard"

#: Environment variable that replaces the user's models folder.
FOLDER_VARIABLE = "VIDEOINR_MODELS"

_MAX_CARD_BYTES = 64 << 10
_MAX_CARD_DEPTH = 16
_MAX_READS = 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
        weights: Name of the model in the same folder whose .safetensors file it is; empty for the model's own.
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
    weights: str = ""
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
        """Path of its .safetensors file; see `read`, which minds that it may be about to be replaced."""
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
        with open_regular(self.card_path, _MAX_CARD_BYTES) as file:
            data = file.read()
        try:
            return _parse_card(data, self.name)
        except ValueError as error:
            raise ModelError(f"model card {self.card_path} is not valid: {error}") from None

    def read[T](self, read: Callable[[Path, Card], T]) -> T:
        """Return what `read` makes of its weights and its card, which belong together whoever replaces them meanwhile.

        Raises:
            ModelError: The card cannot be read, or `read` raised it and neither file has been replaced since.
        """
        problem = ModelError(f"model {self.name!r} is replaced all the time")
        last: tuple[Path, str] | None = None
        for _ in range(_MAX_READS):
            card = self.card()
            beside = _beside(self, card.sha256)
            path = beside if beside.exists() else self.folder / f"{card.weights or self.name}.safetensors"
            if (path, card.sha256) == last:
                break
            last = path, card.sha256
            try:
                return read(path, card)
            except ModelError as error:
                problem = error
        raise problem


def bundled_folder() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(__file__).parent.with_name("models")


def user_folder() -> Path | None:
    """Return the folder of imported models, whether or not it exists; None if the user has no home."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    try:
        folder = platformdirs.user_data_path("videoinr", appauthor=False)
    except RuntimeError:
        return None
    return folder / "models" if folder.is_absolute() else None  # "~" where it cannot be told whose that is


def models() -> list[Model]:
    """List all models by name, bundled ones first; an imported one cannot replace a bundled one."""
    found: dict[str, Model] = {}
    for origin, folder in _places():
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
    if _NAME.fullmatch(text):
        for origin, folder in _places():
            model = Model(text, origin, folder)
            with contextlib.suppress(OSError):
                if model.card_path.exists():
                    return model
    path = Path(text)
    if isinstance(name_or_path, os.PathLike) or len(path.parts) > 1 or path.suffix.lower() in _CHECKPOINT_SUFFIXES:
        return path
    with contextlib.suppress(OSError, ValueError):
        if text and path.is_file():
            return path
    names = ", ".join(model.name for model in models()) or "none"
    raise ModelError(f"model {text!r} is not known (available: {names})")


def default(device: str) -> str:
    """Return the name of the model that is used when none is named, on a device of a kind as torch calls it."""
    return DEFAULT if device == "cpu" else DEFAULT_ON_GPU


def write(folder: Path, name: str, weights: bytes, card: Card, *, replace: bool = False) -> Model:
    """Store a model: all of it or, whatever happens meanwhile, nothing.

    Raises:
        ModelError: The name is unusable or taken in this folder, the card is too large, or the folder cannot be written
            to.
    """
    if not _NAME.fullmatch(name) or name.lower().endswith((*_CHECKPOINT_SUFFIXES, ".yaml")):
        raise ModelError(f"model name {name!r} is not usable: letters, digits, '.', '_' and '-', and no file ending")
    model = Model(name, "bundled" if folder.resolve() == bundled_folder().resolve() else "imported", folder)
    written = _card_bytes(name, card)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not replace and model.card_path.exists():
                raise ModelError(f"model {name!r} exists already")
            _settle(model)
            try:
                _write_atomically(model, _beside(model, card.sha256), weights)
                _write_atomically(model, model.card_path, written)
            finally:
                _settle(model)
    except OSError as error:
        raise ModelError(f"model {name!r} cannot be stored in {folder} ({error.strerror})") from None
    return model


def _places() -> Iterator[tuple[Literal["bundled", "imported"], Path]]:
    yield "bundled", bundled_folder()
    if (imported := user_folder()) is not None:
        yield "imported", imported


def _beside(model: Model, what: str) -> Path:
    """Where a model's files are before they take their places; no model's name holds an @."""
    return model.folder / f".{model.name}@{what}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write in a folder, where the system has locks for that."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # as on some network drives
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _settle(model: Model) -> None:
    """Bring the weights that the card names to their place, and remove all others that have none."""
    try:
        named = _beside(model, model.card().sha256)
    except ModelError:
        named = None
    for path in model.folder.glob(_beside(model, "*").name):
        with contextlib.suppress(OSError):  # Windows: somebody reads it, and it is found where it is
            if path == named:
                path.replace(model.weights)
            else:
                path.unlink()


def _write_atomically(model: Model, path: Path, data: bytes) -> None:
    """Write a file that appears at `path` once it is complete and on disk; until then, or if that fails, beside it."""
    beside = _beside(model, secrets.token_hex(8))
    with beside.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    for patience in range(20, -1, -1):
        try:
            beside.replace(path)
            return
        except PermissionError:  # Windows: somebody reads what is to be replaced
            if os.name != "nt" or patience == 0:
                raise
            time.sleep(0.1)


def _dump_card(name: str, card: Card) -> bytes:
    fields = {"name": name, **{key: value for key, value in vars(card).items() if value}}
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).encode()


def _card_bytes(name: str, card: Card) -> bytes:
    """Return what a card's file holds, which is known to be readable again."""
    data = _dump_card(name, card)
    if len(data) > _MAX_CARD_BYTES:
        raise ModelError(
            f"the card of model {name!r} would have {len(data)} bytes, at most {_MAX_CARD_BYTES} are possible; "
            "give a shorter description"
        )
    try:
        if _dump_card(name, _parse_card(data, name)) == data:
            return data
        reason = "something in it would change"
    except ValueError as error:
        reason = str(error)
    raise ModelError(f"the card of model {name!r} could not be read again: {reason}")


def _check_structure(text: str) -> None:
    """Refuse what lets a small card cost much: aliases, which repeat parts of it, and deep nesting."""
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise ValueError("aliases are not allowed")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _MAX_CARD_DEPTH:
            raise ValueError("it is nested too deeply")


def _parse_card(data: bytes, name: str) -> Card:
    """Read a card's contents; a ValueError says in one line what is wrong with it."""
    try:
        text = data.decode()
        _check_structure(text)
        fields = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from None
    if not isinstance(fields, dict):
        raise ValueError("it is not a table")
    if fields.pop("name", name) != name:
        raise ValueError("it belongs to another model")
    if unknown := sorted(str(key) for key in fields if key not in Card.__dataclass_fields__):
        raise ValueError(f"{unknown[0]!r} is not known")
    for key in ("architecture", "sha256", "weights", "description", "licence", "attribution", "source"):
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
    if not _SHA256.fullmatch(fields["sha256"]):
        raise ValueError("sha256 is not a checksum")
    if fields.get("weights") and not _NAME.fullmatch(fields["weights"]):
        raise ValueError("weights is not the name of a model")
    return Card(**fields)
