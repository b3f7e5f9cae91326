# Sourced by the other scripts: finds Python, makes .venv and installs this checkout into it with what EXTRAS names.
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
    if [ -n "$candidate" ] &&
      "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

quiet=--quiet
if [ ! -x .venv/bin/python ]; then
  python=$(find_python)
  [ -n "$python" ] || fail "Python 3.12 or newer with venv was not found: install it (Debian, Ubuntu: apt install \
python3-venv), or name it: PYTHON=/path/to/python3 $0"
  echo "Installing into .venv; the first time, PyTorch is downloaded, which is large ..." >&2
  "$python" -m venv .venv
  if [ -t 2 ]; then quiet=; fi # somebody is watching: let pip show how far it is
fi
# vspipe learns here which Python to load; kept inside the environment, away from the user's own settings.
export XDG_CONFIG_HOME=$PWD/.venv/config
export PATH=$PWD/.venv/bin:$PATH
rm -rf build # setuptools would put modules into the wheel that are gone from the checkout
python -m pip install $quiet --disable-pip-version-check ".[${EXTRAS:?}]"
