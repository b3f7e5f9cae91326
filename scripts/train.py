"""Train a network: python -m scripts.train CONFIG.yaml [--run FOLDER] [--minutes M].

Saves everything that resuming needs in FOLDER (runs/NAME by default) every few minutes, when asked to stop (Ctrl-C,
SIGTERM) and at the end, together with the averaged weights NAME.safetensors. Started again, it goes on where it was.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from scripts import command
from scripts.training import config
from scripts.training.trainer import Trainer


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and train."""
    parser = command("train", __doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--run", type=Path, help="folder of this run (default: runs/NAME)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many minutes of this call")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    settings = config.load(options.config)
    trainer = Trainer(settings, options.run or Path("runs") / settings.name, torch.device(options.device))
    try:
        trainer.loop(options.minutes)
    finally:
        trainer.feed.close()


if __name__ == "__main__":
    main()
