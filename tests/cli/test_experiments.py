"""Experiments on the tiny world: the four of them, every engine, the original's programs, and what can go wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from featureinterp.analysis.frames import read_attempts, read_scores
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.paper.experiments import EXPERIMENTS, load_experiment
from featureinterp.experiment.paper.run_experiment import experiment_data
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.store import RunStore
from tests.programs import PATIENCE, Program, run_program

SMALL = ("--layers", "0,1", "--latents-per-layer", 3, "--depth", 1, "--width", 1)


def rows(folder: Path) -> dict[str, list[FeatureResult]]:
    """All results of an experiment by run, wall times aside."""
    found = {}
    for path in sorted(folder.rglob("run.sqlite")):
        with RunStore.open(path.parent) as store:
            results = [replace(result, seconds=0.0) for result in store.results()]
        found[str(path.parent.relative_to(folder))] = results
    return found


@dataclass(frozen=True)
class Finished:
    """An experiment that the command made in this process, to be read only, and what it printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def finished(cli, rich, tmp_path_factory) -> Callable[[str], Finished]:
    """Make an experiment by its name, once."""

    @cache
    def make(name: str) -> Finished:
        folder = tmp_path_factory.mktemp(name)
        done = cli("experiment", name, "--data", rich, "--out", folder, "--workers", 1, *SMALL)
        assert done.code == 0, done.err
        return Finished(folder, done.out)

    return make


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_ends_with_a_summary_and_figures(finished, name):
    folder, printed = finished(name).folder, finished(name).printed
    declared = load_experiment(name)
    variants = {path.parent.name for path in folder.glob("corpus_model/*/run.sqlite")}
    assert variants == {variant.name for variant in declared.variants}
    assert declared.question in printed
    assert (folder / "summary.md").read_text().startswith(f"# {name}")
    assert list((folder / "figures").glob("*.pdf"))
    scores = read_scores(folder)
    features = {variant: set(zip(of.hook_name, of.latent, strict=True)) for variant, of in scores.groupby("variant")}
    assert len(set(map(frozenset, features.values()))) == 1, "every variant explains the same features"
    assert len(next(iter(features.values()))) == 6
    assert set(scores.n_layers) == {2}


def test_attempts_of_the_layer_sweep_are_judged_on_test(finished):
    attempts = read_attempts(finished("layers").folder)
    scored = attempts[attempts.valid_score.notna()]
    assert len(scored)
    assert scored.complexity.notna().all()
    chosen = scored[scored.chosen & scored.test_score.notna()]
    assert len(chosen)


def test_the_bars_of_figure_4_are_what_their_names_say(finished):
    folder = finished("explainers").folder
    runs = rows(folder)
    sentences = [result.explanation for result in runs["corpus_model/tree-unstructured"] if result.explanation]
    assert sentences
    assert all(len(explanation.rules) == 1 for explanation in sentences)
    settings = ["explainer", "structured", "train_negatives", "holistic"]
    for variant, scores in read_scores(folder).groupby("variant"):
        (bar,) = scores[settings].drop_duplicates().itertuples(index=False)
        words = [bar.explainer, "structured" if bar.structured else "unstructured"]
        words += [word for word, on in (("negatives", bar.train_negatives), ("holistic", bar.holistic)) if on]
        assert variant == "-".join(words)


