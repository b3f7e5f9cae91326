"""The `videoinr` command: which models there are, and importing one."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import vs_videoinr
from vs_videoinr.errors import ModelError

if TYPE_CHECKING:
    from vs_videoinr.weights.catalogue import Card

# What takes time to import is imported where it is used: only there Ctrl-C ends quietly.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    0: done; a model that has been imported counts as done even if that can be printed nowhere. 1: not done, and one
    line on stderr says why. 2: the arguments are wrong. 130: interrupted.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    usage = io.StringIO()
    try:
        with contextlib.redirect_stdout(usage):
            options = _parser().parse_args(arguments)
    except SystemExit as done:  # --help, --version, or arguments that are wrong, of which stderr tells
        return _print(usage.getvalue()) if done.code == 0 else 2
    try:
        if options.command == "models":
            return _print(_listing())
        text = _import(options.file, options.name, options.description, options.force)
    except ModelError as error:
        _complain(f"videoinr: {error}")
        for line in error.report.splitlines()[: 40 if options.command == "import" else 0]:
            _complain(f"  {line}")
        return 1
    _print(text, f"; {_one_line(text)}")
    return 0


def _print(text: str, otherwise: str = "") -> int:
    """Write to stdout; return 1, after a line on stderr that ends with `otherwise`, if that cannot be done."""
    try:
        if sys.stdout is None:  # closed by whoever started us
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if isinstance(sys.stdout, io.TextIOWrapper):  # nothing that a terminal cannot show keeps the rest from it
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # `videoinr models | head -1`
            _complain(f"videoinr: cannot write to standard output ({error.strerror}){otherwise}")
        _discard(sys.stdout)
        return 1
    return 0


def _complain(line: str) -> None:
    """Write a line to stderr, if that can be done."""
    if sys.stderr is not None:
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)


def _discard(stream: TextIO | None) -> None:
    """Keep Python from trying again, at its end, to write what could not be written."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="videoinr", description="Models of the VapourSynth plugin core.videoinr.")
    parser.add_argument("--version", action="version", version=f"videoinr {vs_videoinr.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("models", help="list the models that scripts can name")
    importing = commands.add_parser(
        "import",
        help="make a checkpoint (.pth of the published VideoINR or Zooming Slow-Mo, or .safetensors) available by name",
    )
    importing.add_argument("file", type=Path, metavar="FILE", help="the checkpoint")
    importing.add_argument("--name", required=True, help="what scripts will call it")
    importing.add_argument("--description", default="", help="one sentence, shown by `videoinr models`")
    importing.add_argument("--force", action="store_true", help="replace an imported model of that name")
    return parser


def _listing() -> str:
    from vs_videoinr.weights import catalogue

    rows = [("NAME", "ORIGIN", "SIZE", "PARAMS", "SHA256", "DESCRIPTION")]
    for model in catalogue.models():
        try:
            card, size, parameters = model.read(_measured)
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
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _measured(weights: Path, card: Card) -> tuple[Card, int, int]:
    """Return the card of a model, and the bytes and values of its weights."""
    from vs_videoinr.weights.safetensors_header import open_regular, read_header

    with open_regular(weights) as file:
        return card, os.fstat(file.fileno()).st_size, read_header(file).parameters


def _one_line(text: str) -> str:
    """Lay out what a card says for a terminal, which would obey control characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _import(file: Path, name: str, description: str, force: bool) -> str:
    from vs_videoinr.weights import library  # imports torch, which listing does without

    model = library.import_model(file, name, description, replace=force)
    return f"{model.name}: stored as {model.weights}\n"


if __name__ == "__main__":
    sys.exit(main())
