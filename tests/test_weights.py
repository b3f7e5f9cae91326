"""Checkpoints: what is accepted, what is refused and why, where models are found, and who shares them."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import subprocess
import sys
import threading
import weakref
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.reference_recipe import SMALL, pair, published_shapes, reference_state_dict, small_shapes
from vs_videoinr import VideoINR, catalogue, weights
from vs_videoinr.errors import ModelError

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user" / "models"
    monkeypatch.setenv("VIDEOINR_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return {key: torch.from_numpy(value) for key, value in reference_state_dict(small_shapes()).items()}


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
    networks = [VideoINR.load(path) for path in (new, str(old))]
    assert sum(p.numel() for p in networks[0].parameters()) == 10_978_615  # the used ones
    assert torch.equal(picture(networks[0]), picture(networks[1]))


def test_every_format_gives_the_same_network(tmp_path: Path, tensors: Tensors) -> None:
    expected = picture(VideoINR.from_state_dict(tensors))
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    assert torch.equal(picture(VideoINR.from_state_dict(arrays)), expected)
    for path in (
        zipped(tmp_path / "a.pth", tensors),
        legacy(tmp_path / "b.pth", tensors),
        safe(tmp_path / "c", tensors),
    ):
        assert torch.equal(picture(VideoINR.load(path)), expected)


def test_settings_travel_in_the_metadata(tmp_path: Path, tensors: Tensors) -> None:
    metadata = {"architecture": "videoinr", "settings": json.dumps({"grid": "consistent", "omega": 25})}
    config = VideoINR.load(safe(tmp_path / "a.safetensors", tensors, metadata)).config
    assert (config.grid, config.omega, config.padding) == ("consistent", 25, "zeros")


def test_networks_are_frozen_and_own_their_tensors(tensors: Tensors) -> None:
    mine = {key: tensor.clone() for key, tensor in tensors.items()}
    network = VideoINR.from_state_dict(mine)
    expected = picture(network)
    assert not expected.requires_grad
    for tensor in mine.values():
        tensor.zero_()
    assert torch.equal(picture(network), expected)


def test_safetensors_whose_length_looks_like_another_format(tmp_path: Path, tensors: Tensors) -> None:
    expected = picture(VideoINR.from_state_dict(tensors))
    data = safe(tmp_path / "a", tensors).read_bytes()
    length = int.from_bytes(data[:8], "little")
    for first in (b"\x80", b"PK"):  # of a pickle, of a zip archive
        padding = (int.from_bytes(first, "little") - length) % 256 ** len(first)
        path = tmp_path / "b"
        path.write_bytes(
            (length + padding).to_bytes(8, "little") + data[8 : 8 + length] + b" " * padding + data[8 + length :]
        )
        assert path.read_bytes().startswith(first)
        assert torch.equal(picture(VideoINR.load(path)), expected)


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
        (with_("surprise", lambda t: t), "tensor surprise is not known"),
    ],
)
def test_tensors_that_do_not_fit(tensors: Tensors, change: Change, reason: str) -> None:
    state = dict(tensors)
    change(state)
    with pytest.raises(ModelError) as caught:
        VideoINR.from_state_dict(state)
    assert str(caught.value) == f"state dict is not a VideoINR checkpoint: {reason}"


def test_report_lists_everything(tensors: Tensors) -> None:
    state = dict(tensors)
    del state["recon_trunk.2.conv1.bias"], state["fusion.weight"]
    state["fusion.bias"] = torch.zeros(4)
    with pytest.raises(ModelError, match=r"tensor fusion.weight is missing \(and 2 more\)$") as caught:
        VideoINR.from_state_dict(state)
    assert caught.value.report.splitlines() == [
        "tensor fusion.weight is missing",
        "tensor recon_trunk.2.conv1.bias is missing",
        "tensor fusion.bias is 4, expected 16",
    ]


def test_messages_are_one_printable_line_whatever_the_names(tensors: Tensors) -> None:
    with pytest.raises(ModelError) as caught:
        VideoINR.from_state_dict({**tensors, "a\n\x1b[2Jb\ud800" + "x" * 5000: torch.zeros(1), "é": torch.zeros(1)})
    message = str(caught.value)
    assert "tensor a??[2Jb?xxx" in message
    assert message.isprintable()
    assert len(message) == 1000
    assert caught.value.report.splitlines()[1] == "tensor é is not known"


@pytest.mark.parametrize("state", [{}, {"a": torch.zeros(2)}, {"conv_first.weight": torch.zeros(64, 3, 3, 3)}])
def test_tensors_of_something_else(state: Tensors) -> None:
    with pytest.raises(ModelError, match="its tensors are not those of any known network"):
        VideoINR.from_state_dict(state)


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
        VideoINR.from_state_dict(tensors, settings)


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
            VideoINR.load(path)
    assert not (tmp_path / "executed").exists()


def test_plain_pickle(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps({"conv_first.weight": [1, 2, 3]}, protocol=2))
    with pytest.raises(ModelError, match="it is a pickle of something else"):
        VideoINR.load(path)


@pytest.mark.parametrize("save", [zipped, legacy])
@pytest.mark.parametrize("keep", [0.001, 0.1, 0.5, 0.999])
def test_truncated_torch_files(
    tmp_path: Path, tensors: Tensors, save: Callable[[Path, object], Path], keep: float
) -> None:
    path = save(tmp_path / "whole.pth", tensors)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError, match="is not a VideoINR checkpoint"):
        VideoINR.load(path)


def test_zip_that_is_larger_inside(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(ModelError, match="compressed or encrypted"):
        VideoINR.load(path)


def test_zip_without_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="holds no state dict"):
        VideoINR.load(path)


def test_tensors_larger_than_their_storage(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(50_000, 50_000)
    with pytest.raises(ModelError, match=r"larger than the file|more than the file can hold"):
        VideoINR.load(zipped(tmp_path / "wide.pth", {"a": wide}))


def header(table: object, data: bytes = b"") -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated or not in the safetensors format"),
        (b"hello", "truncated or not in the safetensors format"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "truncated or not"),
        (header(b"{"), "not valid JSON"),
        (header(b"[" * 100_000), "not valid JSON"),
        (header(b'{"a": 1, "a": 2}'), "a name occurs twice"),
        (header([]), "not a table of tensors"),
        (header({}), "it holds 0 tensors"),
        (header({"a": 1}), "tensor a is not described"),
        (header({"a": entry([2], 0, 8, "I64")}, bytes(8)), "tensor a is I64, not F32"),
        (header({"a": entry([1 << 39, 1 << 39], 0, 8)}, bytes(8)), "does not have as many bytes"),
        (header({"a": entry([-2], 0, -8)}, bytes(8)), "tensor a is not described"),
        (header({"a": entry([2], 0, 8)}, bytes(4)), "its tensors take 8 bytes but 4 are there"),
        (header({"a": entry([2], 0, 8)}, bytes(9)), "its tensors take 8 bytes but 9 are there"),
        (header({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)), "overlap or leave gaps"),
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
        VideoINR.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a VideoINR checkpoint: ")
    assert reason in message
    assert "\n" not in message


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: takes no space
    with pytest.raises(ModelError, match="model file is too large"):
        VideoINR.load(path)


def test_places_that_are_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pth"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(ModelError, match="not a regular file"):
            VideoINR.load(path)
    with pytest.raises(ModelError, match="model file not found"):
        VideoINR.load(tmp_path / "absent.pth")
    with pytest.raises(ModelError, match="model file cannot be read"):
        VideoINR.load("nul\0byte.pth")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_hostile_files_stay_within_bounded_memory(tmp_path: Path, tensors: Tensors) -> None:
    # In a process of its own, whose address space is limited to what it has after importing torch and 300 MB.
    huge = tmp_path / "huge.pth"
    torch.save({**tensors, "x": Huge()}, huge)
    absurd = tmp_path / "absurd.safetensors"
    absurd.write_bytes(header({"conv_first.weight": entry([1 << 40], 0, 1 << 42)}, bytes(8)))
    script = f"""
