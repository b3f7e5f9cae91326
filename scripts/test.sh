#!/usr/bin/env bash
# Pass the tests: style, types, and every test of the suite on the installed package. Arguments go on to pytest.
EXTRAS=test
source "$(dirname "$0")/environment.sh"

# What Qt needs to open VSView off-screen, where this may install it; elsewhere that one test says what is missing.
packages=(libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1)
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${packages[@]}"; } >/dev/null || echo "apt-get could not install what Qt needs" >&2
fi

ruff check .
ruff format --check .
mypy
pytest "$@"
