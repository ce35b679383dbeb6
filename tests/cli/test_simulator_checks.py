"""A run over a simulator that ignores the words says so: at once, in its table and on its pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from featureinterp.experiment.method.simulator_check import SEPARATION
from featureinterp.experiment.store import RunStore
from featureinterp.simulator.calibration import CASES
from tests.cli.tiny import run_command
from tests.llm_server import LLMServer

WARNING = "this simulator cannot tell right from wrong words (separation 0.000 [0.000, 0.000])"
SMALL = ("--explainer", "one-shot", "--layers", 0, "--positives", 2, "--negatives", 1)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def text_of(body) -> list[str]:
    return body["messages"][-1]["content"].partition("\n\nThe text:\n")[2].split("\n")


def by_tokens(body) -> str:
    """Levels by the tokens alone."""
    return "\n".join(f"{token}\t{len(token) % 6}" for token in text_of(body))


def explain(data: Path, server: LLMServer, features: int):
    name = f"chat:local:m@{server.url}"
    return run_command("explain", data, "--out", "run", "--simulator", name, *SMALL, "--features", features)


def n_checked(server: LLMServer) -> int:
    cases = [list(case.tokens) for case in CASES]
    return sum(text_of(body) in cases for body in server.seen.requests)


def test_a_run_over_a_simulator_that_ignores_the_words_says_so(data, caplog):
    with LLMServer(by_tokens) as server:
        begun = explain(data, server, 1)
        assert begun.code == 0, begun.err
        assert n_checked(server) == 2 * len(CASES) < len(server.seen.requests)
        assert f"chat:local:m: {WARNING}" in caplog.messages
        caplog.clear()
        assert explain(data, server, 2).code == 0
        assert n_checked(server) == 2 * len(CASES)
        assert f"chat:local:m: {WARNING}" in caplog.messages
    with RunStore.open(Path("run")) as store:
        assert store.about()[SEPARATION] == "0.000 [0.000, 0.000]"
        [first, *_] = store.results()
    assert f"Warning: {WARNING}" in " ".join(run_command("results", "run").out.split())
    assert run_command("report", "run").code == 0
    for page in ("index.html", f"features/{first.key.layer}-{first.key.latent}.html"):
        assert f"<strong>Warning:</strong> {WARNING}." in Path("run/report", page).read_text()


def test_a_run_without_a_language_model_has_no_such_warning(run):
    assert "Warning" not in run_command("results", run).out
    with RunStore.open(run) as store:
        assert SEPARATION not in store.about()
