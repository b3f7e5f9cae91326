"""From a model's name or a checkpoint to a network that is ready to run, shared by everyone who asks for the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.networks.base import Network
from vs_videoinr.weights import catalogue, checkpoint_file
from vs_videoinr.weights.catalogue import Card, Model
from vs_videoinr.weights.verify import Settings, Verified, verify

# Reloading this module keeps its globals, so that networks in use stay shared with the ones loaded afterwards.
_shared: WeakValueDictionary[tuple[str, ...], Network] = globals().get("_shared", WeakValueDictionary())
_lock: threading.Lock = globals().get("_lock", threading.Lock())


def load(
    name_or_path: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = torch.float32,
) -> Network:
    """Return the network of a bundled or imported model, or of a checkpoint file, frozen and ready to run.

    While any caller holds on to it, every further load with the same contents, settings, device and dtype returns the
    same object; it is not to be changed. Thread-safe.

    Args:
        name_or_path: Name of a model, or path of a .safetensors file or a state dict saved by torch; None is
            the one that is made for the device.
        device: Where to run, as torch names it.
        dtype: What to compute in: float32, float16 or bfloat16; None: float16 on a GPU, if the network is one of ours.

    Raises:
        ModelError: There is no such model or device, or the model cannot be read or does not fit its network.
    """
    target = _device(device)
    place = catalogue.find(catalogue.default(target.type) if name_or_path is None else name_or_path)

    def shared(path: Path, card: Card | None) -> Network:
        found = checkpoint_file.read(path)
        if card is not None and card.sha256 != found.sha256:
            raise ModelError(f"model file {path} is damaged: its checksum is not the one on its card")
        architecture, settings = (card.architecture, card.settings) if card else _from_metadata(path, found.metadata)
        key = (found.sha256, architecture or "", json.dumps(dict(settings), sort_keys=True), str(target), str(dtype))
        network = _shared.get(key)
        if network is None:
            network = verify(str(path), found.tensors, architecture, settings).build(target, dtype)
            _shared[key] = network
        return network

    with _lock:
        return place.read(shared) if isinstance(place, Model) else shared(place, None)


def from_state_dict(state_dict: Mapping[str, Any], settings: Settings | None = None) -> Network:
    """Build a frozen network, on the CPU in float32, from tensors or arrays named as in a checkpoint.

    Raises:
        ModelError: They do not make up any known network; `.report` lists what is missing or misshapen.
    """
    tensors = {}
    try:
        for name, value in checkpoint_file.unwrapped(state_dict, (Tensor, np.ndarray)).items():
            tensor = torch.tensor(value) if isinstance(value, np.ndarray) else value.detach()
            if tensor.layout != torch.strided:
                raise ModelError(f"tensor {name} is not stored value by value ({tensor.layout})")
            tensors[name] = tensor
    except (ModelError, TypeError, ValueError) as error:  # arrays of objects, or in another byte order
        raise ModelError(f"state dict is not a VideoINR checkpoint: {error}") from None
    return verify("state dict", tensors, None, settings or {}).build(torch.device("cpu"), torch.float32)


def import_model(path: Path, name: str, description: str = "", *, replace: bool = False) -> Model:
    """Check a checkpoint tensor by tensor and store it, as safetensors with a card, in the user's folder.

    The same tensors give the same file, byte for byte. Those of double precision become single.

    Raises:
        ModelError: The file is no checkpoint of a known network, the name is taken (and `replace` is not set), the
            description is too long, or there is no folder to store it in.
    """
    folder = catalogue.user_folder()
    if folder is None:
        raise ModelError(
            f"there is no home directory to store models in; set {catalogue.FOLDER_VARIABLE} to a folder for them"
        )
    found = checkpoint_file.read(path)
    architecture, settings = _from_metadata(path, found.metadata)
    verified = verify(str(path), found.tensors, architecture, settings)
    if any(model.name == name and model.origin == "bundled" for model in catalogue.models()):
        raise ModelError(f"model name {name!r} belongs to a bundled model")
    return _store(
        folder,
        name,
        verified,
        {"description": description, "source": f"{path.name} (sha256 {found.sha256})"},
        replace=replace,
    )


def save(network: Network, folder: Path, name: str, **about: Any) -> Model:
    """Store a network as NAME.safetensors in half precision with its card NAME.yaml; an earlier one is replaced.

    Args:
        network: The network as trained.
        folder: The package's or any other models folder.
        name: What scripts will call it.
        about: Further fields of the card: description, training, scores, licence, attribution.

    Raises:
        ModelError: A value does not fit half precision, or the folder cannot be written to.
    """
    tensors = {key: tensor.detach().cpu().half() for key, tensor in network.state_dict().items()}
    verified = verify(name, tensors, network.architecture, network.settings())
    return _store(folder, name, verified, about, replace=True)


def _store(folder: Path, name: str, verified: Verified, about: dict[str, Any], *, replace: bool) -> Model:
    network = verified.network
    settings = network.settings()
    metadata = {"architecture": network.architecture, "settings": json.dumps(settings)}
    tensors = {key: tensor.contiguous().clone() for key, tensor in verified.tensors.items()}
    data = _in_order(safetensors.torch.save(tensors, metadata))
    card = Card(network.architecture, checkpoint_file.sha256(data), settings=settings, **about)
    return catalogue.write(folder, name, data, card, replace=replace)


def _in_order(data: bytes) -> bytes:
    """Put a .safetensors file's header in order: the library writes metadata as its hash table has them."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device  # with its index, so that "cuda" and "cuda:0" are one
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without it
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"device {str(device)!r} is not available ({reason[0][:120]})") from None


def _from_metadata(path: Path, metadata: Mapping[str, str]) -> tuple[str | None, Settings]:
    try:
        settings = json.loads(metadata.get("settings", "{}"))
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise ModelError(f"{path} is not a VideoINR checkpoint: its settings are not a JSON table")
    return metadata.get("architecture"), settings
