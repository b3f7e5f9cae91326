"""Commands for training and measuring, run from the checkout as `python -m scripts.NAME`; not part of the package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the checkout
