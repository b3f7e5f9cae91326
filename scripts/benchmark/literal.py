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
        ]
        for row in rows
    ]
    head = ["", "threads", "allocation", "literal", "first frame", "further frame", "ratio", "ratio", "difference"]
    return [
        f"{width}x{height} to {width * 4}x{height * 4} on a CPU, from the feature map on, with the reference recipe's "
        "weights. *Literal*: every input of every pixel put together, nothing factorised, as the paper has it "
        "(`tests/networks/videoinr/twin_decoder.py`). The first frame of a pair includes what is kept for those that "
        f"follow. *Tuned*: `GLIBC_TUNABLES={TUNED['GLIBC_TUNABLES']}`. *Difference*: of the two pictures, at most.",
        "",
        *markdown_table(head, body),
    ]
