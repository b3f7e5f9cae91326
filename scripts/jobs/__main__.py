"""Each stage writes its section of docs/RENDERING.md: python -m scripts.jobs STAGE.

Needs `pip install '.[test]'`.
"""

from __future__ import annotations

from pathlib import Path

from scripts import ROOT, command
from scripts.reliability import report

PAGE = ROOT / "docs" / "RENDERING.md"


def main() -> None:
    """Run the stage that the command line names."""
    parser = command("jobs", __doc__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    engines = stages.add_parser("engines", help="Dask Distributed and Ray, side by side (5 minutes)")
    engines.add_argument("--environments", type=Path, help="folder to keep the virtual environments of both in")
    speedup = stages.add_parser("speedup", help="1, 2 and 4 workers pinned to one core each, on idle cores")
    speedup.add_argument("--frames", type=int, default=64, help="source frames, a multiple of 16 (default: 64)")
    stages.add_parser("pairs", help="how often pairs are encoded")
    options = parser.parse_args()
    if options.stage == "engines":
        from scripts.jobs import engines as stage_engines

        lines = stage_engines.run(options.environments)
    elif options.stage == "speedup":
        from scripts.jobs import speedup as stage_speedup

        lines = stage_speedup.run(options.frames)
    else:
        from scripts.jobs import pairs

        lines = pairs.run()
    print(*lines, sep="\n")
    report.write(options.stage, lines, PAGE)


if __name__ == "__main__":
    main()
