"""Put a trained model into the package: python -m scripts.publish RUN_FOLDER CLIP.mp4 ….

Measures it on the clips as scripts.evaluate does (2x and 4x size, 2x rate, against Spline36 and blending), and writes
weights and card to vs_videoinr/models. What the card says of data and licences comes from
NAME.card.yaml beside the training's configuration.
"""

from __future__ import annotations

import platform
import statistics
from pathlib import Path
from typing import Any

import yaml

from scripts import ROOT, command, today
from scripts.data.video import cached
from scripts.evaluation.measure import measure
from scripts.evaluation.scores import Setting, at_source, between
from vs_videoinr.weights import catalogue, library

BASELINE = "Spline36 + blend"


def scores(model: Path, clips: list[Path]) -> dict[str, Any]:
    """PSNR on Y in dB of the model and the baseline, at source times and between."""
    result: dict[str, Any] = {
        "what": f"PSNR on Y in dB: [at source times, between], 2x rate, clips {', '.join(c.stem for c in clips)}",
        "measured": f"{today()}, CPU ({platform.machine()})",
    }
    for size in (2.0, 4.0):
        result[f"{size:g}x"] = {}
        for name in (str(model), BASELINE):
            found = [measure(clip.stem, cached(clip), name, Setting(size, 2, 33))[0] for clip in clips]
            result[f"{size:g}x"][found[0].method] = [
                round(statistics.fmean(place(entry.psnr) for entry in found), 2) for place in (at_source, between)
            ]
    return result


def main() -> None:
    """Measure, then write both files."""
    parser = command("publish", __doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    arguments = parser.parse_args()
    name = arguments.run.name
    trained = catalogue.Model(name, "imported", arguments.run)
    about = yaml.safe_load((ROOT / "scripts" / "configs" / f"{name}.card.yaml").read_text())
    training = dict(trained.card().training) | {"note": about.pop("note")}
    library.save(
        library.load(trained.weights),
        ROOT / "vs_videoinr" / "models",
        name,
        training=training,
        scores=scores(trained.weights, arguments.clips),
        **about,
    )


if __name__ == "__main__":
    main()
