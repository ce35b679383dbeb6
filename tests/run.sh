#!/usr/bin/env bash
# Runs all tests. Those of the pages need a Chromium: FEATUREINTERP_CHROMIUM, one that is installed, or one that
# can be installed here; without one they are left out and the last line says so (with CI set that is a failure).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=.venv/bin/python

works() { [ -n "$1" ] && "$1" --version >/dev/null 2>&1; }

playwrights_own() {
  "$python" -c 'from playwright.sync_api import sync_playwright
with sync_playwright() as p: print(p.chromium.executable_path)' 2>/dev/null
}

find_chromium() {
  local name path
  for name in "${FEATUREINTERP_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    path=$(command -v -- "$name") && works "$path" && echo "$path" && return
  done
  path=$(playwrights_own) && works "$path" && echo "$path"
}

install_chromium() {
  echo "Installing a Chromium for the page tests."
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
    find_chromium >/dev/null && return
  fi
  "$python" -m playwright install chromium
}

if ! chromium=$(find_chromium); then
  install_chromium
  chromium=$(find_chromium)
fi

if [ -n "$chromium" ]; then
  FEATUREINTERP_CHROMIUM=$chromium exec "$python" -m pytest
fi
"$python" -m pytest -m "not browser"
status=$?
echo "The page tests were not run: there is no Chromium here and none could be installed."
[ -z "${CI:-}" ] || exit 1
exit "$status"
