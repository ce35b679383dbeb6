"""The page on adding one's own: every part on it is small, runs as it stands, and keeps the promises of its kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featureinterp.analysis.frames import read_scores
from featureinterp.cli.pages import write_pages
from featureinterp.core import ScoredSequence, Scores, SequenceSimulation, StructuredExplanation
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.scoring import score_with
from tests.cli.test_docs import python_blocks, run_block
from tests.invented import invented_record
from tests.programs import run_program

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/extending.md").read_text()
FILES = dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
SNIPPETS = [block for block in python_blocks(PAGE) if block not in FILES.values()]

PLUGIN = """
from featureinterp.explainer import PROPOSERS
from featureinterp.simulator import SIMULATORS
import own_parts, quoted_tokens, top_tokens
from tests.contract import parts

PROPOSERS["top-tokens"] = "top_tokens:TopTokens"
SIMULATORS["quoted-tokens"] = "quoted_tokens:make_quoted_tokens"
parts.PROPOSERS["top-tokens"] = top_tokens.TopTokens
parts.SIMULATORS["quoted-tokens"] = lambda: quoted_tokens.make_quoted_tokens("", "cpu", None)
"""


def test_every_part_is_complete_in_under_thirty_lines() -> None:
    parts = ["my_method.py", "top_tokens.py", "quoted_tokens.py", "other_case.py", "peaks.py"]
    parts += ["widths.py", "width_results.py", "own_parts.py"]
    assert list(FILES) == parts
    assert all(code.count("\n") < 30 for code in FILES.values())
    assert len(SNIPPETS) == 2


def test_explainer_proposer_and_simulator_keep_what_the_contracts_promise(tmp_path: Path) -> None:
    for name, code in {**FILES, "all_parts.py": PLUGIN}.items():
        (tmp_path / name).write_text(code)
    suites = [f"tests/contract/test_{kind}.py" for kind in ("explainers", "proposers", "simulators")]
    chosen = "my-method or top-tokens or quoted-tokens"
    words = ("-m", "pytest", "-p", "all_parts", "-p", "no:cacheprovider", *suites, "-k", chosen)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run = run_program(*words, environment=environment)
    assert run.returncode == 0, run.stdout[-4000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None, run.stdout[-4000:]
    assert int(passed[1]) > 50, "the suites ran over all three"


def part(name: str) -> Any:
    """Return what a file of the page defines last."""
    names: dict[str, Any] = {}
    exec(compile(FILES[f"{name}.py"], name, "exec"), names)  # noqa: S102 - our own documentation
    return names[list(names)[-1]]


def test_the_score_is_what_it_says_and_is_made_of_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks_found = part("peaks")
    records = [record for record in map(invented_record, range(8)) if record.is_active]
    right = [SequenceSimulation(r.tokens, tuple(r.scaled_activations().tolist())) for r in records]
    flat, unmoved = (SequenceSimulation(r.tokens, (0.0,) * len(r.tokens)) for r in (records[0], invented_record(1)))
    first_is_active = float(np.argmax(records[0].expressions) == 0)
    pairs = [ScoredSequence(r, s) for r, s in zip(records, [flat, *right[1:]], strict=True)]
    assert peaks_found(pairs) == pytest.approx((len(pairs) - 1 + first_is_active) / len(pairs))
    silent = ScoredSequence(invented_record(1), unmoved)
    assert score_with(peaks_found, [silent], interval=False).value is None

    monkeypatch.chdir(tmp_path)
    scores: dict[str, Scores] = {}
    explanation = StructuredExplanation.from_text("the token ' error'")
    with RunStore.create(Path("runs/demo"), {"seed": 0}) as store:
        key = FeatureKey("h", 0, 7)
        store.put(FeatureResult(key, "explained", explanation=explanation, scores=scores, test_sequences=tuple(pairs)))
        store.put(FeatureResult(FeatureKey("h", 0, 8), "dead", reason="never fires"))
    run_block(SNIPPETS[1], RunStore=RunStore, Path=Path, score_with=score_with, peaks_found=peaks_found)
    assert capsys.readouterr().out.strip() == f"{key} {score_with(peaks_found, pairs)}"


def test_the_experiment_runs_and_has_its_comparison_section_and_figure(rich: Path, tmp_path: Path) -> None:
    for name in ("widths.py", "width_results.py"):
        (tmp_path / name).write_text(FILES[name])
    [command] = re.findall(r"^    PYTHONPATH=\. featureinterp (experiment .*) --data \S+$", PAGE, flags=re.MULTILINE)
    small = ("--data", str(rich), "--layers", "0,1", "--latents-per-layer", "4", "--depth", "1", "--workers", "1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    program = [sys.executable, "-m", "featureinterp.cli", *command.split(), *small]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    results = tmp_path / "results" / "widths"
    means = read_scores(results).query("source == 'similar_negative'").groupby("variant")["correlation"].mean()
    summary = (results / "summary.md").read_text()
    assert summary.count("width-2 and width-1") + summary.count("than width-1") == 1
    assert "random negatives is" not in summary, "its questions are its own"
    section = summary.partition("## Score by width")[2]
    assert dict(re.findall(r"\| (width-\d) \| (\S+) \|", section)) == {
        variant: str(round(mean, 3)) for variant, mean in means.items()
    }
    assert {path.name for path in (results / "figures").iterdir()} == {
        f"widths{width}.{suffix}" for width in ("", "_column") for suffix in ("png", "pdf")
    }
    page = write_pages(results, tmp_path / "page").read_text()  # here its name is not registered
    assert "<img" not in page
    assert "width-2 on similar negatives" in page
