"""The original's programs on the tiny world."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_single_index_demo_shows_examples_explanation_simulation_and_score(tiny, tmp_path):
    options = tiny.options()
    command = [sys.executable, "scripts/single_index_demo.py", "--layer", "1", "--data", str(tmp_path), *options]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    examples, rest = shown.stdout.split("Layer 1, latent", 1)
    assert re.search(r"\S\[[0-5]\]", examples.split("Training examples", 1)[1])
    assert "similar" in rest
    unknown = subprocess.run([*command, "--latent", "96"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "latent 96" in unknown.stderr
    assert "Traceback" not in unknown.stderr
