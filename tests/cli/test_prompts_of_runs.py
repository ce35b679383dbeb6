"""A run remembers the prompts of its local models, and goes on only while they are the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from featureinterp.dataset.folder import DataFolder
from featureinterp.experiment.method.prompt_hashes import hold_prompts
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore


@pytest.fixture(scope="module")
def simulator(tmp_path_factory) -> Path:
    from tests.models.tiny_llms import language_model, tokenizer

    folder = tmp_path_factory.mktemp("simulator")
    language_model("llama3").save_pretrained(folder)
    tokenizer("gpt4", "llama3").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def latents(data) -> tuple[str, str]:
    """One latent that can be explained, and the same with another."""
    folder = DataFolder.open(data)
    hook = folder.hook_of(0)
    first, second = [latent for latent, report in folder.latent_report(hook).items() if report.status == "ok"][:2]
    return str(first), f"{first},{second}"


def explain(cli, data: Path, run: Path, simulator: Path, latents: str):
    how = ("--explainer", "one-shot", "--complexity", f"hf:{simulator}", "--simulator", f"hf:{simulator}")
    return cli(
        "explain", data, "--out", run, *how, "--layers", 0, "--latents", latents, "--positives", 2, "--negatives", 1
    )


def about(run: Path) -> dict[str, str]:
    with RunStore.open(run) as store:
        return store.about()


def test_a_run_is_refused_once_the_template_of_its_simulator_has_changed(
    cli, data, simulator, latents, tmp_path, caplog
):
    run, template = tmp_path / "run", simulator / "chat_template.jinja"
    begun = explain(cli, data, run, simulator, latents[0])
    assert begun.code == 0, begun.err
    noted = {name: value for name, value in about(run).items() if name.endswith("prompt hash")}
    assert sorted(noted) == ["complexity prompt hash", "simulator prompt hash"]
    before = template.read_text()
    template.write_text(before.replace("Today", "On this day"))
    refused = explain(cli, data, run, simulator, latents[1])
    assert refused.code == 2 and "was made with another prompt of its simulator model" in " ".join(refused.err.split())
    assert explain(cli, data, run, simulator, latents[0]).code == 0  # nothing is left to do, so nothing is simulated
    template.write_text(before)
    assert explain(cli, data, run, simulator, latents[1]).code == 0
    assert {name: about(run)[name] for name in noted} == noted


def test_a_run_of_an_earlier_version_goes_on_and_says_so(cli, data, simulator, latents, tmp_path, caplog):
    run = tmp_path / "run"
    assert explain(cli, data, run, simulator, latents[0]).code == 0
    noted = about(run)["simulator prompt hash"]
    with sqlite3.connect(run / "run.sqlite") as connection:
        connection.execute("DELETE FROM about WHERE name LIKE '%prompt hash'")
    assert explain(cli, data, run, simulator, latents[1]).code == 0
    assert caplog.text.count("holds no hash of its simulator model's prompt") == 1
    assert about(run)["simulator prompt hash"] == noted
    assert cli("results", run).code == 0


def test_a_run_without_models_notes_nothing(run):
    from featureinterp.experiment.method.spec import MethodSpec

    with RunStore.open(run) as store:
        hold_prompts(store, MethodSpec(), [FeatureKey("blocks.0.hook_resid_post", 0, 10_000)])
        assert not [name for name in store.about() if name.endswith("prompt hash")]