import resource
from vs_videoinr import VideoINR, ModelError
VideoINR.config_from_shapes  # imports torch
pages = int(open('/proc/self/statm').read().split()[0])
limit = pages * resource.getpagesize() + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in ({str(huge)!r}, {str(absurd)!r}):
    try:
        VideoINR.load(path)
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
    weights.import_model(zipped(tmp_path / "a.pth", tensors), "mine")
    with pytest.raises(ModelError, match=r"^model 'foo' is not known \(available: (.*, )?mine\)$"):
        VideoINR.load("foo")


def test_import_and_load_by_name(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    state = {**tensors, "upconv1.bias": torch.zeros(4), "conv_last.weight": torch.zeros(2, 2)}
    model = weights.import_model(zipped(tmp_path / "a.pth", state), "mine", "a test")
    assert sorted(path.name for path in models_folder.iterdir()) == ["mine.safetensors", "mine.yaml"]
    card = model.card()
    assert (card.architecture, card.description) == ("videoinr", "a test")
    assert card.source.startswith("a.pth (sha256 ")
    assert VideoINR.load("mine").config == SMALL
    assert torch.equal(picture(VideoINR.load("mine")), picture(VideoINR.from_state_dict(tensors)))
    with safetensors.safe_open(model.weights, "pt") as file:
        assert set(file.keys()) == set(tensors)  # without what the network does not use


@pytest.mark.usefixtures("models_folder")
def test_import_does_not_overwrite(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a.pth", tensors)
    weights.import_model(path, "mine", "first")
    with pytest.raises(ModelError, match="model 'mine' exists already"):
        weights.import_model(path, "mine", "second")
    assert catalogue.models()[-1].card().description == "first"
    weights.import_model(path, "mine", "second", replace=True)
    assert catalogue.models()[-1].card().description == "second"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 65, "a.safetensors", "new\nline"])
