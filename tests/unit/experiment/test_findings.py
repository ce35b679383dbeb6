"""The summary of an experiment: what it says, that it says nothing else, and that equal results give equal bytes."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featureinterp.analysis.comparisons import compare
from featureinterp.analysis.findings import findings, write_findings
from featureinterp.analysis.frames import read_scores
from featureinterp.analysis.read_experiment import read_experiments
from featureinterp.analysis.sentences import sentence
from featureinterp.core import Attempt, Proposal, Score, Scores, StructuredExplanation
from featureinterp.experiment.paper.questions import method_question
from featureinterp.experiment.result import CorpusScores, FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore

N_LATENTS = 12
SUBJECT = "wiki_model"
WORDS = StructuredExplanation.from_text("cats")


def judged(correlation: float | None, alarms: float) -> Scores:
    score = Score.undefined("the prediction | is constant") if correlation is None else Score(correlation)
    half = Score(0.5)
    return Scores(score, half, half, half, half, half, half, Score(alarms), 20, 10)


def result(latent: int, score: float | None, similar: float = 0.0, layer: int = 0) -> FeatureResult:
    """`similar`: how much the score falls, and the false alarms rise, on similar sentences."""
    key = FeatureKey(f"blocks.{layer}", layer, latent)
    of_source = {
        source: judged(None if score is None else score - fall, 0.5 + fall)
        for source, fall in (("random_negative", 0.0), ("similar_negative", similar))
    }
    attempts = tuple(
        Attempt(n, None, n, Proposal(WORDS), 0.9, 0.5 + 0.1 * n, test_score=0.4 + 0.05 * n + 0.01 * latent)
        for n in (0, 1, 2)
    )
    return FeatureResult(
        key,
        "explained",
        explanation=WORDS,
        complexity=1.0,
        scores=of_source,
        attempts=attempts,
        chosen=2,
        seconds=latent,
    )


def chosen_with(feature: FeatureResult, valid_score: float) -> FeatureResult:
    """The feature with this valid score of its chosen attempt, the last."""
    *others, last = feature.attempts
    return replace(feature, attempts=(*others, replace(last, valid_score=valid_score)))


def write(root: Path, variant: str, results: list[FeatureResult], experiment: str = "complementary", **more) -> Path:
    about = {
        "experiment": experiment, "subject": SUBJECT, "variant": variant, "n_layers": "2", "model": "/secret/org/model",
        "SAE": "sae", "corpus": "wiki", **more.get("about", {}),
    }  # fmt: skip
    cap = more.get("cap", 5)
    configuration = {
        "data": {"seed": 0}, "method": {"explainer": variant, "rule_cap": cap}, "records": {"train_sources": []},
        "seed": 0,
    }  # fmt: skip
    with RunStore.create(root / about["subject"] / variant.replace("/", "_"), configuration, about) as store:
        store.ask([*(each.key for each in results), *more.get("waiting", ())])
        for each in results:
            store.put(each)
    return root


@pytest.fixture
def complementary(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    base = rng.random(N_LATENTS)
    write(tmp_path / "a", "one-shot", [result(i, float(v), similar=0.2) for i, v in enumerate(base)])
    return write(tmp_path / "a", "tree", [result(i, float(v), similar=0.3) for i, v in enumerate(base)])


def test_each_comparison_is_a_sentence_with_its_numbers(complementary):
    text = findings(read_experiments(complementary))
    frame = read_scores(complementary)
    judged = frame[(frame.variant == "tree") & (frame.source == "similar_negative")].correlation
    p = 2 / 2**N_LATENTS  # the smallest possible
    line = next(line for line in text.splitlines() if line.startswith("- Score: tree on similar negatives is"))
    assert "is **lower** than tree on random negative" in line
    assert f"{judged.mean():.3f} against {judged.mean() + 0.3:.3f}, difference −0.300 [−0.300, −0.300]" in line
    assert f"(n = {N_LATENTS}, d = –, p < 0.001, corrected p = " in line
    assert line.endswith("; detectable 0.000). As in the paper.")
    assert float(re.search(r"corrected p = ([\d.]+)", line)[1]) == pytest.approx(4 * p, abs=0.002)
    assert f"| {SUBJECT} | tree | similar negatives | {judged.mean():.3f} [" in text
    assert "- Complexity: no significant difference between tree and one-shot, 1.000 against 1.000" in text
    assert "The paper's claim, higher, is contradicted." in text


def test_equal_results_give_equal_bytes_wherever_and_whenever(complementary, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(complementary, other)
    for variant in ("tree", "one-shot"):
        with RunStore.open(other / SUBJECT / variant) as store:
            for each in reversed(list(store.results())):
                store.put(replace(each, seconds=99.0))
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("UPDATE about SET value = 'another time' WHERE name = 'created'")
    first, second = (write_findings(path, read_experiments(path)).read_bytes() for path in (complementary, other))
    assert first == second
    assert str(tmp_path) not in first.decode()
    assert "/secret" not in first.decode()
    assert "model model" in first.decode()


def test_what_is_missing_failed_or_undefined_is_said(tmp_path):
    waiting = [FeatureKey("blocks.0", 0, latent) for latent in (50, 51)]
    failed = FeatureResult(FeatureKey("blocks.0", 0, 40), "failed", "none of 3 attempts could be scored")
    some = [result(0, 0.5), result(1, 0.25), result(2, None)]
    write(tmp_path, "one-shot", [*some, result(40, 0.75)])
    text = findings(read_experiments(write(tmp_path, "tree", [*some, failed], waiting=waiting)))
    assert f"**Incomplete**: 2 features not finished: 2 of 6 of {SUBJECT} tree." in text
    assert f"| {SUBJECT} | tree | 6 | 3 | 1 | 0 | 0 | 2 | 1 | 9 | 0 | 0 | 3 |" in text
    assert r"Scores are undefined because: not tested (21); the prediction \| is constant (4)." in text
    assert "Features failed because: none of 3 attempts could be scored (1)." in text
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("- Score: no significant difference between tree and one-shot")
    )
    numbers = (
        "n = 2, d = –, p = 1.000, corrected p = 1.000; detectable 0.000; left out: 1 undefined, 1 without explanation"
    )
    bounds = "difference −0.188 with 0 for a missing side, 0.000 with the other side's value"
    assert f"({numbers}; {bounds})" in line


def test_convergence_is_no_failure_and_what_valid_could_not_choose_is_told(tmp_path):
    ended = Attempt(3, 2, 3, Proposal(None, converged="no change of one rule lowers the error"))
    broken = Attempt(4, 2, 3, Proposal(None, failure="not JSON"))
    kept = replace(result(0, 0.5), reason="not chosen by valid, where its score is undefined: it is silent")
    every = [replace(each, attempts=(*each.attempts, ended, ended, broken)) for each in (kept, result(1, 0.25))]
    text = findings(read_experiments(write(tmp_path, "tree", every)))
    head, _, row = text[text.index("| subject | variant | asked") :].splitlines()[:3]
    assert head.endswith("| attempts | failed attempts | converged | explanations simulated |")
    assert row.endswith("| 12 | 2 | 4 | 2 |")
    assert "valid could not choose: not chosen by valid, where its score is undefined: it is silent (1)." in text


def test_nothing_explained_is_said_too(tmp_path):
    text = findings(read_experiments(write(tmp_path, "tree", [], waiting=[FeatureKey("blocks.0", 0, 1)])))
    assert "1 feature not finished" in text
    assert "No feature is explained yet" in text


def test_no_name_writes_anything_but_itself(tmp_path):
    hostile = "a|b <script>alert(1)</script>\n# [x](http://y) `c` *d* \x1b[31m"
    about = {"variant": hostile, "subject": SUBJECT, "model": hostile}
    text = findings(
        read_experiments(write(tmp_path, "x", [result(0, 0.5), result(1, 0.25)], experiment=hostile, about=about))
    )
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\n# [" not in text
    assert not re.search(r"(?<!\\)[`]", text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    for head, rule in zip(table, table[1:], strict=False):
        if set(rule) <= set("| -:"):
            assert head.count("|") - head.count(r"\|") == rule.count("|")
    widths = {line.count("|") - line.count(r"\|") for line in table if "script" in line}
    assert widths <= {line.count("|") for line in table if set(line) <= set("| -:")}


def test_the_rules_that_a_feature_needs_are_told_by_layer(tmp_path):
    for cap, of_layers in ((1, (0.5, 0.2)), (2, (0.52, 0.8))):
        results = [
            chosen_with(result(i, score + 0.01 * i, layer=layer), score)
            for layer, score in enumerate(of_layers)
            for i in range(3)
        ]
        write(tmp_path, f"cap-{cap}", results, "polysemanticity", cap=cap)
    text = findings(read_experiments(tmp_path))
    assert f"| {SUBJECT} | 0 | 0.00 | 1.000 [1.000, 1.000] | 3 | 0 | 0.510 [0.499, 0.521] | 0.530 [" in text
    assert f"| {SUBJECT} | 1 | 1.00 | 2.000 [2.000, 2.000] | 3 | 0 | 0.810 [0.799, 0.821] | 0.810 [" in text
    shares = np.mean([(0.2 + 0.01 * i) / (0.8 + 0.01 * i) for i in range(3)])
    assert f"| 1 | {shares:.3f} | 1.000 |" in text
    assert "no significant difference between cap-2 and cap-1, 0.670 against 0.360" in text
    assert "p = 0.031, corrected p = 0.125" in text  # 2 / 2⁶, of a comparison and three trends
    assert (
        "Least rule cap by layer: no significant trend of features, rank correlation 1.000 [1.000, 1.000] (n = 6"
        in text
    )


def test_the_rounds_of_a_search_are_told(tmp_path):
    text = findings(read_experiments(write(tmp_path, "tree", [result(i, 0.5) for i in range(N_LATENTS)], "layers")))
    test = 0.4 + 0.01 * np.mean(range(N_LATENTS))  # the first of attempts that are equal on train
    row = next(line for line in text.splitlines() if line.startswith(f"| {SUBJECT} | tree | 2 | 0.900"))
    assert f"| {test:.3f} [" in row
    assert "attempts correlate: 1.000 [1.000, 1.000], mean over 12 features" in text
    assert "not only overfitting" in text
    assert "Test score: tree, chosen by valid is **higher** than tree, chosen by train" in text


def test_experiments_in_one_folder_are_families_of_their_own(complementary, tmp_path):
    alone = findings(read_experiments(complementary))
    both = tmp_path / "both"
    shutil.copytree(complementary, both / "complementary")
    write(both / "layers", "tree", [result(i, 0.5) for i in range(3)], "layers")
    assert findings(read_experiments(both)).startswith(alone.rstrip("\n"))


def test_a_sentence_for_what_cannot_be_compared(tmp_path):
    write(tmp_path, "a", [result(0, None)])
    frame = read_scores(write(tmp_path, "b", [result(0, 0.5)]))
    (found,) = compare(frame, [method_question("score", "correlation", "a", "b", "higher")])
    assert sentence(found, with_subject=True) == (
        f"{SUBJECT}, score: a and b cannot be compared: no feature has both; left out: 1 undefined."
    )


def test_verdicts_are_counted_and_the_scores_on_the_corpus_have_means(tmp_path):
    def on_corpus(latent: int, low: float) -> FeatureResult:
        margin = Score(low + 0.05, low, low + 0.1)
        corpus = CorpusScores(judged(0.25 * latent, 0.1), is_exact=True, tables={}, margin=margin)
        return replace(result(latent, 0.5), corpus=corpus)

    tested = [on_corpus(1, 0.1), on_corpus(2, 0.1), on_corpus(3, -0.05), on_corpus(0, -0.25)]
    text = findings(read_experiments(write(tmp_path / "a", "tree", [*tested, result(7, 0.5)])))
    head, _, row = text[text.index("| subject | variant | correlation | margin") :].splitlines()[:3]
    assert head.endswith("| beats its baselines | no better than a token table | worse | untested |")
    assert row.endswith("| 1 | 2 | 1 | 1 | 1 |")
    mean = sum(0.25 * latent for latent in (0, 1, 2, 3)) / 4
    assert f"| tree | {mean:.3f} [" in row
    assert f"| {(0.15 + 0.15 + 0.0 - 0.2) / 4:.3f} [" in row


def test_a_run_from_before_the_corpus_was_scored_is_untested(complementary):
    text = findings(read_experiments(complementary))
    assert f"| tree | – | – | {N_LATENTS} | 0 | 0 | 0 | {N_LATENTS} |" in text
