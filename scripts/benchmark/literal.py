"""The published network's decoder against the order of work in which its paper writes it down."""

from __future__ import annotations

import os

from scripts import markdown_table
from scripts.benchmark.bench import Bench, Row, Size
from scripts.benchmark.layout import ratio, seconds
from scripts.benchmark.steps import enlarged

TITLE = "The published network, decoding"

#: glibc takes large blocks from the system for every tensor anew, and gives them back. With this it keeps them.
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4000000000"}
PARTS = ("literal", "first", "further")


def measure(bench: Bench) -> list[Row]:
    """A row for each version, number of threads, and with glibc's allocation as it comes and tuned."""
    source: Size = bench.scale.literal
    rows = []
    for tuned in (True,) if bench.quick else (False, True):
        with bench.workers(**(TUNED if tuned else {})) as workers:
            for threads in (1,) if bench.quick else sorted({1, len(os.sched_getaffinity(0))}):
                for name, worker in workers.items():
                    answer = worker.ask(
                        "literal",
                        model=bench.published(),
                        threads=threads,
                        source=source,
                        size=enlarged(source, 4),
                        repeats=bench.scale.repeats,
                    )
                    rows.append({"build": name, "threads": threads, "tuned": tuned, "source": list(source), **answer})
    return rows


def lines(rows: list[Row]) -> list[str]:
    """The section of the report."""
    width, height = rows[0]["source"]
    body = [
        [
            row["build"],
            str(row["threads"]),
            "tuned" if row["tuned"] else "as it comes",
            *(seconds(row[part]) for part in PARTS),
            *(ratio(row["literal"], row[part]) for part in PARTS[1:]),
            f"{row['difference']:.0e}",
            f"{_macs_per_second(row) / 1e9:.3g} G",
            f"{row['macs_per_second'] / 1e9:.3g} G",
        ]
        for row in rows
    ]
    head = ["", "threads", "allocation", "literal", "first frame", "further frame", "ratio", "ratio", "difference"]
    head += ["multiply-adds a second", "of a matrix product"]
    return [
        f"{width}x{height} to {width * 4}x{height * 4} on a CPU, from the feature map on, with the reference recipe's "
        "weights. *Literal*: every input of every pixel put together, nothing factorised, as the paper has it "
        "(`tests/networks/videoinr/twin_decoder.py`). The first frame of a pair includes what is kept for those that "
        f"follow. *Tuned*: `GLIBC_TUNABLES={TUNED['GLIBC_TUNABLES']}`. *Difference*: of the two pictures, at most.",
        "",
        f"Beside sines a frame takes {rows[0]['pixel_macs'] / 1e3:.0f} k multiply-adds a pixel. The last column "
        "is what PyTorch's matrix product reaches, of the shape of the largest layer and without any sines.",
        "",
        *markdown_table(head, body),
    ]


def _macs_per_second(row: Row) -> float:
    """Multiply-adds a second of a further frame; sines are on top of that."""
    width, height = enlarged((row["source"][0], row["source"][1]), 4)
    made: float = row["pixel_macs"] * width * height / row["further"]
    return made
