# Sourced by the other scripts: finds Python and ffmpeg, makes .venv and installs this checkout into it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "$1" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.14 python3 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null ||
  fail "ffmpeg and ffprobe are needed and were not found: install ffmpeg, for example with 'apt-get install ffmpeg'"

if [ ! -x .venv/bin/python ]; then
  python=$(find_python)
  [ -n "$python" ] || fail "Python 3.12 or newer was not found: install it, or name it: PYTHON=/path/to/python3 $0"
  "$python" -m venv .venv
fi
# vspipe learns here which Python to load; kept inside the environment, away from the user's own settings.
export XDG_CONFIG_HOME=$PWD/.venv/config
export PATH=$PWD/.venv/bin:$PATH
rm -rf build # setuptools would put modules into the wheel that are gone from the checkout
python -m pip install --quiet --disable-pip-version-check ".[${EXTRAS:?}]"
