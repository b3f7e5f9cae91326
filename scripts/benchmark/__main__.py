"""Measure what a frame costs and write docs/BENCHMARKS.md: python -m scripts.benchmark.

Compares the installed plugin, which has to be the checkout's, with that of an earlier commit, with what VapourSynth
users have today, and with the published network as its paper writes it down. Results are kept in out/benchmark, so that
a section can be measured again by itself. Needs `pip install '.[benchmark]'` and two cores that do nothing else.

On a GPU (`--device cuda`) what matters there is measured, and kept in gpu.json; no report is written. It is written of
docs/benchmarks/gpu.json wherever it is written next.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

from scripts import ROOT, command
from scripts.benchmark import report
from scripts.benchmark.bench import FULL, GPU, QUICK, Bench
from scripts.benchmark.builds import BEFORE, Build, earlier, installed


def main(arguments: list[str] | None = None) -> None:
    """Measure the sections that the command line names, and write the report."""
    parser = command("benchmark", __doc__)
    parser.add_argument(
        "--only", nargs="*", choices=report.SECTIONS, metavar="SECTION", help=", ".join(report.SECTIONS)
    )
    parser.add_argument("--models", nargs="+", type=Path, default=[], metavar="FILE", help="measure these as well")
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help=f'default: {BEFORE}; "" for none')
    parser.add_argument("--device", default="cpu", help="where networks run, as PyTorch names it (default: cpu)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after so many nothing more is begun")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: whether it runs, not how fast")
    parser.add_argument("--report", action="store_true", help="write the report anew and measure nothing")
    parser.add_argument("--work", type=Path, help="what is made on the way and kept (default: out/benchmark)")
    parser.add_argument("--docs", type=Path, help="where the report goes (default: docs; with --quick that of --work)")
    options = parser.parse_args(arguments)
    work = (options.work or ROOT / "out" / ("benchmark-quick" if options.quick else "benchmark")).absolute()
    docs = options.docs or (work if options.quick else ROOT / "docs")
    on_gpu = options.device != "cpu"
    results = work / (report.GPU_RESULTS.name if on_gpu else "results.json")
    if not options.report:
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(
            builds=(installed(work), *([] if on_gpu else _before(options.before, work))),
            files=tuple(options.models),
            device=options.device,
            scale=QUICK if options.quick else GPU if on_gpu else FULL,
            quick=options.quick,
            work=work,
            deadline=time.monotonic() + 60 * options.minutes,
        )
        for name in options.only or (report.GPU_SECTIONS if on_gpu else report.SECTIONS):
            report.store(results, name, bench, report.SECTIONS[name].measure(bench))
    if not on_gpu:
        report.write(results, docs, work)


def _before(commit: str, work: Path) -> list[Build]:
    """The version to compare with, if one is wanted."""
    if not commit:
        return []
    build = earlier(commit, work)
    if build is None:
        raise SystemExit(f'git does not have the commit {commit} to compare with: fetch it, or give --before ""')
    return [build]


if __name__ == "__main__":
    main()
