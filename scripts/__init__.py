"""Commands for training and measuring, run from the checkout as `python -m scripts.NAME`; not part of the package."""

import argparse
import datetime as dt
import platform
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout


def command(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m scripts.NAME`, described by its module."""
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(f"python -m scripts.{name}", description=description, formatter_class=formatter)


def today() -> str:
    """The date (UTC) as reports say it."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def measured() -> str:
    """The sentence above a table that says when and on what it was measured."""
    return f"Measured {today()} on {platform.machine()}."


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
