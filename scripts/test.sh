#!/usr/bin/env bash
# Pass the tests: style, types, and every test of the suite on the installed package. Arguments go on to pytest.
EXTRAS=test
source "$(dirname "$0")/environment.sh"

# What some tests load and bare machines lack: libraries with which Qt opens VSView off-screen, and Debian's own Python as a
# library, for vspipe. Installed where this may; elsewhere those tests say what is missing.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  present=$(ldconfig -p)
  missing=()
  for pair in libEGL.so.1=libegl1 libGL.so.1=libgl1 libxkbcommon.so.0=libxkbcommon0 libdbus-1.so.3=libdbus-1-3 \
    libfontconfig.so.1=libfontconfig1 libglib-2.0.so.0=libglib2.0-0 libpulse.so.0=libpulse0 \
    $(python -c 'import sys
if sys.base_prefix == "/usr": print("libpython{0}.{1}.so=libpython{0}.{1}".format(*sys.version_info))'); do
    [[ $present == *"${pair%=*}"* ]] || missing+=("${pair#*=}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
      >/dev/null || echo "apt-get could not install ${missing[*]}" >&2
  fi
fi

ruff check .
ruff format --check .
clang-format --dry-run -Werror vs_videoinr/*/native/*.[ch]
mypy
# A process per core: every test is one thread of many small calls.
pytest -n auto --dist worksteal "$@"