def test_names_that_cannot_be_used(models_folder: Path, tmp_path: Path, tensors: Tensors, name: str) -> None:
    with pytest.raises(ModelError, match="is not usable"):
        weights.import_model(zipped(tmp_path / "a.pth", tensors), name)
    assert not models_folder.exists()


def test_failed_import_leaves_nothing(models_folder: Path, tmp_path: Path, tensors: Tensors) -> None:
    models_folder.mkdir(parents=True)
    (models_folder / "mine.yaml").mkdir()  # the card cannot take this place
    with pytest.raises(ModelError, match="cannot be stored"):
        weights.import_model(zipped(tmp_path / "a.pth", tensors), "mine", replace=True)
    assert sorted(path.name for path in models_folder.iterdir()) == ["mine.safetensors", "mine.yaml"]


@pytest.mark.usefixtures("models_folder")
def test_changed_weights_do_not_match_their_card(tmp_path: Path, tensors: Tensors) -> None:
    model = weights.import_model(zipped(tmp_path / "a.pth", tensors), "mine")
    data = bytearray(model.weights.read_bytes())
    data[-1] ^= 1
    model.weights.write_bytes(data)
    with pytest.raises(ModelError, match="its checksum is not the one on its card"):
        VideoINR.load("mine")


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
        ("[" * 20_000, "nested too deeply"),
        ("x" * 100_000, "too large"),
        (b"\xff\xfe\x00", "is not valid"),
    ],
)
def test_cards_that_are_none(models_folder: Path, text: str | bytes, reason: str) -> None:
    models_folder.mkdir(parents=True)
    (models_folder / "mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=reason) as caught:
        VideoINR.load("mine")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("models_folder")
def test_bundled_names_cannot_be_taken(tmp_path: Path, tensors: Tensors) -> None:
    bundled = [model.name for model in catalogue.models() if model.origin == "bundled"]
    path = zipped(tmp_path / "a.pth", tensors)
    for name in bundled:
        with pytest.raises(ModelError, match="belongs to a bundled model"):
            weights.import_model(path, name, replace=True)


def test_saved_network_comes_back_with_its_settings(tmp_path: Path, tensors: Tensors) -> None:
    network = VideoINR.from_state_dict(tensors, {"grid": "consistent", "padding": "border"})
    model = weights.save(network, tmp_path, "own", description="d", scores={"psnr": 30.5})
    assert model.card().scores == {"psnr": 30.5}
    again = VideoINR.load(model.weights)
    assert again.config == network.config
    assert (picture(again) - picture(network)).abs().max() < 0.05  # half precision


# Who shares them


def test_equal_loads_share_and_the_last_holder_frees(tmp_path: Path, tensors: Tensors) -> None:
    path, copy = zipped(tmp_path / "a.pth", tensors), tmp_path / "copy.pth"
    copy.write_bytes(path.read_bytes())
    network = VideoINR.load(path)
    assert VideoINR.load(copy) is network
    assert VideoINR.load(path, "cpu", torch.bfloat16) is not network
    importlib.reload(weights)
    assert VideoINR.load(path) is network
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_threads_get_one_network(tmp_path: Path, tensors: Tensors) -> None:
    path = zipped(tmp_path / "a.pth", tensors)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(VideoINR.load(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(network) for network in found}) == 1


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta:0:0"])
def test_device_that_is_not_there(tmp_path: Path, tensors: Tensors, device: str) -> None:
    with pytest.raises(ModelError, match=f"^device '{device}' is not available"):
        VideoINR.load(zipped(tmp_path / "a.pth", tensors), device)


def test_package_imports_without_torch() -> None:
    script = "import sys, vs_videoinr, vs_videoinr.catalogue; print('torch' in sys.modules, vs_videoinr.__version__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[0] == "False"
