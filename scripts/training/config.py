"""Configurations: YAML files of which each may name a `base` and says what is different from it."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from scripts.data.sources import DataConfig

KINDS = {float: "a number", int: "a whole number", str: "text", dict: "a mapping", list: "a list"}


@dataclass(frozen=True)
class Budget:
    """When training ends, whichever comes first."""

    minutes: float
    steps: int


@dataclass(frozen=True)
class Config:
    """What is trained, on what and for how long; `scripts/configs/base.yaml` explains each setting."""

    name: str  # the file's, without .yaml
    architecture: str
    network: dict[str, Any]
    data: DataConfig
    budget: Budget
    motion_share: float
    learn: list[str]
    repeats: int
    rate: float
    motion_rate: float
    warmup: int
    clip: float
    ema: float
    precision: str
    seed: int
    start: str = ""
    teacher: str = ""

    def settings(self) -> dict[str, Any]:
        """As a file without a base has them."""
        return asdict(self)


def load(path: Path) -> Config:
    """The configuration in a file, its base included; ends the script with a sentence if something is wrong with it."""
    config: Config = _read(Config, _merged(path) | {"name": path.stem}, str(path), "")
    return config


def _merged(path: Path, overriding: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a file and those that it builds upon say."""
    if path.resolve() in overriding:
        raise SystemExit(f"{path} is its own base")
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SystemExit(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(own, dict):
        raise SystemExit(f"{path} is no configuration: it should be a mapping of settings")
    base = own.pop("base", None)
    return own if base is None else _merge(Config, _merged(path.parent / base, (*overriding, path.resolve())), own)


def _merge(kind: Any, base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` settings over those of `base`: sections setting by setting, everything else whole."""
    merged = base | own
    for name, inner in get_type_hints(kind).items():
        if is_dataclass(inner) and isinstance(base.get(name), dict) and isinstance(own.get(name), dict):
            merged[name] = _merge(inner, base[name], own[name])
    return merged


def _read(kind: Any, value: Any, file: str, where: str) -> Any:
    """`value`, which should be of `kind`: a section (a dataclass), a mapping, a list or a scalar."""
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _section(kind, _read(dict[str, Any], value, file, where), file, where)
    origin, inner = get_origin(kind) or kind, get_args(kind)
    accepted: Any = (int, float) if origin is float else origin
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise SystemExit(f"{file}: {where} should be {KINDS[origin]}, not {value!r}")
    if origin is dict:
        return {key: _read(inner[1], one, file, f"{where}.{key}") for key, one in value.items()}
    if origin is list:
        return [_read(inner[0], one, file, f"every entry of {where}") for one in value]
    return value


def _section(kind: Any, value: dict[str, Any], file: str, where: str) -> Any:
    """The dataclass `kind` of the settings in `value`."""
    hints, path = get_type_hints(kind), f"{where}." if where else ""
    for name in value:
        if name not in hints:
            raise SystemExit(f"{file}: there is no setting {path}{name}; there are {', '.join(hints)}")
    for field in fields(kind):
        if field.default is MISSING and field.name not in value:
            raise SystemExit(f"{file}: {path}{field.name} is missing")
    return kind(**{name: _read(hints[name], one, file, f"{path}{name}") for name, one in value.items()})