@pytest.mark.slow
def test_engines_and_killed_programs_give_the_same_results(finished, rich, tmp_path):
    words = ("experiment", "complementary", "--data", rich, *SMALL)
    whole = finished("complementary").folder
    for engine in (("--workers", 2), ("--engine", "ray", "--workers", 2)):
        out = tmp_path / engine[-2].strip("-") / engine[1] if len(engine) > 2 else tmp_path / "processes"
        done = run_program("-m", "featureinterp.cli", *words, "--out", out, *engine)
        assert done.returncode == 0, done.stderr
        assert rows(out) == rows(whole)
        assert (out / "summary.md").read_bytes() == (whole / "summary.md").read_bytes()
    killed, rng = tmp_path / "killed", random.Random(0)
    for _ in range(3):
        process = Program("-m", "featureinterp.cli", *words, "--out", killed, "--workers", 2, new_session=True)
        wait_for_rows(process, killed, rng.randint(1, 4))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = run_program("-m", "featureinterp.cli", *words, "--out", killed, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert rows(killed) == rows(whole)
    pictures = {path.name: path.read_bytes() for path in (whole / "figures").iterdir()}
    assert pictures == {path.name: path.read_bytes() for path in (killed / "figures").iterdir()}


def wait_for_rows(process: Program, folder: Path, more: int) -> None:
    """Wait until so many more features are finished, or the program is."""
    before = n_rows(folder)
    deadline = time.monotonic() + PATIENCE
    while n_rows(folder) < before + more and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def n_rows(folder: Path) -> int:
    import sqlite3

    count = 0
    for path in folder.rglob("run.sqlite"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            count += connection.execute("SELECT count(*) FROM feature").fetchone()[0]
        except sqlite3.OperationalError:
            pass
        finally:
            connection.close()
    return count


@pytest.mark.slow
def test_the_originals_programs_conduct_the_experiments(rich, tmp_path):
    where = ("--data", rich, "--workers", 1, *SMALL)
    programs = {
        "complementary_sentences.py": ("--model", "embedded"),
        "layer_sweep.py": (),
        "polysemanticity_sweep.py": ("--variants", "cap-1,cap-2"),
        "explainer_comparison.py": (
            *("--explainer_type", "tree", "--structured_explanations"),
            *("--include_holistic_expressions", "--include_train_negatives"),
        ),
    }
    for program, words in programs.items():
        done = run_program(f"scripts/{program}", *words, *where, "--out", tmp_path / program)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / program / "summary.md").exists()
    (bar,) = (tmp_path / "explainer_comparison.py" / "corpus_model").iterdir()
    assert bar.name == "tree-structured-negatives-holistic"
    with RunStore.open(bar) as store:
        about = store.about()
        method, records = (json.loads(about["configuration"])[name] for name in ("method", "records"))
    assert about["command"].startswith("python scripts/explainer_comparison.py --explainer_type tree")
    assert (method["explainer"], method["structured"], method["holistic"]) == ("tree", True, True)
    assert records["train_sources"] == ["similar_negative"]


def test_one_layer_of_the_polysemanticity_sweep(rich, tmp_path):
    words = ("--layer_index", 1, "--variants", "cap-1", "--latents-per-layer", 2, "--workers", 1)
    done = run_program("scripts/polysemanticity_sweep.py", *words, "--data", rich, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(read_scores(tmp_path).layer) == {1}
    assert "Missing:" in done.stderr
    assert "cap-2" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--layers", "7"), "the model has layers 0 to 1"),
        (("--latents-per-layer", 9), "has records of 8 latents of blocks.0.hook_resid_post, the experiment needs 9"),
        (("--variants", "three-shot"), "complementary has no variant 'three-shot' (its variants: one-shot, tree)"),
        (("--address", "auto"), "--engine ray"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_remedy(cli, rich, tmp_path, words, told):
    refused = cli("experiment", "complementary", "--data", rich, "--out", tmp_path, *SMALL, *words)
    assert refused.code == 2
    assert told in refused.err
    assert not list(tmp_path.rglob("run.sqlite"))


def test_records_that_are_missing_or_too_few_name_the_command_that_makes_them(cli, data, tiny, tmp_path):
    few = cli("experiment", "complementary", "--data", data, "--out", tmp_path / "few", *SMALL)
    assert few.code == 2
    assert "has at most 12 sentences of each kind a latent (top_sample_n), three splits of 10 need more" in few.err
    assert "`featureinterp records --top-sample-n 30`" in few.err
    sizes = ("--top-sample-n", 30, "--complementary-sample-n", 30, "--max-features", 3, "--layers", "1")
    assert cli("records", "--out", tmp_path, *tiny.options(), *sizes).code == 0
    folder = tmp_path / "corpus_model"
    absent = cli("experiment", "complementary", "--data", folder, "--out", tmp_path / "absent", *SMALL)
    assert absent.code == 2
    assert "has no records of layer 0 (make them: `featureinterp records --layers 0,1 --max-features 3`" in absent.err
    words = ("--layers", "1", "--latents-per-layer", 3, "--workers", 1)
    holistic = cli("experiment", "explainers", "--data", folder, "--out", tmp_path / "holistic", *words)
    assert holistic.code == 2
    assert "activation-causing tokens are needed" in holistic.err
    assert not list((tmp_path / "holistic").rglob("run.sqlite"))


def test_data_made_for_one_experiment_serves_the_next(tiny, tmp_path):
    spec = DataSpec(
        str(tiny.model), str(tiny.saes), "layer_{layer}", str(tiny.corpus), 60, 12, layers="1", max_features=2,
        top_sample_n=30, complementary_sample_n=30,
    )  # fmt: skip
    first = experiment_data(spec, tmp_path, load_experiment("complementary"), MethodSpec(), lambda *_: None, "cpu")
    assert first.has_holistic
    again = experiment_data(spec, tmp_path, load_experiment("explainers"), MethodSpec(), lambda *_: None, "cpu")
    assert again.manifest == first.manifest


def test_a_run_made_with_other_settings_is_refused(finished, cli, rich, tmp_path):
    out = shutil.copytree(finished("complementary").folder, tmp_path / "copy")
    words = ("experiment", "complementary", "--data", rich, "--out", out, "--workers", 1, *SMALL)
    refused = cli(*words, "--rule-cap", 2)
    assert refused.code == 2
    assert "method.rule_cap=5 instead of 2" in refused.err
