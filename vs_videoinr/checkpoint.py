"""Reading a checkpoint file into tensors, whoever made it: bounded memory, nothing executed.

Two formats: safetensors, and what `torch.save` writes (both its present zip archive and the one before torch 1.6, which
the published checkpoint's time used). The latter is read by `torch.load(weights_only=True)` alone, after its pickle has
been looked through, opcode by opcode and without running it, for anything that a table of tensors does not need.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.headers import MAX_TENSORS, open_regular, read_header

_MAX_PICKLE_BYTES = 4 << 20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

#: What the pickle of a state dict names. Without `builtins.bytearray` and the like, which `weights_only` also allows,
#: nothing in it can ask for memory that the file does not hold.
_ALLOWED = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"} | {
    f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int")
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
    """Read a .safetensors file or a state dict that `torch.save` wrote; the contents tell which.

    Raises:
        ModelError: The file cannot be read, is too large or is neither.
    """
    with open_regular(path) as file:
        try:
            data = file.read()
        except OSError as error:
            raise ModelError(f"model file cannot be read: {path} ({error.strerror})") from None
    try:
        metadata: Mapping[str, str] = {}
        if data[8:9] != b"{" and data[:2] == b"PK":
            _check_archive(data)
            tensors = _torch_load(data)
        elif data[8:9] != b"{" and data[:1] == b"\x80":
            _check_legacy(data)
            tensors = _torch_load(data)
        else:  # eight bytes of length, which may look like anything, and then JSON
            metadata = read_header(io.BytesIO(data)).metadata
            tensors = safetensors.torch.load(data)
    except (ModelError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} is not a VideoINR checkpoint: {error}") from None
    return Checkpoint(tensors, metadata, sha256(data))


def sha256(data: bytes) -> str:
    """Return the checksum under which a checkpoint is known, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _check_archive(data: bytes) -> None:
    """Refuse a zip archive that `torch.save` would not write, or that is larger inside than outside."""
    if data.count(b"PK\x01\x02") > MAX_TENSORS:  # more directory entries than this are not even listed
        raise ModelError("its archive has too many members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
                raise ModelError("its archive is compressed or encrypted")
            if sum(member.file_size for member in members) > len(data):
                raise ModelError("its archive claims to hold more than the file")
            pickles = [member for member in members if member.filename.endswith("data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE_BYTES:
                raise ModelError("its archive holds no state dict")
            pickled = archive.read(pickles[0])
    # zipfile answers broken archives with whatever the broken field leads to
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, OverflowError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"its archive is damaged ({error})") from None
    _check_pickle(io.BytesIO(pickled), len(data))


def _check_legacy(data: bytes) -> None:
    """Refuse a file of the old format whose pickles are not: magic number, version, machine, state dict, keys."""
    stream = io.BytesIO(data[:_MAX_PICKLE_BYTES])
    if _check_pickle(stream, _LEGACY_MAGIC) != _LEGACY_MAGIC:
        raise ModelError("it is a pickle of something else")
    for _ in range(4):
        _check_pickle(stream, len(data))


def _check_pickle(stream: io.BytesIO, largest: int) -> int:
    """Look through one pickle without running it; return the last whole number in it.

    No size, stride or count in a state dict is larger than the file, and hardly anything is named in it.
    """
    last = 0
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "GLOBAL":
                if argument not in _ALLOWED:
                    raise ModelError(f"it contains code or objects ({str(argument)[:80]}), not only tensors")
            elif opcode.name in {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}:
                raise ModelError(f"it contains code or objects ({opcode.name}), not only tensors")
            elif isinstance(argument, int):
                if not 0 <= argument <= largest:
                    raise ModelError(f"it asks for {argument} of something, more than the file can hold")
                last = argument
    except ModelError:
        raise
    except ValueError as error:
        raise ModelError(f"its pickle is damaged ({error})") from None
    return last


def _torch_load(data: bytes) -> Mapping[str, Tensor]:
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # anything can come out of a damaged stream; none of it was executed
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"torch cannot read it ({reason[0][:200]})") from None
    if not isinstance(loaded, dict) or not loaded:
        raise ModelError("it holds no state dict")
    total = 0
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise ModelError("it holds something else than named tensors")
        total += tensor.numel() * tensor.element_size()
    if total > 4 * len(data):  # stride 0 makes a tensor of any size from one value; shared tensors are legitimate
        raise ModelError("its tensors are larger than the file")
    return loaded
