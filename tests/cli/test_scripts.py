"""The original's programs on the tiny world."""

from __future__ import annotations

import re

from tests.programs import run_program


def test_the_single_index_demo_shows_examples_explanation_simulation_and_score(tiny, tmp_path):
    options = tiny.options()
    words = ("scripts/single_index_demo.py", "--layer", 1, "--data", tmp_path, *options)
    shown = run_program(*words)
    assert shown.returncode == 0, shown.stderr
    examples, rest = shown.stdout.split("Layer 1, latent", 1)
    assert re.search(r"\S\[[0-5]\]", examples.split("Training examples", 1)[1])
    assert "similar" in rest
    unknown = run_program(*words, "--latent", 96)
    assert unknown.returncode == 2
    assert "latent 96" in unknown.stderr
    assert "Traceback" not in unknown.stderr
