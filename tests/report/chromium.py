"""The Chromium that the page tests open pages in; `python -m tests.report.chromium` installs one where none is found.

Looked for are FEATUREINTERP_CHROMIUM, the usual names on PATH, and Playwright's own. As root Debian's package is
installed, else, or where that does not run (Ubuntu's is an empty shell), Playwright's.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Return the path of a Chromium that runs."""
    for name in (os.environ.get("FEATUREINTERP_CHROMIUM", ""), *NAMES):
        if name and (path := shutil.which(name)) and runs(path):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if runs(own) else None


def runs(path: str) -> bool:
    """Say whether the program starts."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def ways_to_install(is_root: bool, has_apt: bool) -> list[list[list[str]]]:
    """Return the ways to try, each as the commands to run one after the other."""
    playwright = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if not (is_root and has_apt):
        return [playwright]
    debian = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]]
    return [debian, playwright]


def main() -> None:
    """Make sure that there is a Chromium, if that can be done."""
    if find_chromium():
        return
    print("Installing a Chromium for the page tests.", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for commands in ways_to_install(os.geteuid() == 0, shutil.which("apt-get") is not None):
        for command in commands:
            subprocess.run(command, env=environment, check=False)
        if find_chromium():
            return


if __name__ == "__main__":
    main()
