"""Checkpoints: what is accepted, what is refused and why, where models are found, and who shares them."""

from __future__ import annotations

import gc
import gzip
import importlib
import json
import lzma
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
import weakref
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.networks.zooming_slow_mo.test_network import SMALL as ZOOMING
from tests.reference_recipe import SMALL, pair, published_shapes, reference_state_dict, small_shapes
from vs_videoinr import from_state_dict, load
from vs_videoinr.errors import ModelError
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo
from vs_videoinr.weights import catalogue, library

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user" / "models"
    monkeypatch.setenv("VIDEOINR_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return {key: torch.from_numpy(value) for key, value in reference_state_dict(small_shapes()).items()}


@pytest.fixture(scope="module")
def zooming() -> Tensors:
    """The tensors of a Zooming Slow-Mo."""
    shapes = {key: tuple(tensor.shape) for key, tensor in ZoomingSlowMo(ZOOMING).state_dict().items()}
    return {key: torch.from_numpy(value) for key, value in reference_state_dict(shapes).items()}


def picture(network: Any) -> torch.Tensor:
    rgb: torch.Tensor = network.encode(*pair(6, 5)).sample(0.4, (9, 8))
    return rgb


def zipped(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def legacy(path: Path, state: object) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def safe(path: Path, state: Tensors, metadata: dict[str, str] | None = None) -> Path:
    safetensors.torch.save_file(state, path, metadata)
    return path


# What is accepted


def test_published_checkpoint_of_either_torch_format(tmp_path: Path) -> None:
    state = OrderedDict(
        (f"module.{k}", torch.from_numpy(v)) for k, v in reference_state_dict(published_shapes()).items()
    )
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as nn.Module.state_dict() leaves it
    new, old = zipped(tmp_path / "latest_G.pth", state), legacy(tmp_path / "old.pth", state)
    networks = [load(path) for path in (new, str(old))]
    assert sum(p.numel() for p in networks[0].parameters()) == 10_978_615  # the used ones
    assert torch.equal(picture(networks[0]), picture(networks[1]))


def test_every_format_gives_the_same_network(tmp_path: Path, tensors: Tensors) -> None:
    expected = picture(from_state_dict(tensors))
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    assert torch.equal(picture(from_state_dict(arrays)), expected)
    for path in (
        zipped(tmp_path / "a.pth", tensors),
        legacy(tmp_path / "b.pth", tensors),
        safe(tmp_path / "c", tensors),
    ):
        assert torch.equal(picture(load(path)), expected)


def test_settings_travel_in_the_metadata(tmp_path: Path, tensors: Tensors) -> None:
    metadata = {"architecture": "videoinr", "settings": json.dumps({"grid": "consistent", "omega": 25})}
    config = load(safe(tmp_path / "a.safetensors", tensors, metadata)).config
    assert (config.grid, config.omega, config.padding) == ("consistent", 25, "zeros")


def test_networks_are_frozen_and_own_their_tensors(tensors: Tensors) -> None:
    mine = {key: tensor.clone() for key, tensor in tensors.items()}
    network = from_state_dict(mine)
    expected = picture(network)
    assert not expected.requires_grad
    for tensor in mine.values():
        tensor.zero_()
    assert torch.equal(picture(network), expected)


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda state: {"state_dict": state}, ""),
        (lambda state: {"params": state}, "module."),
        (lambda state: {"params_ema": state, "params": {"conv_first.weight": torch.zeros(2)}}, ""),
        (lambda state: {"params_ema": {}, "params": state}, ""),
        (
            lambda state: {"epoch": 3, "best": -0.5, "seed": 1 << 70, "state_dict": state, "names": ["a", ("b", None)]},
            "",
        ),
        (lambda state: {"G": {"net": OrderedDict(state)}, "D": {"x": torch.zeros(1)}}, "module.model."),
        (
            lambda state: {"model": state, "random": torch.get_rng_state(), "done": {1, 2}, "size": torch.Size([3])},
            "net.",
        ),
        (
            lambda state: {"generator": state, "seen": defaultdict(int, a=1), "psnr": np.float64(31.5)},
            "_orig_mod.module.",
        ),
        (
            lambda state: {
                "state_dict": state,
                "optimizer": optimizer_state(),
                "scaler": torch.zeros(2, dtype=torch.half),
            },
            "",
        ),
    ],
)
def test_what_training_programs_save_around_tensors(
    tmp_path: Path, tensors: Tensors, wrap: Callable[[object], Any], prefix: str
) -> None:
    saved = wrap({prefix + key: tensor for key, tensor in tensors.items()})
    expected = picture(from_state_dict(tensors))
    assert torch.equal(picture(from_state_dict(saved)), expected)
    for path in (zipped(tmp_path / "a.pth", saved), legacy(tmp_path / "b.pth", saved)):
        assert torch.equal(picture(load(path)), expected)


