"""Reading a checkpoint file into tensors, whoever made it: bounded memory, nothing executed.

Two formats: safetensors, and what `torch.save` writes (both its present zip archive and the one before torch 1.6, which
the published checkpoint's time used). The latter's pickle is read by `vs_videoinr.weights.pickles`, which runs nothing,
and tensors are made once the file is known to hold all of them.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.weights import pickles
from vs_videoinr.weights.pickles import Opaque, Storage, StoredTensor
from vs_videoinr.weights.safetensors_header import MAX_TENSORS, open_regular, read_header

_MAX_PICKLE_BYTES = 4 << 20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_DTYPES = {
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Double": torch.float64,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}

#: Where training programs keep a network's tensors, beside what else they save; those averaged over time come first.
_WRAPPERS = (
    "params_ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
    "generator",
    "netG",
    "G",
)
_MAX_WRAPPERS = 8

_UNPACK = "unpack it and give the checkpoint that is in it"

#: What files begin with that are taken for checkpoints by mistake, and what helps.
_MISTAKEN = {
    b"version https://git-lfs": "it is a Git LFS pointer, not the file itself; fetch that with 'git lfs pull'",
    b"/annex/objects/": "it is a git-annex pointer, not the file itself; fetch that with 'git annex get'",
    b"7z\xbc\xaf\x27\x1c": f"it is a 7z archive; {_UNPACK}",
    b"Rar!\x1a\x07": f"it is a RAR archive; {_UNPACK}",
    b"\x1f\x8b\x08": f"it is compressed with gzip; {_UNPACK}",
    b"BZh": f"it is compressed with bzip2; {_UNPACK}",
    b"\xfd7zXZ\0": f"it is compressed with xz; {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"it is compressed with zstd; {_UNPACK}",
    b"\x89HDF\r\n": "it is an HDF5 file, as Keras writes it, not a checkpoint of torch",
    b"\x93NUMPY": "it is a NumPy array, not a checkpoint of torch",
    b"GGUF": "it is a GGUF file, not a checkpoint of torch",
}


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        tensors: By name; on the CPU, in the dtype of the file.
        metadata: Free-form strings of a .safetensors file.
        sha256: Of the whole file.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    sha256: str


def read(path: Path) -> Checkpoint:
    """Read a .safetensors file, or tensors that `torch.save` wrote; the contents tell which.

    Raises:
        ModelError: The file cannot be read, is too large or is neither.
    """
    with open_regular(path) as file:
        try:
            data = file.read()
        except OSError as error:
            raise ModelError(f"model file cannot be read: {path} ({error.strerror})") from None
    try:
        tensors, metadata = _contents(data)
    except ModelError as error:
        raise ModelError(f"{path} is not a VideoINR checkpoint: {error}") from None
    return Checkpoint(tensors, metadata, sha256(data))


def sha256(data: bytes) -> str:
    """Return the checksum under which a checkpoint is known, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def unwrapped(value: object, tensor: type | tuple[type, ...]) -> dict[str, Any]:
    """Return the named tensors in what a training program saved: `value` itself, or what it holds under a usual name.

    Args:
        value: A table of tensors, or one that holds it, however deep, beside other things.
        tensor: What counts as a tensor.

    Raises:
        ModelError: There is none, or something else is in it; the message is the reason, and names what is in the way.
    """
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(value, Mapping):
            break
        inside = [value[name] for name in _WRAPPERS if isinstance(value.get(name), Mapping) and value[name]]
        if not inside:
            break
        value = inside[0]
    if not isinstance(value, Mapping):
        raise ModelError(f"it holds no state dict but {_type(value)}")
    found = {name: item for name, item in value.items() if isinstance(name, str) and isinstance(item, tensor)}
    if len(found) < len(value):
        what = "something else than tensors beside them" if found else "no state dict, only"
        others = [f"{_key(name)} ({_type(item)})" for name, item in value.items() if name not in found]
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise ModelError(f"it holds {what}: {', '.join(others[:5])}{more}")
    return found


def _key(name: object) -> str:
    return repr(name[:80]) if isinstance(name, str) else f"a key of {_type(name)}"


def _type(value: object) -> str:
    if isinstance(value, StoredTensor):
        return "tensor"
    return value.name.replace(" ", ".") if isinstance(value, Opaque) else type(value).__name__


def _contents(data: bytes) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    if data[8:9] != b"{":  # of safetensors: eight bytes of length, which may look like anything, and then JSON
        if data[:2] == b"PK":
            return _from_archive(data), {}
        if data[:1] == b"\x80":
            return _from_legacy(data), {}
    if int.from_bytes(data[:8], "little") > len(data) - 8 and (mistaken := _mistaken(data)) is not None:
        raise ModelError(mistaken)
    metadata = read_header(io.BytesIO(data)).metadata
    try:
        return safetensors.torch.load(data), metadata
    except safetensors.SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing: ")
        raise ModelError(f"it is truncated or damaged ({reason})") from None


