"""What a .safetensors file says about itself, read without torch and before anything is allocated for it."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vs_videoinr import files
from vs_videoinr.errors import ModelError

#: The published checkpoint has 45 MB; nothing in this family comes near these.
MAX_FILE_BYTES = 1 << 30
MAX_HEADER_BYTES = 4 << 20
MAX_TENSORS = 20_000

#: Types of tensors that networks are made of, as safetensors names them.
_DTYPES = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class Header:
    """The header of a .safetensors file.

    Attributes:
        shapes: Every tensor's shape.
        metadata: Free-form strings.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]

    @property
    def parameters(self) -> int:
        """Values in all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def open_regular(path: Path, limit: int = MAX_FILE_BYTES) -> BinaryIO:
    """Open a model's file, as `files.open_regular` does.

    Raises:
        ModelError: It does not exist, cannot be read, or is too large.
    """
    try:
        return files.open_regular(path, limit)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"model file not found: {path}") from None
    except OSError as error:
        what = "is too large" if error.errno == errno.EFBIG else "cannot be read"
        raise ModelError(f"model file {what}: {path} ({error.strerror})") from None


def read_header(file: BinaryIO) -> Header:
    """Read the header of an open .safetensors file, and check what safetensors itself does not.

    That is its size, names that occur twice, and types that no network has; whether what follows is what it declares,
    safetensors says when it reads the tensors.

    Raises:
        ModelError: It is not one, or not of a network; the message is the reason alone.
    """
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ModelError("it is truncated or not in the safetensors format")
    if length > MAX_HEADER_BYTES:
        raise ModelError(f"its header has {length} bytes, more than any model needs")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ModelError(f"its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise ModelError("its header is not a table of tensors")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelError("its metadata are not strings")
    if not 0 < len(header) <= MAX_TENSORS:
        raise ModelError(f"it holds {len(header)} tensors")
    return Header({name: _shape(name, entry) for name, entry in header.items()}, metadata)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _shape(name: str, entry: object) -> tuple[int, ...]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelError(f"tensor {name} is not described as it should be")
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ModelError(f"tensor {name} is {str(dtype)[:20]}, not F32, F16, BF16 or F64")
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 <= n <= 1 << 40 for n in shape):
        raise ModelError(f"tensor {name} is not described as it should be")
    return tuple(shape)