def optimizer_state() -> dict[str, Any]:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters(), betas=(0.5, 0.99))
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def test_parameters_views_and_shared_storages(tmp_path: Path, tensors: Tensors) -> None:
    """Tensors need not be stored one by one and in order."""
    flat = torch.cat([torch.zeros(3), *(tensor.flatten() for tensor in tensors.values())])
    state, begin = {}, 3
    for key, tensor in tensors.items():
        view = flat[begin : begin + tensor.numel()].view(tensor.shape)
        state[key] = torch.nn.Parameter(tensor.mT.contiguous().mT) if tensor.ndim == 2 else view
        begin += tensor.numel()
    expected = picture(from_state_dict(tensors))
    for path in (zipped(tmp_path / "a.pth", state), legacy(tmp_path / "b.pth", state)):
        assert torch.equal(picture(load(path)), expected)


def test_double_precision_becomes_single(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    double = {key: tensor.double() for key, tensor in tensors.items()}
    expected = picture(from_state_dict(tensors))
    assert torch.equal(picture(from_state_dict(double)), expected)
    for make in (zipped, legacy, safe):
        path = make(tmp_path / "a", double)
        assert torch.equal(picture(load(path)), expected)
        library.import_model(path, "mine", replace=True)
        assert torch.equal(picture(load("mine")), expected)
        assert {t.dtype for t in safetensors.torch.load_file(models_folder / "mine.safetensors").values()} == {
            torch.float32
        }


def test_safetensors_whose_length_looks_like_another_format(tmp_path: Path, tensors: Tensors) -> None:
    expected = picture(from_state_dict(tensors))
    data = safe(tmp_path / "a", tensors).read_bytes()
    length = int.from_bytes(data[:8], "little")
    for first in (b"\x80", b"PK"):  # of a pickle, of a zip archive
        padding = (int.from_bytes(first, "little") - length) % 256 ** len(first)
        path = tmp_path / "b"
        path.write_bytes(
            (length + padding).to_bytes(8, "little") + data[8 : 8 + length] + b" " * padding + data[8 + length :]
        )
        assert path.read_bytes().startswith(first)
        assert torch.equal(picture(load(path)), expected)


# What is refused

Change = Callable[[Tensors], object]


def without(name: str) -> Change:
    return lambda state: state.pop(name)


def with_(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda state: state.__setitem__(name, make(state.get(name, torch.zeros(3))))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("fusion.bias"), "tensor fusion.bias is missing"),
        (without("conv_first.weight"), "tensor conv_first.weight is missing"),
        (without("recon_trunk.1.conv2.bias"), "tensor recon_trunk.1.conv2.bias is missing"),
        (with_("fusion.bias", lambda t: t[:5]), "tensor fusion.bias is 5, expected 16"),
        (with_("conv_first.weight", lambda t: t[:, :2]), "tensor conv_first.weight is 16x2x3x3, expected 16x3x3x3"),
        (with_("conv_first.weight", lambda t: t[:0]), "tensor conv_first.weight has the impossible shape 0x3x3x3"),
        (with_("conv_first.bias", lambda t: t.int()), "tensor conv_first.bias is int32, expected floating point"),
        (with_("conv_first.bias", lambda t: t / 0), "tensor conv_first.bias holds values that are not finite"),
        (
            with_("conv_first.bias", lambda t: t.to(torch.complex64)),
            "tensor conv_first.bias is complex64, expected floating point",
        ),
        (
            with_("conv_first.bias", lambda t: t.to(torch.float8_e5m2)),
            "tensor conv_first.bias is float8_e5m2, expected 16 to 64 bits",
        ),
        (
            with_("fusion.bias", lambda t: t.double() + 1e39),
            "tensor fusion.bias holds values that are too large for single precision",
        ),
        (with_("surprise", lambda t: t), "tensor surprise is not known"),
    ],
)
def test_tensors_that_do_not_fit(tensors: Tensors, change: Change, reason: str) -> None:
    state = dict(tensors)
    change(state)
    with pytest.raises(ModelError) as caught:
        from_state_dict(state)
    assert str(caught.value) == f"state dict is not a VideoINR checkpoint: {reason}"


def test_what_is_missing_is_said_of_the_network_that_it_is_missing_of(tensors: Tensors, zooming: Tensors) -> None:
    """Zooming Slow-Mo has VideoINR's names but for the SIRENs': whatever is missing, it is known of which of them."""
    left_over = {name: tensor for name, tensor in zooming.items() if name not in tensors}
    for title, state in (("VideoINR", tensors | left_over), ("Zooming Slow-Mo", zooming)):
        names = {re.sub(r"\d", "", name): name for name in state}  # one of those that differ by numbers alone
        for name in names.values():
            if title == "VideoINR" and name in left_over:
                continue
            with pytest.raises(ModelError) as caught:
                from_state_dict({key: value for key, value in state.items() if key != name})
            assert str(caught.value) == f"state dict is not a {title} checkpoint: tensor {name} is missing"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_("upconv2.weight", lambda t: t[:5]), "tensor upconv2.weight is 5x16x3x3, expected 64x16x3x3"),
        (with_("conv_last.bias", lambda t: t / 0), "tensor conv_last.bias holds values that are not finite"),
        (with_("surprise", lambda t: t), "tensor surprise is not known"),
    ],
)
def test_what_is_wrong_with_a_zooming_slow_mo(zooming: Tensors, change: Change, reason: str) -> None:
    state = dict(zooming)
    change(state)
    with pytest.raises(ModelError) as caught:
        from_state_dict(state)
    assert str(caught.value) == f"state dict is not a Zooming Slow-Mo checkpoint: {reason}"


