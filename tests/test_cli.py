"""The `videoinr` command as users run it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import vs_videoinr
from tests.reference_recipe import reference_state_dict, small_shapes


@pytest.fixture
def videoinr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("VIDEOINR_MODELS", str(tmp_path / "models"))
    # The package that these tests belong to, wherever an installed one may be.
    monkeypatch.setenv("PYTHONPATH", str(Path(vs_videoinr.__file__).parents[1]))
    return Runner(tmp_path)


class Runner:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vs_videoinr.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder)

    def shell(self, arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `videoinr` with what a shell makes of the arguments, redirections among them."""
        return subprocess.run(
            ["bash", "-c", f'"{sys.executable}" -m vs_videoinr.cli {arguments}'],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.folder,
            env=os.environ | variables,
        )

    def checkpoint(self, **changes: torch.Tensor) -> str:
        state = {key: torch.from_numpy(value) for key, value in reference_state_dict(small_shapes()).items()}
        torch.save(
            {**state, **{key.replace("__", "."): tensor for key, tensor in changes.items()}}, self.folder / "a.pth"
        )
        return "a.pth"


def test_version(videoinr: Runner) -> None:
    done = videoinr("--version")
    assert (done.returncode, done.stdout) == (0, f"videoinr {version('vapoursynth-videoinr')}\n")


def test_import_then_list(videoinr: Runner) -> None:
    done = videoinr("import", videoinr.checkpoint(), "--name", "mine", "--description", "one of two\nlines")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mine: stored as {videoinr.models / 'mine.safetensors'}\n"
    listed = videoinr("models")
    assert (listed.returncode, listed.stderr) == (0, "")
    heading, *rows = listed.stdout.splitlines()
    assert heading.split() == ["NAME", "ORIGIN", "SIZE", "PARAMS", "SHA256", "DESCRIPTION"]
    row = next(row for row in rows if row.startswith("mine "))
    assert row.split()[1] == "imported"
    assert row.endswith("one of two lines")
    for name, device in (("lite", "CPU"), ("standard", "GPU")):
        assert next(row for row in rows if row.startswith(f"{name} ")).endswith(f" (default on a {device})")
    parameters = sum(value.size for value in reference_state_dict(small_shapes()).values())
    assert f"{parameters / 1e6:.2f} M" in row


def test_import_asks_before_replacing(videoinr: Runner) -> None:
    arguments = ("import", videoinr.checkpoint(), "--name", "mine")
    assert videoinr(*arguments).returncode == 0
    again = videoinr(*arguments)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "videoinr: model 'mine' exists already\n"
    assert videoinr(*arguments, "--force").returncode == 0


def test_import_of_what_does_not_fit(videoinr: Runner) -> None:
    path = videoinr.checkpoint(fusion__bias=torch.zeros(3), conv_first__bias=torch.zeros(2))
    done = videoinr("import", path, "--name", "mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "videoinr: a.pth is not a VideoINR checkpoint: tensor conv_first.bias is 2, expected 16 (and 1 more)",
        "  tensor conv_first.bias is 2, expected 16",
        "  tensor fusion.bias is 3, expected 16",
    ]
    assert not videoinr.models.exists()


def test_import_of_no_file(videoinr: Runner) -> None:
    done = videoinr("import", "absent.pth", "--name", "mine")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "videoinr: model file not found: absent.pth\n")


FULL = "videoinr: cannot write to standard output (No space left on device)"
CLOSED = "videoinr: cannot write to standard output (Bad file descriptor)"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to what is always full")
@pytest.mark.parametrize(
    ("arguments", "status", "stderr"),
    [
        ("models >/dev/full", 1, FULL + "\n"),
        ("models >&-", 1, CLOSED + "\n"),
        ("models >&- 2>&-", 1, ""),
        ("models >/dev/full 2>/dev/full", 1, ""),
        ("--version >/dev/full", 1, FULL + "\n"),
        ("--version >&-", 1, CLOSED + "\n"),
        ("--help >/dev/full", 1, FULL + "\n"),
        ("import --help >&-", 1, CLOSED + "\n"),
        ("import absent.pth --name mine 2>&-", 1, ""),
        ("import absent.pth --name mine 2>/dev/full", 1, ""),
        ("import absent.pth --name mine >/dev/full", 1, "videoinr: model file not found: absent.pth\n"),
        ("import 2>&-", 2, ""),
    ],
)
def test_output_that_goes_nowhere(videoinr: Runner, arguments: str, status: int, stderr: str) -> None:
    done = videoinr.shell(arguments)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to what is always full")
@pytest.mark.parametrize(("where", "problem"), [(">/dev/full", FULL), (">&-", CLOSED), (">&- 2>&-", "")])
def test_import_that_can_say_nothing_is_done_all_the_same(videoinr: Runner, where: str, problem: str) -> None:
    done = videoinr.shell(f"import {videoinr.checkpoint()} --name mine {where}")
    stored = f"{problem}; mine: stored as {videoinr.models / 'mine.safetensors'}\n" if problem else ""
    assert (done.returncode, done.stdout, done.stderr) == (0, "", stored)
    assert "mine " in videoinr("models").stdout


@pytest.mark.parametrize(
    "terminal", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_terminal_without_the_letters(videoinr: Runner, terminal: dict[str, str]) -> None:
    folder = str(videoinr.folder / "größe")
    done = videoinr.shell(
        f"import {videoinr.checkpoint()} --name mine --description 'Größe 大'", VIDEOINR_MODELS=folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    listed = videoinr.shell("models", VIDEOINR_MODELS=folder, **terminal)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[-1].endswith(r"Gr\xf6\xdfe \u5927")
    again = videoinr.shell("import a.pth --name mine --force", VIDEOINR_MODELS=folder, **terminal)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("mine: stored as ")


def test_description_that_is_not_utf8(videoinr: Runner) -> None:
    done = videoinr.shell(f"import {videoinr.checkpoint()} --name mine --description $'Gr\\xf6sse'")
    assert (done.returncode, done.stderr) == (0, "")
    listed = videoinr("models")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[-1].endswith("  Grsse")


def test_description_that_is_too_long(videoinr: Runner) -> None:
    done = videoinr("import", videoinr.checkpoint(), "--name", "mine", "--description", "x" * 100_000)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "at most 65536 are possible; give a shorter description" in done.stderr
    assert not videoinr.models.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files")
def test_import_onto_a_full_disk(videoinr: Runner) -> None:
    path = videoinr.folder / videoinr.checkpoint()
    code = """
import resource, sys
from vs_videoinr.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit(main(["import", sys.argv[1], "--name", "x"]))
"""
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"videoinr: model 'x' cannot be stored in {videoinr.models} (File too large)\n"
    assert list(videoinr.models.iterdir()) == []


def test_broken_model_does_not_hide_the_others(videoinr: Runner) -> None:
    assert videoinr("import", videoinr.checkpoint(), "--name", "zebra").returncode == 0
    (videoinr.models / "broken.yaml").write_text("[")
    rows = videoinr("models").stdout.splitlines()
    assert any(row.startswith("broken ") and "unusable: model card" in row for row in rows)
    assert any(row.startswith("zebra ") for row in rows)


def test_wrong_usage_is_explained(videoinr: Runner) -> None:
    done = videoinr("import", "a.pth")
    assert done.returncode == 2
    assert "--name" in done.stderr


@pytest.mark.usefixtures("videoinr")
def test_listing_does_without_torch() -> None:
    code = "import sys; from vs_videoinr.cli import main; main(['models']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("videoinr")
def test_reader_that_leaves_early() -> None:
    command = f"{sys.executable} -m vs_videoinr.cli models | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
