"""Long checks, each of which writes its section of docs/RELIABILITY.md: python -m scripts.reliability STAGE.

Needs `pip install '.[test]'`. Ends with 1 if something is not as it should be.
"""

from __future__ import annotations

import sys

from scripts import command
from scripts.reliability import report


def main() -> int:
    """Run the stage that the command line names; return the exit status."""
    parser = command("reliability", __doc__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    seeks = stages.add_parser("soak", help="random seeks and straight stretches")
    seeks.add_argument("--minutes", type=float, default=60)
    previewers = stages.add_parser("reloads", help="reloads in VSView and VSPreview")
    previewers.add_argument("--count", type=int, default=50)
    for stage in (seeks, previewers):
        stage.add_argument("--model", default="lite", help="name or path (default: lite)")
    stages.add_parser("abandon", help="what a long frame takes, and how soon it is left")
    stages.add_parser("sanitizers", help="the native part under AddressSanitizer and ThreadSanitizer")
    options = parser.parse_args()

    # Each stage imports only what it needs: previewers and sanitizers run in processes of their own.
    if options.stage == "soak":
        from scripts.reliability import soak

        lines, good = soak.run(options.minutes, options.model)
    elif options.stage == "reloads":
        from scripts.reliability import reloads

        lines, good = reloads.run(options.count, options.model)
    elif options.stage == "abandon":
        from scripts.reliability import abandon

        lines, good = abandon.run(), True
    else:
        from scripts.reliability import sanitizers

        lines, good = sanitizers.run()
    print(*lines, sep="\n")
    report.write(options.stage, lines)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
