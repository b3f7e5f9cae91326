"""The pictures of the report."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scripts.evaluation import crops
from scripts.evaluation.scores import Entry

ERROR_GAIN = 3  # how much stronger errors are shown
LABEL_PX = 18  # height of a line of text
GAP_PX = 4


def compare(folder: Path, clip: str, methods: list[str], file: Path) -> bool:
    """Truth and methods beside each other, their errors below; False where nothing was kept of the clip."""
    truth = crops.load(folder, clip, crops.TRUTH)
    if truth is None:
        return False
    height, width = truth.shape[:2]
    step = width + GAP_PX
    sheet = Image.new("RGB", (step * (len(methods) + 1) - GAP_PX, 2 * (height + LABEL_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)

    def put(column: int, row: int, picture: NDArray[np.uint8] | None, label: str) -> None:
        place = column * step, row * (height + LABEL_PX)
        draw.text(place, label if picture is not None else f"{label}: none", "black", font)
        if picture is not None:
            sheet.paste(Image.fromarray(picture), (place[0], place[1] + LABEL_PX))

    put(0, 0, truth, "truth")
    for column, method in enumerate(methods, 1):
        piece = crops.load(folder, clip, method)
        put(column, 0, piece, method)
        if piece is not None:
            error = np.abs(piece.astype(np.int16) - truth) * ERROR_GAIN
            put(column, 1, error.clip(0, 255).astype(np.uint8), "error")
    sheet.save(file, quality=88, subsampling=0)
    return True


def curves(cells: Mapping[tuple[str, str], Entry], file: Path) -> None:
    """PSNR on Y over the time between two source frames: one panel for the mean of all clips and one for each."""
    clips = sorted({clip for clip, _ in cells})
    methods = sorted({method for _, method in cells}, key=lambda method: (" + " not in method, method))
    with mpl.rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(2 * (len(clips) + 1), 2.6), dpi=110, layout="constrained")
        panels = figure.subplots(1, len(clips) + 1, squeeze=False)[0]
        for panel, shown in zip(panels, [clips, *([clip] for clip in clips)], strict=True):
            for method in methods:
                found = [cells[clip, method].psnr for clip in shown if (clip, method) in cells]
                if len(found) == len(shown):
                    values = [statistics.fmean(at) for at in zip(*found, strict=True)]
                    times = [k / len(values) for k in range(len(values) + 1)]
                    panel.plot(times, [*values, values[0]], marker=".", label=method)
            panel.set_title("all clips" if len(shown) > 1 else shown[0])
            panel.set_xlabel("t")
        panels[0].set_ylabel("PSNR on Y, dB")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(file)
