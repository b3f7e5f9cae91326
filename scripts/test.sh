#!/usr/bin/env bash
# Pass the tests: style, types, and every test of the suite on the installed package. Arguments go on to pytest.
EXTRAS=test
source "$(dirname "$0")/environment.sh"
ruff check .
ruff format --check .
mypy
pytest "$@"