@pytest.mark.usefixtures("models_folder")
def test_zooming_slow_mo_is_imported_like_the_others(tmp_path: Path, zooming: Tensors) -> None:
    """With what training programs put around its tensors; its card says what it is, and settings it has none."""
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in zooming.items()}, "epoch": 3}
    model = library.import_model(legacy(tmp_path / "zooming.pth", wrapped), "zooming", "the forerunner")
    assert (model.card().architecture, model.card().settings) == ("zooming_slow_mo", {})
    network = load("zooming")
    assert isinstance(network, ZoomingSlowMo)
    assert network.config == ZOOMING
    assert load(zipped(tmp_path / "same.pth", zooming)).config == ZOOMING
    card = model.card_path.read_text()
    model.card_path.write_text(card + "settings:\n  omega: 30.0\n")
    with pytest.raises(ModelError, match=r"is not a Zooming Slow-Mo checkpoint: setting 'omega' is not known$"):
        load("zooming")


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (torch.int64, "tensor fusion.bias is int64, expected floating point"),
        (torch.bool, "tensor fusion.bias is bool, expected floating point"),
        (torch.complex128, "tensor fusion.bias is complex128, expected floating point"),
        (torch.float8_e4m3fn, r"something else than tensors beside them: 'fusion.bias' \(torch.float8_e4m3fn\)"),
    ],
)
def test_files_of_tensors_that_are_not_floating_point(
    models_folder: Path, tmp_path: Path, tensors: Tensors, dtype: torch.dtype, reason: str
) -> None:
    state = {**tensors, "fusion.bias": tensors["fusion.bias"].to(dtype)}
    with pytest.raises(ModelError, match=reason):
        library.import_model(zipped(tmp_path / "a.pth", state), "mine")
    if dtype != torch.complex128:  # which safetensors has not always had
        with pytest.raises(ModelError, match=r"tensor fusion.bias is \w+, not F32, F16, BF16 or F64"):
            library.import_model(safe(tmp_path / "a.safetensors", state), "mine")
    assert not models_folder.exists()


