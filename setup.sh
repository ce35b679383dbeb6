#!/usr/bin/env bash
# Sets up .venv: featureinterp, what it needs, and its development tools, within the pins of constraints.txt.
# Run it as often as you like; when nothing has changed it does nothing.
#   PYTHON=/path/to/python bash setup.sh    choose the Python (3.10 to 3.13; 3.11 is preferred)
set -euo pipefail
cd "$(dirname "$0")"

usable() { # succeeds if $1 is a Python we support that can make virtual environments
  "$1" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

# The folder is part of the stamp because an environment cannot be moved.
wanted=$({ pwd; cat pyproject.toml constraints.txt tests/contract/neighbours.txt setup.sh; } | cksum)
stamp=.venv/set-up.stamp
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && usable .venv/bin/python; then
  exit 0
fi

if ! usable .venv/bin/python; then
  chosen=
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.10 python3 python}; do
    if usable "$candidate"; then
      chosen=$candidate
      break
    fi
  done
  if [ -z "$chosen" ]; then
    echo "setup.sh: no Python 3.10 to 3.13 with venv found${PYTHON:+ at $PYTHON}; install one (on Debian: apt-get install python3 python3-venv) or name it: PYTHON=/path/to/python bash setup.sh" >&2
    exit 1
  fi
  echo "Setting up .venv with $("$chosen" --version); the first time this downloads PyTorch and takes some minutes."
  "$chosen" -m venv --clear .venv
fi
rm -f "$stamp"
.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
.venv/bin/python -m pip install --disable-pip-version-check --no-deps -r tests/contract/neighbours.txt
echo "$wanted" >"$stamp"
.venv/bin/featureinterp fetch smollm2 || true # it has said why, and its first use fetches it again
echo "Set up in .venv; activate it with: source .venv/bin/activate"
