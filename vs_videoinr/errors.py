"""The one exception for everything that can be wrong with a model."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_LENGTH = 1000


class ModelError(ValueError):
    """A model cannot be found, read or built.

    Names in a message may come from a file that nobody trusts: whatever they hold, the message is one printable line.

    Args:
        message: One sentence.
        problems: What is wrong in detail, a line per tensor or setting; empty where the message says it all.

    Attributes:
        report: The problems, one line each.
    """

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(_line(message))
        self.report = "\n".join(map(_line, problems))


def _line(text: str) -> str:
    line = "".join(character if character.isprintable() else "?" for character in text)
    half = _MAX_LENGTH // 2
    return line if len(line) <= _MAX_LENGTH else f"{line[:half]}…{line[1 - half :]}"  # how it ends is the reason