def _mistaken(data: bytes) -> str | None:
    """What a file is that is no checkpoint at all, where it is known."""
    if not data:
        return "it is empty"
    for beginning, what in _MISTAKEN.items():
        if data.startswith(beginning):
            return what
    if data[257:262] == b"ustar":
        return f"it is a tar archive; {_UNPACK}"
    # what ONNX files begin with: a version, and the name of who made them
    if len(data) > 4 and data[0] == 8 and data[2] == 0x12 and data[4 : 4 + data[3]].isalnum():
        return "it is an ONNX model, not a checkpoint of torch"
    start = data[:1024]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Windows writes it
        start = start[: len(start) // 2 * 2].decode("utf-16", "replace").encode()
    if any(byte < 32 and byte not in b"\t\n\f\r" for byte in start):
        return None
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<html" in text or text.startswith((b"<!doctype html", b"<head", b"<body", b"<script")):
        return "it is a web page (HTML), not a checkpoint; download the file itself"
    for beginning, what in {b"<": "XML", b"{": "JSON", b"[": "JSON"}.items():
        if text.startswith(beginning):
            return f"it is {what}, not a checkpoint; download the file itself"
    return "it is a text file, not a checkpoint" if b"\n" in text else None


def _from_archive(data: bytes) -> dict[str, Tensor]:
    """Tensors of a zip archive, but of none that `torch.save` would not write or that is larger inside than outside."""
    if data.count(b"PK\x01\x02") > MAX_TENSORS:  # more directory entries than this are not even listed
        raise ModelError("its archive has too many members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickled = _pickle_in(archive, len(data))
            folder = pickled.filename.removesuffix("data.pkl")
            if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
                raise ModelError("it was saved on a machine of another byte order")
            value, _ = pickles.read(io.BytesIO(archive.read(pickled)))
            return _tensors(value, lambda storage: archive.read(f"{folder}data/{storage.key}"), len(data))
    # zipfile answers broken archives with whatever the broken field leads to
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError, OverflowError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"its archive is truncated or damaged ({error})") from None


def _pickle_in(archive: zipfile.ZipFile, size: int) -> zipfile.ZipInfo:
    members = archive.infolist()
    names = [member.filename for member in members]
    pickled = [member for member in members if member.filename.endswith("data.pkl")]
    if not pickled:
        inside = ", ".join(names[:3]) or "nothing"
        raise ModelError(f"it is a zip archive that holds no state dict but {inside}; {_UNPACK}")
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        raise ModelError("it is a TorchScript program, which is code; save the network's state_dict() instead")
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
        raise ModelError("its archive is compressed or encrypted")
    if sum(member.file_size for member in members) > size:
        raise ModelError("its archive claims to hold more than the file")
    if len(pickled) != 1:
        raise ModelError(f"its archive holds {len(pickled)} pickles")
    if pickled[0].file_size > _MAX_PICKLE_BYTES:
        raise ModelError(f"its pickle has {pickled[0].file_size} bytes, more than any state dict needs")
    return pickled[0]


def _from_legacy(data: bytes) -> dict[str, Tensor]:
    """Tensors of a file of the old format: pickles of magic number, version, machine, state dict, keys; then values."""
    stream = io.BytesIO(data[:_MAX_PICKLE_BYTES])
    if pickles.read(stream)[0] != _LEGACY_MAGIC:
        raise ModelError("it is a pickle of something else")
    pickles.read(stream)
    machine, _ = pickles.read(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ModelError("it was saved on a machine of another byte order")
    value, storages = pickles.read(stream)
    keys, _ = pickles.read(stream)
    position, places = stream.tell(), {}
    for key in keys if isinstance(keys, list) else []:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.kind not in _DTYPES:
            raise ModelError("it holds values of an unknown kind")
        begin = position + 8
        count = int.from_bytes(data[position:begin], "little")
        position = begin + count * _DTYPES[storage.kind].itemsize
        if position > len(data):
            raise ModelError("it is truncated")
        places[key] = slice(begin, position)
    return _tensors(value, lambda storage: data[places.get(storage.key, slice(0))], len(data))


def _tensors(value: object, values_of: Callable[[Storage], bytes], size: int) -> dict[str, Tensor]:
    """Make the tensors of a pickle's state dict, of a file of `size` bytes."""
    described: dict[str, StoredTensor] = unwrapped(value, StoredTensor)
    if not described:
        raise ModelError("it holds no state dict")
    total = 0
    for name, tensor in described.items():
        if tensor.storage.kind not in _DTYPES:
            raise ModelError(f"tensor {name} is of a kind that no network here has ({tensor.storage.kind})")
        steps = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
        if 0 not in tensor.shape and tensor.offset + steps >= tensor.storage.count:
            raise ModelError(f"tensor {name} is larger than what it is stored in")
        total += math.prod(max(1, n) for n in tensor.shape) * _DTYPES[tensor.storage.kind].itemsize
    if total > 4 * size:  # stride 0 makes a tensor of any size from one value; shared tensors are legitimate
        raise ModelError("its tensors are larger than the file")
    stored: dict[Storage, Tensor] = {}
    for storage in {tensor.storage for tensor in described.values()}:
        values, dtype = bytearray(values_of(storage)), _DTYPES[storage.kind]
        expected = storage.count * dtype.itemsize
        if len(values) != expected:
            raise ModelError(f"it is damaged: a storage has {len(values)} bytes, expected {expected}")
        stored[storage] = torch.frombuffer(values, dtype=dtype) if values else torch.empty(0, dtype=dtype)
    return {
        name: stored[tensor.storage].as_strided(tensor.shape, tensor.strides, tensor.offset)
        for name, tensor in described.items()
    }
