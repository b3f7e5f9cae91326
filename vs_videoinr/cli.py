"""The `videoinr` command: models are listed and imported, scripts rendered."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import shlex
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
        if options.command in ("render", "worker"):
            return _work(options)
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
    parser = argparse.ArgumentParser(
        prog="videoinr", description="Models and long jobs of the VapourSynth plugin core.videoinr."
    )
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
    _add_render(commands)
    return parser


def _add_render(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rendering = commands.add_parser(
        "render",
        help="render a script to a file, in chunks: can be stopped and started again, uses all GPUs or many machines",
        description="Render output 0 of a VapourSynth script. Started again, it does what is missing.",
    )
    rendering.add_argument("script", type=_path, metavar="SCRIPT", help="the script")
    rendering.add_argument("out", type=_path, metavar="OUT", help="the file to make: .mkv, .mp4, .mov or .webm")
    rendering.add_argument("--workers", type=_count, metavar="N", help="processes here (default: one for each GPU)")
    rendering.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, whose workers are used: tcp://HOST:8786")
    rendering.add_argument("--source", type=_path, metavar="FILE", help="take sound, subtitles and chapters from it")
    encoder = rendering.add_mutually_exclusive_group()
    encoder.add_argument("--lossless", action="store_true", help="encode as FFV1")
    encoder.add_argument("--encoder", metavar="ARGUMENTS", help='of ffmpeg (default: "-c:v libx264 -crf 16")')
    rendering.add_argument("--chunk", type=_count, metavar="FRAMES", help="frames of a chunk (default: 500)")
    rendering.add_argument("--job", type=_path, metavar="FOLDER", help="where chunks are kept (default: OUT.job)")
    rendering.add_argument("--restart", action="store_true", help="begin anew, whatever is there already")
    rendering.add_argument(
        "--arg", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="a variable of the script"
    )
    working = commands.add_parser("worker", help="work for `videoinr render --scheduler` on another machine")
    working.add_argument("scheduler", metavar="ADDRESS", help="of Dask's scheduler: tcp://HOST:8786")
    working.add_argument("--workers", type=_count, metavar="N", help="processes (default: one for each GPU)")
    working.add_argument(
        "--map",
        type=_pair,
        action="append",
        default=[],
        metavar="THERE=HERE",
        help="a shared folder that has another path on this machine than on that of the job",
    )


def _path(text: str) -> Path:
    return Path(os.path.abspath(text))  # noqa: PTH100  # other machines may have other links


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} has no = between its two parts")
    return key, value


def _split(arguments: str | None) -> list[str]:
    from vs_videoinr.jobs.errors import JobError

    try:
        return shlex.split(arguments or "")
    except ValueError as error:
        raise JobError(f"--encoder cannot be read: {error}") from None


def _work(options: argparse.Namespace) -> int:
    """Render, or work for somebody who does; return the exit status."""
    from vs_videoinr.jobs import command
    from vs_videoinr.jobs.encode import DEFAULT_ENCODER, LOSSLESS_ENCODER
    from vs_videoinr.jobs.errors import JobError

    try:
        if options.command == "worker":
            command.work(options.scheduler, options.workers, options.map)
        else:
            encoder = LOSSLESS_ENCODER if options.lossless else _split(options.encoder) or DEFAULT_ENCODER
            command.render(
                command.Request(
                    script=options.script,
                    out=options.out,
                    source=options.source,
                    encoder=encoder,
                    chunk=options.chunk,
                    folder=options.job,
                    restart=options.restart,
                    workers=options.workers,
                    scheduler=options.scheduler,
                    arguments=dict(options.arg),
                )
            )
    except JobError as error:
        _complain(f"videoinr: {error}")
        return 1
    return 0


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