def test_values_too_large_for_half_precision(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a.pth", {**tensors, "fusion.bias": tensors["fusion.bias"] + 1e5})
    load(path)
    with pytest.raises(ModelError, match=r"tensor fusion.bias of the model holds values that are too large for half"):
        load(path, dtype=torch.float16)


def test_arrays_that_are_no_tensors(tensors: Tensors) -> None:
    swapped = tensors["fusion.bias"].numpy().astype(">f4")
    for array in (np.array(["a"]), np.array([None]), swapped, np.zeros(16, np.longdouble)):
        with pytest.raises(ModelError, match=r"^state dict is not a VideoINR checkpoint: "):
            from_state_dict({**tensors, "fusion.bias": array})


def test_report_lists_everything(tensors: Tensors) -> None:
    state = dict(tensors)
    del state["recon_trunk.2.conv1.bias"], state["fusion.weight"]
    state["fusion.bias"] = torch.zeros(4)
    with pytest.raises(ModelError, match=r"tensor fusion.weight is missing \(and 2 more\)$") as caught:
        from_state_dict(state)
    assert caught.value.report.splitlines() == [
        "tensor fusion.weight is missing",
        "tensor recon_trunk.2.conv1.bias is missing",
        "tensor fusion.bias is 4, expected 16",
    ]


def test_messages_are_one_printable_line_whatever_the_names(tensors: Tensors) -> None:
    with pytest.raises(ModelError) as caught:
        from_state_dict({**tensors, "a\n\x1b[2Jb\ud800" + "x" * 5000: torch.zeros(1), "é": torch.zeros(1)})
    message = str(caught.value)
    assert "tensor a??[2Jb?xxx" in message
    assert message.isprintable()
    assert len(message) == 1000
    assert caught.value.report.splitlines()[1] == "tensor é is not known"


@pytest.mark.parametrize("state", [{}, {"a": torch.zeros(2)}, {"conv_first.weight": torch.zeros(64, 3, 3, 3)}])
def test_tensors_of_something_else(state: Tensors) -> None:
    with pytest.raises(ModelError, match="its tensors are not those of any known network"):
        from_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"grid": "odd"}, "setting grid is 'odd'"),
        ({"padding": 3}, "setting padding is 3"),
        ({"omega": 0}, "setting omega is 0"),
        ({"colour": "red"}, "setting 'colour' is not known"),
    ],
)
def test_settings_that_do_not_fit(tensors: Tensors, settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        from_state_dict(tensors, settings)


class Touch:
    """A pickle that leaves a file behind if anyone runs it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


class Huge:
    def __reduce__(self) -> tuple[Any, ...]:
        return (bytearray, (1 << 40,))


@pytest.mark.parametrize("save", [zipped, legacy])
def test_pickles_are_never_run(tmp_path: Path, tensors: Tensors, save: Callable[[Path, object], Path]) -> None:
    for hostile in (Touch(tmp_path / "executed"), Huge()):
        path = save(tmp_path / "hostile.pth", {**tensors, "x": hostile})
        with pytest.raises(ModelError, match="it contains code or objects"):
            load(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("save", [zipped, legacy])
@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        ({}, "it holds no state dict"),
        (torch.zeros(2), "it holds no state dict but tensor"),
        ([{"a": torch.zeros(2)}], "it holds no state dict but list"),
        ({"epoch": 3, "lr": 0.1}, "it holds no state dict, only: 'epoch' (int), 'lr' (float)"),
        ({"weights_of_mine": {"a": torch.zeros(2)}}, "it holds no state dict, only: 'weights_of_mine' (dict)"),
        ({"state_dict": {"a": torch.zeros(2), "step": 3}}, "something else than tensors beside them: 'step' (int)"),
        (
            {"a": torch.zeros(2), 3: torch.zeros(2)},
            "something else than tensors beside them: a key of int (tensor)",
        ),
        ({"state_dict": {"a": torch.zeros(2)}, "of": Path("a")}, "it contains code or objects (pathlib"),
        ({"state_dict": {"a": torch.zeros(2)}}, "its tensors are not those of any known network"),
    ],
)
def test_what_is_in_the_way_is_named(
    tmp_path: Path, save: Callable[[Path, object], Path], saved: object, reason: str
) -> None:
    path = save(tmp_path / "a.pth", saved)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is not a VideoINR checkpoint: ")
    assert reason in str(caught.value)


def test_wrapper_that_holds_itself() -> None:
    saved: dict[str, object] = {}
    saved["state_dict"] = saved
    with pytest.raises(ModelError, match=r"no state dict, only: 'state_dict' \(dict\)"):
        from_state_dict(saved)


def test_whole_network_instead_of_its_tensors(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"it contains code or objects \(torch.* Linear\).*; save the network's state_dict"
    ):
        load(zipped(tmp_path / "a.pth", torch.nn.Linear(2, 2)))


PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 45096803\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (PAGE, "it is a web page (HTML), not a checkpoint; download the file itself"),
        (b"\xef\xbb\xbf\r\n  <HTML lang=en>" + bytes(range(32, 127)) * 30, "it is a web page (HTML)"),
        (PAGE.decode().encode("utf-16"), "it is a web page (HTML)"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is XML"),
        (b'{"error": "Repository not found"}', "it is JSON"),
        (b'[{"a":"{"}, {}, {}]', "it is JSON"),
        (b"Access denied.\nTry again later.\n", "it is a text file"),
        (POINTER, "it is a Git LFS pointer, not the file itself; fetch that with 'git lfs pull'"),
        (b"/annex/objects/SHA256E-s45096803--4d7a.pth\n", "it is a git-annex pointer"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(50), "it is a 7z archive; unpack it"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(50), "it is a RAR archive; unpack it"),
        (gzip.compress(b"hello" * 50, mtime=0), "it is compressed with gzip; unpack it"),
        (lzma.compress(b"hello" * 50), "it is compressed with xz; unpack it"),
        (b"a.pth".ljust(257, b"\0") + b"ustar\x0000" + bytes(800), "it is a tar archive; unpack it"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(50), "it is an ONNX model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "it is an HDF5 file"),
        (b"PK\x05\x06" + bytes(18), "it is a zip archive that holds no state dict but nothing"),
        (b"PK\x03\x04" + bytes(50), "its archive is truncated or damaged"),
    ],
)
def test_files_that_are_no_checkpoint_are_called_what_they_are(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "latest_G.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a VideoINR checkpoint: {reason}")
    assert message.isprintable()


def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch no longer wants anyone to make such files
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match="it is a TorchScript program, which is code"):
        load(path)


def archive(path: Path, pickled: bytes, **values: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for key, data in values.items():
            file.writestr(f"archive/data/{key}", data)
    return path


def tensor_pickle(count: int, offset: int, size: int, stride: int) -> bytes:
    """What torch writes of {"a": tensor}, with numbers of one's own."""

    def number(value: int) -> bytes:
        return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)

    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpu" + number(count) + b"tQ"
    layout = number(offset) + number(size) + b"\x85" + number(stride) + b"\x85"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + layout + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\2}X\1\0\0\0a" + call + b"s."


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (tensor_pickle(4, 0, 4, 1), "its tensors are not those of any known network"),  # as it should be
        (tensor_pickle(5, 0, 4, 1), "a storage has 16 bytes, expected 20"),
        (tensor_pickle(1 << 60, 0, 4, 1), "a storage has 16 bytes"),
        (tensor_pickle(4, 1, 4, 1), "larger than what it is stored in"),
        (tensor_pickle(4, 0, 4, 2), "larger than what it is stored in"),
        (tensor_pickle(4, 0, 1 << 39, 0), "larger than the file"),
        (tensor_pickle(4, 0, 1 << 100, 0), "no possible size"),
        (tensor_pickle(4, 0, 1, 1 << 100), "no possible size"),
        (tensor_pickle(4, 0, 4, -1), "no possible size"),
        (tensor_pickle(4, -1, 4, 1), "no possible size"),
        (tensor_pickle(4, 0, 4, 1).replace(b"kX\3", b"jX\3"), "archive/data/j"),
        (tensor_pickle(4, 0, 4, 1).replace(b"FloatS", b"QInt8S"), "of a kind that no network here has"),
        (b"\x80\2}" + b")" + b"\x85" * 500_000 + b"Ns.", "a key of tuple"),  # whose hash would overflow the stack
        (b"\x80\2}" + b"".join(b"\x8a\x0a" + (k * ((1 << 61) - 1)).to_bytes(10, "little") + b"Ns" for k in range(9**5))
         + b".", "a key of int"),  # whose hashes are all the same
        (b"\x80\2" + b"}" * 500_000 + b".", "it holds no state dict"),
        (b"\x80\2N", "its pickle is damaged"),
        (b"\x80\2.", "its pickle is damaged"),
        (b"\x80\2h\7.", "its pickle is damaged"),
        (b"\x80\2}NR.", "its pickle is damaged"),
        (b"\x80\4\x8c\5posix\x8c\6system\x93\x8c\4true\x85R.", r"code or objects \(posix system\)"),
        (b"\x80\2(cposix\nsystem\nX\4\0\0\0truetR.", r"code or objects \(posix system\)"),
        (b"\x80\2cbuiltins\nbytearray\n\x8a\5\0\0\0\0\x40\x85R.", r"code or objects \(builtins bytearray\)"),
        (b"\x80\2\x82\1.", r"code or objects \(EXT1\)"),
        (b"\x80\2(itorch\nSize\n.", r"code or objects \(INST\)"),
    ],
)  # fmt: skip
def test_pickles_that_promise_too_much(tmp_path: Path, pickled: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        load(archive(tmp_path / "a.pth", pickled, k=bytes(16)))


def test_values_that_were_damaged_on_their_way(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a.pth", tensors)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="its archive is truncated or damaged"):
        load(path)


def test_plain_pickle(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps({"conv_first.weight": [1, 2, 3]}, protocol=2))
    with pytest.raises(ModelError, match="it is a pickle of something else"):
        load(path)


@pytest.mark.parametrize("save", [zipped, legacy])
@pytest.mark.parametrize("keep", [0.001, 0.1, 0.5, 0.999])
def test_truncated_torch_files(
    tmp_path: Path, tensors: Tensors, save: Callable[[Path, object], Path], keep: float
) -> None:
    path = save(tmp_path / "whole.pth", tensors)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError, match="is not a VideoINR checkpoint"):
        load(path)


def test_zip_that_is_larger_inside(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(ModelError, match="compressed or encrypted"):
        load(path)


def test_zip_without_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="holds no state dict"):
        load(path)


def test_tensors_larger_than_their_storage(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(50_000, 50_000)
    with pytest.raises(ModelError, match=r"larger than the file|more than the file can hold"):
        load(zipped(tmp_path / "wide.pth", {"a": wide}))


def header(table: object, data: bytes = b"") -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "truncated or not in the safetensors format"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "truncated or not"),
        (header(b"{"), "not valid JSON"),
        (header(b"[" * 100_000), "not valid JSON"),
        (header(b'{"a": 1, "a": 2}'), "a name occurs twice"),
        (header([]), "not a table of tensors"),
        (header({}), "it holds 0 tensors"),
        (header({"a": 1}), "tensor a is not described"),
        (header({"a": entry([2], 0, 8, "I64")}, bytes(8)), "tensor a is I64, not F32"),
        (header({"a": entry([1 << 39, 1 << 39], 0, 8)}, bytes(8)), "it is truncated or damaged ("),
        (header({"a": entry([-2], 0, -8)}, bytes(8)), "tensor a is not described"),
        (header({"a": entry([2], 0, 8)}, bytes(4)), "it is truncated or damaged ("),
        (header({"a": entry([2], 0, 8)}, bytes(9)), "it is truncated or damaged ("),
        (header({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)), "it is truncated or damaged ("),
        (header({"__metadata__": {"a": 1}, "a": entry([2], 0, 8)}, bytes(8)), "its metadata are not strings"),
        (header({"__metadata__": {"architecture": "x"}, "a": entry([2], 0, 8)}, bytes(8)), "'x' is not known"),
        (header({"__metadata__": {"settings": "["}, "a": entry([2], 0, 8)}, bytes(8)), "settings are not a JSON table"),
        (header({"a": entry([2], 0, 8)}, bytes(8)), "its tensors are not those of any known network"),
    ],
)
def test_damaged_safetensors(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a VideoINR checkpoint: ")
    assert reason in message
    assert "\n" not in message


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: takes no space
    with pytest.raises(ModelError, match="model file is too large"):
        load(path)


def test_places_that_are_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pth"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(ModelError, match="not a regular file"):
            load(path)
    with pytest.raises(ModelError, match=r"cannot be read: .* \(a folder, not a regular file\)$"):
        load(tmp_path)
    with pytest.raises(ModelError, match="model file not found"):
        load(tmp_path / "absent.pth")
    for name, what in (("nul\0byte.pth", "a NUL character"), ("half\ud800.pth", "a character that no text has")):
        with pytest.raises(
            ModelError, match=rf"cannot be read: .* \(no file can have this name, which contains {what}\)"
        ):
            load(name)
    with pytest.raises(ModelError, match=r"\(File name too long\)$"):
        load("x" * 5000 + ".pth")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_hostile_files_stay_within_bounded_memory(tmp_path: Path, tensors: Tensors) -> None:
    # In a process of its own, whose address space is limited to what it has after importing torch and 300 MB.
    huge = tmp_path / "huge.pth"
    torch.save({**tensors, "x": Huge()}, huge)
    absurd = tmp_path / "absurd.safetensors"
    absurd.write_bytes(header({"conv_first.weight": entry([1 << 40], 0, 1 << 42)}, bytes(8)))
    script = f"""
import resource
from vs_videoinr import ModelError, load
load  # imports torch
pages = int(open('/proc/self/statm').read().split()[0])
limit = pages * resource.getpagesize() + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in ({str(huge)!r}, {str(absurd)!r}):
    try:
        load(path)
    except ModelError as error:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.split(), done.stderr) == (["refused", "refused"], "")
    import resource  # not to be had on Windows

    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


# Where models are found


@pytest.mark.usefixtures("models_folder")
def test_unknown_name_lists_what_there_is(tmp_path: Path, tensors: Tensors) -> None:
    library.import_model(zipped(tmp_path / "a.pth", tensors), "mine")
    with pytest.raises(ModelError, match=r"^model 'foo' is not known \(available: (.*, )?mine\)$"):
        load("foo")


def test_import_and_load_by_name(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    state = {**tensors, "upconv1.bias": torch.zeros(4), "conv_last.weight": torch.zeros(2, 2)}
    model = library.import_model(zipped(tmp_path / "a.pth", state), "mine", "a test")
    assert sorted(path.name for path in models_folder.iterdir()) == ["mine.safetensors", "mine.yaml"]
    card = model.card()
    assert (card.architecture, card.description) == ("videoinr", "a test")
    assert card.source.startswith("a.pth (sha256 ")
    assert load("mine").config == SMALL
    assert torch.equal(picture(load("mine")), picture(from_state_dict(tensors)))
    with safetensors.safe_open(model.weights, "pt") as file:
        assert set(file.keys()) == set(tensors)  # without what the network does not use


@pytest.mark.usefixtures("models_folder")
def test_import_does_not_overwrite(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a.pth", tensors)
    library.import_model(path, "mine", "first")
    with pytest.raises(ModelError, match="model 'mine' exists already"):
        library.import_model(path, "mine", "second")
    assert catalogue.models()[-1].card().description == "first"
    library.import_model(path, "mine", "second", replace=True)
    assert catalogue.models()[-1].card().description == "second"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 65, "a.safetensors", "new\nline"])
def test_names_that_cannot_be_used(models_folder: Path, tmp_path: Path, tensors: Tensors, name: str) -> None:
    with pytest.raises(ModelError, match="is not usable"):
        library.import_model(zipped(tmp_path / "a.pth", tensors), name)
    assert not models_folder.exists()


def test_failed_import_leaves_nothing(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    models_folder.mkdir(parents=True)
    (models_folder / "mine.yaml").mkdir()  # the card cannot take this place
    with pytest.raises(ModelError, match="cannot be stored"):
        library.import_model(zipped(tmp_path / "a.pth", tensors), "mine", replace=True)
    assert [path.name for path in models_folder.iterdir()] == ["mine.yaml"]


DESCRIPTIONS = [
    "one\nof two lines\n\n",
    " \t blank at both ends \t ",
    "\0 \x07 \x1b[2J \x7f \x9f",
    "next\x85line, \u2028 and \u2029 \ufeff BOM \ufffe",
    "\ufefffirst",
    "half \ud800 and \udcff of a character",
    "Größe 大 😀 e\u0301 \u202e",
    "12345",
    "0o17",
    "1e3",
    "true",
    "null",
    "~",
    "---",
    "...",
    "- a: [b, {c: &d *e}] # f",
    "!!python/object:os.system",
    "? key\n: value",
    "'\"\\",
    "%TAG ! x",
    "2026-11-26",
    "x" * 5000 + " " + "y " * 5000,
    "é" * 25_000,
]


@pytest.mark.usefixtures("models_folder")
def test_any_description_can_be_read_again(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a\n\x85\x1b: 大 \udcff.pth", tensors)
    for description in DESCRIPTIONS:
        model = library.import_model(path, "mine", description, replace=True)
        assert model.card().description == description
    load("mine")


@pytest.mark.parametrize("description", ["x" * 100_000, "x" * 65_500, "é" * 33_000, "\x1b" * 33_000, "\n" * 70_000])
def test_description_that_is_too_long(models_folder: Path, tmp_path: Path, tensors: Tensors, description: str) -> None:
    with pytest.raises(
        ModelError, match=r"would have \d+ bytes, at most 65536 are possible; give a shorter description"
    ):
        library.import_model(zipped(tmp_path / "a.pth", tensors), "mine", description)
    assert not models_folder.exists()


def test_the_same_tensors_give_the_same_file(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    backwards = dict(reversed(tensors.items()))
    metadata = {"settings": "{}", "architecture": "videoinr", "by": "me"}
    paths = [
        zipped(tmp_path / "a.pth", tensors),
        zipped(tmp_path / "b.pth", {"params": {f"module.{key}": tensor for key, tensor in backwards.items()}}),
        legacy(tmp_path / "c.pth", backwards),
        safe(tmp_path / "d.safetensors", backwards, metadata),
        zipped(tmp_path / "e.pth", {key: tensor.double() for key, tensor in tensors.items()}),
    ]
    files = set()
    for path in paths * 3:
        model = library.import_model(path, "mine", replace=True)
        files.add(model.weights.read_bytes())
    assert len(files) == 1
    library.import_model(models_folder / "mine.safetensors", "again")
    assert (models_folder / "again.safetensors").read_bytes() in files


# While others write


def scaled(tensors: Tensors, factor: float) -> Tensors:
    return {key: tensor * factor for key, tensor in tensors.items()}


def test_loading_while_the_model_is_replaced(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    paths = [zipped(tmp_path / f"{n}.pth", scaled(tensors, 1 + n)) for n in range(2)]
    for n, path in enumerate([*paths, paths[0]]):
        library.import_model(path, ("first", "second", "mine")[n])
    networks = load("first"), load("second")
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for path in paths:
                library.import_model(path, "mine", replace=True)

    threads = [threading.Thread(target=replace) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert load("mine") in networks
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(list(models_folder.iterdir())) == 6  # weights and card of each


@pytest.mark.usefixtures("models_folder")
def test_of_many_imports_at_once_one_gets_the_name(tmp_path: Path, tensors: Tensors) -> None:
    paths = [zipped(tmp_path / f"{n}.pth", scaled(tensors, 1 + n)) for n in range(6)]
    stored, refused = [], []

    def store(path: Path) -> None:
        try:
            stored.append((path, library.import_model(path, "mine")))
        except ModelError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=store, args=[path]) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["model 'mine' exists already"] * 5
    assert torch.equal(picture(load("mine")), picture(load(stored[0][0])))


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("end", ["os._exit(9)", "raise KeyboardInterrupt"])
def test_import_that_is_ended_leaves_a_model_that_loads(
    models_folder: Path, tmp_path: Path, tensors: Tensors, step: int, end: str
) -> None:
    """Whether it is killed or interrupted before its first, second, ... file gets its name."""
    old, new = (zipped(tmp_path / f"{factor}.pth", scaled(tensors, factor)) for factor in (1, 2))
    library.import_model(old, "mine", "old")
    script = f"""
import os, sys
from vs_videoinr import cli
from vs_videoinr.weights import library
steps = {step}
def stop(event, arguments):
    global steps
    if event == "os.rename":
        steps -= 1
        if steps == -1:
            {end}
sys.addaudithook(stop)
sys.exit(cli.main(["import", {str(new)!r}, "--name", "mine", "--description", "new", "--force"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    ended = 9 if "exit" in end else 130
    assert (done.returncode, done.stderr) == (ended if step < 3 else 0, "")
    description = catalogue.models()[-1].card().description
    expected = picture(load({"old": old, "new": new}[description]))
    assert torch.equal(picture(load("mine")), expected)
    if ended == 130 and step != 2:  # there was time to put things in order; unless that was interrupted
        assert sorted(path.name for path in models_folder.iterdir()) == ["mine.safetensors", "mine.yaml"]
    library.import_model(old, "mine", replace=True)
    assert sorted(path.name for path in models_folder.iterdir()) == ["mine.safetensors", "mine.yaml"]


# What a card may say


@pytest.mark.usefixtures("models_folder")
def test_changed_weights_do_not_match_their_card(tmp_path: Path, tensors: Tensors) -> None:
    model = library.import_model(zipped(tmp_path / "a.pth", tensors), "mine")
    data = bytearray(model.weights.read_bytes())
    data[-1] ^= 1
    model.weights.write_bytes(data)
    with pytest.raises(ModelError, match="its checksum is not the one on its card"):
        load("mine")


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not a table"),
        ("[1, 2]", "it is not a table"),
        ("a: [", "is not valid"),
        ("architecture: videoinr\n", "sha256 is missing"),
        ("architecture: [1]\nsha256: x\n", "architecture is not text"),
        ("architecture: videoinr\nsha256: x\nsettings: [1]\n", "settings are not a table"),
        ("architecture: videoinr\nsha256: x\nname: other\n", "it belongs to another model"),
        ("architecture: videoinr\nsha256: x\nextra: 1\n", "'extra' is not known"),
        ("!!python/object/apply:os.mkdir [executed]", "is not valid"),
        (LAUGHS, "aliases are not allowed"),
        ("architecture: videoinr\nsha256: ../../x\n", "sha256 is not a checksum"),
        ("[" * 20_000, "nested too deeply"),
        ("x" * 100_000, "too large"),
        (b"\xff\xfe\x00", "is not valid"),
    ],
)
def test_cards_that_are_none(models_folder: Path, text: str | bytes, reason: str) -> None:
    models_folder.mkdir(parents=True)
    (models_folder / "mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=reason) as caught:
        load("mine")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("models_folder")
def test_bundled_names_cannot_be_taken(tmp_path: Path, tensors: Tensors) -> None:
    bundled = [model.name for model in catalogue.models() if model.origin == "bundled"]
    path = zipped(tmp_path / "a.pth", tensors)
    for name in bundled:
        with pytest.raises(ModelError, match="belongs to a bundled model"):
            library.import_model(path, name, replace=True)


@pytest.mark.skipif(not hasattr(os, "setresuid") or os.getuid() != 0, reason="becomes a user who is not known")
@pytest.mark.parametrize("others", [{}, {"HOME": "relative", "XDG_DATA_HOME": "relative"}])
def test_user_without_a_home(tmp_path: Path, tensors: Tensors, others: dict[str, str]) -> None:
    """As in containers that run as a number without a name."""
    path = zipped(tmp_path / "a.pth", tensors)
    hidden = {"HOME", "XDG_DATA_HOME", catalogue.FOLDER_VARIABLE}
    homeless = {key: text for key, text in os.environ.items() if key not in hidden} | others

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env=homeless | {"PYTHONPATH": str(Path(catalogue.__file__).parents[1])} | variables,
            preexec_fn=lambda: os.setresuid(123_456, 0, 0),
        )

    script = """
from vs_videoinr import load
from vs_videoinr.plugin import entry
load("lite")
print(*entry.version()["models"], sep="\\n")
"""
    loaded = run("-c", script)
    assert loaded.stderr == ""
    assert [line.split()[0] for line in loaded.stdout.splitlines()] == ["ensemble", "lite", "standard"]
    listed = run("-m", "vs_videoinr.cli", "models")
    assert (listed.returncode, listed.stderr, len(listed.stdout.splitlines())) == (0, "", 4)
    storing = ["-m", "vs_videoinr.cli", "import", str(path), "--name", "mine"]
    refused = run(*storing)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "videoinr: there is no home directory to store models in; set VIDEOINR_MODELS to a folder for them\n"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]
    stored = run(*storing, VIDEOINR_MODELS=str(tmp_path / "models"))
    assert (stored.returncode, stored.stderr) == (0, "")
    assert (tmp_path / "models" / "mine.yaml").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is about where Linux keeps data")
def test_where_imported_models_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(catalogue.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in ("", "not/absolute"):
        monkeypatch.setenv("XDG_DATA_HOME", other)
        assert catalogue.user_folder() == tmp_path / ".local/share/videoinr/models"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert catalogue.user_folder() == tmp_path / "data/videoinr/models"
    monkeypatch.setenv(catalogue.FOLDER_VARIABLE, str(tmp_path / "mine"))
    assert catalogue.user_folder() == tmp_path / "mine"


def test_saved_network_comes_back_with_its_settings(tmp_path: Path, tensors: Tensors) -> None:
    network = from_state_dict(tensors, {"grid": "consistent", "padding": "border"})
    model = library.save(network, tmp_path, "own", description="d", scores={"psnr": 30.5})
    assert model.card().scores == {"psnr": 30.5}
    again = load(model.weights)
    assert again.config == network.config
    assert (picture(again) - picture(network)).abs().max() < 0.05  # half precision


# Who shares them


def test_equal_loads_share_and_the_last_holder_frees(tmp_path: Path, tensors: Tensors) -> None:
    path, copy = zipped(tmp_path / "a.pth", tensors), tmp_path / "copy.pth"
    copy.write_bytes(path.read_bytes())
    network = load(path)
    assert load(copy) is network
    assert load(path, "cpu", torch.bfloat16) is not network
    importlib.reload(library)
    assert load(path) is network
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_threads_get_one_network(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a.pth", tensors)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(load(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(network) for network in found}) == 1


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta:0:0"])
def test_device_that_is_not_there(tmp_path: Path, tensors: Tensors, device: str) -> None:
    with pytest.raises(ModelError, match=f"^device '{device}' is not available"):
        load(zipped(tmp_path / "a.pth", tensors), device)


def test_package_imports_without_torch() -> None:
    script = """
import sys, vs_videoinr, vs_videoinr.weights.catalogue
print("torch" in sys.modules, vs_videoinr.__version__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[0] == "False"
