"""The one exception for everything that can be wrong with a model."""

from __future__ import annotations


class ModelError(ValueError):
    """A model cannot be found, read or built.

    Attributes:
        report: What is wrong, one line per tensor or setting; empty where the message says it all.
    """

    def __init__(self, message: str, report: str = "") -> None:
        super().__init__(message)
        self.report = report
