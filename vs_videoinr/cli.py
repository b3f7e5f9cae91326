"""The `videoinr` command: which models there are, and importing one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from vs_videoinr import catalogue
from vs_videoinr.errors import ModelError
from vs_videoinr.headers import open_regular, read_header


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, or 1 with one line on stderr that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "models":
            _list()
        else:
            _import(options.file, options.name, options.description, options.force)
        sys.stdout.flush()
    except ModelError as error:
        print(f"videoinr: {error}", file=sys.stderr)
        for line in error.report.splitlines()[: 40 if options.command == "import" else 0]:
            print(f"  {line}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `videoinr models | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="videoinr", description="Models of the VapourSynth plugin core.videoinr.")
    parser.add_argument("--version", action="version", version=f"videoinr {version('vapoursynth-videoinr')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("models", help="list the models that scripts can name")
    importing = commands.add_parser(
        "import", help="make a checkpoint (.pth of the published VideoINR, or .safetensors) available by name"
    )
    importing.add_argument("file", type=Path, metavar="FILE", help="the checkpoint")
    importing.add_argument("--name", required=True, help="what scripts will call it")
    importing.add_argument("--description", default="", help="one sentence, shown by `videoinr models`")
    importing.add_argument("--force", action="store_true", help="replace an imported model of that name")
    return parser


def _list() -> None:
    rows = [("NAME", "ORIGIN", "SIZE", "PARAMS", "SHA256", "DESCRIPTION")]
    for model in catalogue.models():
        try:
            card = model.card()
            with open_regular(model.weights) as file:
                parameters = read_header(file).parameters
                size = os.fstat(file.fileno()).st_size
        except ModelError as error:  # one broken model does not hide the others
            rows.append((model.name, model.origin, "-", "-", "-", f"unusable: {error}"))
            continue
        default = {catalogue.DEFAULT: " (default on a CPU)", catalogue.DEFAULT_ON_GPU: " (default on a GPU)"}
        rows.append(
            (
                model.name,
                model.origin,
                f"{size / 1e6:.1f} MB",
                f"{parameters / 1e6:.2f} M",
                _one_line(card.sha256)[:12],
                _one_line(card.description) + default.get(model.name, ""),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _one_line(text: str) -> str:
    """Lay out what a card says for a terminal, which would obey control characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _import(file: Path, name: str, description: str, force: bool) -> None:
    from vs_videoinr import weights  # imports torch, which listing does without

    model = weights.import_model(file, name, description, replace=force)
    print(f"{model.name}: stored as {model.weights}")


if __name__ == "__main__":
    sys.exit(main())
