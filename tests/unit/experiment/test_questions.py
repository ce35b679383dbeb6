"""Comparisons paired by feature, against plain loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from featureinterp.analysis.comparisons import Comparison, compare
from featureinterp.analysis.sentences import sentence, trend_sentence
from featureinterp.analysis.trends import depth_trends, experiment_family
from featureinterp.experiment.paper.complementary import COMPLEMENTARY
from featureinterp.experiment.paper.experiments import experiment_of_runs
from featureinterp.experiment.paper.layers import LAYERS, search_questions
from featureinterp.experiment.paper.polysemanticity import POLYSEMANTICITY
from featureinterp.experiment.paper.questions import method_question, score_trends
from featureinterp.stats import holm

SOURCES = ("random", "random_negative", "similar", "similar_negative", "same_token_negative")


def scores(values: dict[str, list], experiment: str = "", subject: str = "wiki_model") -> pd.DataFrame:
    """The same score on every source; None is undefined, "failed" and "dead" are features without explanation."""
    rows = []
    for variant, of_latents in values.items():
        for latent, value in enumerate(of_latents):
            status = value if isinstance(value, str) else "explained"
            number = math.nan if value is None or isinstance(value, str) else value
            rows += [
                {
                    "experiment": experiment, "subject": subject, "variant": variant, "hook_name": "blocks.0",
                    "layer": 0, "latent": latent, "status": status, "source": source, "correlation": number,
                    "false_positives_per_sentence": number, "complexity": number, "n_rules": number,
                    "floor_token_lookup": 0.0, "floor_shuffled": 0.0,
                }
                for source in SOURCES
            ]  # fmt: skip
    return pd.DataFrame(rows)


def answer(frame: pd.DataFrame) -> Comparison:
    (found,) = compare(frame, [method_question("score", "correlation", "a", "b")])
    return found


def test_features_are_paired_and_what_is_left_out_is_counted_by_its_cause():
    a = [0.5, 0.25, None, "failed", 0.75, "dead", "failed"]
    b = [0.25, 0.5, 0.5, 0.5, 0.25, "dead", "failed", 0.9]
    found = answer(scores({"a": a, "b": b}))
    pairs = [(0.5, 0.25), (0.25, 0.5), (0.75, 0.25)]
    differences = [x - y for x, y in pairs]
    assert found.difference.n_pairs == 3
    assert found.difference.n_undefined == 1
    assert found.n_failed == 2  # dead on both sides is no attempt
    assert found.n_unpaired == 1
    assert (found.mean_a, found.mean_b) == pytest.approx((0.5, 1 / 3))
    assert found.difference.mean == pytest.approx(np.mean(differences))
    assert found.difference.effect_size == pytest.approx(np.mean(differences) / np.std(differences, ddof=1))
    # Three pairs are left out: of the undefined one b has 0.5, of those without explanation b has 0.5 once.
    assert found.n_left_out == 3
    assert found.mean_with_zeros == pytest.approx((sum(differences) - 0.5 - 0.5 + 0) / 6)
    assert found.mean_with_ties == pytest.approx(sum(differences) / 6)
    told = "difference −0.083 with 0 for a missing side, 0.083 with the other side's value"
    assert told in sentence(found)
    whole = answer(scores({"a": a[:2], "b": b[:2]}))
    assert whole.mean_with_zeros == whole.mean_with_ties == whole.difference.mean
    assert "missing side" not in sentence(whole)


def over_layers(values: dict[str, list], n_layers: int = 3) -> pd.DataFrame:
    frame = scores(values)
    layers = frame["latent"] % n_layers
    return frame.assign(layer=layers, hook_name="blocks." + layers.astype(str))


def test_a_trend_is_over_the_features_that_have_a_score():
    rng = np.random.default_rng(4)
    rising = [float(i % 3 + 0.1 * rng.normal()) for i in range(24)]
    values = [*rising[:21], None, "failed", "dead"]
    (found,) = depth_trends(over_layers({"a": values}), score_trends(["a"]))
    wanted = scipy_stats.spearmanr([i % 3 for i in range(21)], rising[:21]).statistic
    assert found.rank_correlation == pytest.approx(wanted)
    assert (found.n, found.n_undefined, found.n_failed) == (21, 1, 1)
    assert found.p == 1 / 10_000
    assert found.ci_low < wanted < found.ci_high
    assert "n = 21, p < 0.001, corrected p = –; left out: 1 undefined, 1 without explanation" in trend_sentence(found)
    assert depth_trends(over_layers({"a": values}, n_layers=1), score_trends(["a"])) == []
    (flat,) = depth_trends(over_layers({"a": [0.5] * 6}), score_trends(["a"]))
    assert "has no trend" in trend_sentence(flat)


def test_trends_and_comparisons_are_corrected_together():
    rng = np.random.default_rng(5)
    a = [float(0.1 * (i % 3) + rng.random()) for i in range(18)]
    frame = over_layers({"one-shot": a, "tree": [value + 0.1 * float(rng.random()) for value in a]})
    family = experiment_family(COMPLEMENTARY, frame, pd.DataFrame())
    every = [*family.comparisons, *family.trends]
    assert [each.trend.side.name for each in family.trends] == ["one-shot", "tree"]
    assert len(family.comparisons) == len(COMPLEMENTARY.questions(["one-shot", "tree"]))
    assert [each.corrected_p for each in every] == pytest.approx(holm([each.p for each in every]), nan_ok=True)


def hall(x, y) -> float:
    """The mean over the deviation, corrected for three times the sample's skewness (Hall, 1992), at most √n."""
    w, n = np.mean(x - y) / np.std(x - y), len(x)
    skewness = np.clip(3.0 * scipy_stats.skew(x - y), -np.sqrt(n), np.sqrt(n))
    return w + skewness * w**2 / 3 + skewness**2 * w**3 / 27 + skewness / (6 * n)


def test_the_p_value_is_that_of_scipy_and_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.random(9), rng.random(9)
    frame = scores({"a": list(a), "b": list(b)})
    wanted = scipy_stats.permutation_test((a, b), hall, permutation_type="samples", n_resamples=np.inf).pvalue
    found = answer(frame)
    assert found.p == pytest.approx(wanted)
    assert answer(frame.sample(frac=1, random_state=1)) == found
    assert answer(frame.assign(latent=50 - frame.latent)) == found


def test_swapped_sides_give_the_opposite():
    rng = np.random.default_rng(1)
    values = {"a": list(rng.random(30)), "b": list(rng.random(30) + 0.5)}
    found, swapped = answer(scores(values)), answer(scores({"a": values["b"], "b": values["a"]}))
    assert (found.verdict, swapped.verdict) == ("lower", "higher")
    assert swapped.difference.mean == pytest.approx(-found.difference.mean)
    assert swapped.difference.effect_size == pytest.approx(-found.difference.effect_size)
    assert swapped.p == pytest.approx(found.p, abs=0.01)


def test_a_family_is_corrected_together_over_all_subjects():
    rng = np.random.default_rng(2)
    base = rng.random(8)
    near, far = list(base + 0.1 * rng.normal(size=8)), list(base + 1)
    frame = pd.concat(
        [scores({"a": near, "b": list(base)}, subject="one"), scores({"a": far, "b": list(base)}, subject="two")]
    )
    found = compare(frame, [method_question("score", "correlation", "a", "b")])
    assert [comparison.subject for comparison in found] == ["one", "two"]
    assert found[1].p == 2 / 2**8
    assert found[1].corrected_p == 2 * found[1].p
    assert found[0].corrected_p == found[0].p
    assert (found[0].verdict, found[1].verdict) == ("", "higher")


def test_equal_sides_are_no_difference_and_nothing_defined_is_no_answer():
    equal = answer(scores({"a": [0.5] * 20, "b": [0.5] * 20}))
    assert (equal.p, equal.verdict) == (1.0, "")
    assert math.isnan(equal.difference.effect_size)
    nothing = answer(scores({"a": [None], "b": [0.5]}))
    assert (nothing.difference.n_pairs, nothing.verdict) == (0, "")
    assert math.isnan(nothing.corrected_p)


def test_a_question_about_a_variant_that_is_not_there_is_not_asked():
    assert compare(scores({"a": [0.5]}), [method_question("score", "correlation", "a", "b")]) == []


def asked(experiment: str, variants: list[str]) -> list[tuple[str, str]]:
    return [(question.a.name, question.b.name) for question in experiment_of_runs(experiment).questions(variants)]


def test_what_each_experiment_asks():
    complementary = COMPLEMENTARY.questions(["one-shot", "tree"])
    assert len(complementary) == 2 * 2 * 3 + 3
    same_token = [q for q in complementary if q.a.name == "tree on same-token negatives"]
    assert [(q.measure, q.b.name, q.claim) for q in same_token] == [
        (measure, "tree on random negatives", "") for measure in ("score", "false positives per sentence")
    ]
    assert [(q.measure, q.a.name, q.b.name, q.claim) for q in complementary][::8][:1] == [
        ("score", "one-shot on similar negatives", "one-shot on random negatives", "lower")
    ]
    assert [(q.measure, q.a.name, q.b.name) for q in complementary[-3:]] == [
        (measure, "tree", "one-shot") for measure in ("score", "complexity", "number of rules")
    ]
    names = [f"{search}-{kind}" for search in ("one-shot", "tree") for kind in ("unstructured", "structured")]
    assert asked("explainers", names) == [
        ("one-shot-unstructured", "one-shot-structured"),
        ("tree-unstructured", "one-shot-structured"),
        ("tree-structured", "one-shot-structured"),
        ("tree-unstructured", "one-shot-unstructured"),
    ]
    bars = [f"{search}-structured" for search in ("one-shot", "best-of-n", "tree")]
    assert asked("explainers", bars) == [
        ("tree-structured", "one-shot-structured"),
        ("tree-structured", "best-of-n-structured"),
    ]
    assert asked("polysemanticity", ["cap-10", "cap-2", "cap-1"]) == [("cap-2", "cap-1"), ("cap-10", "cap-2")]
    trends = POLYSEMANTICITY.trends(["cap-10", "cap-2"])
    assert [(trend.measure, trend.side.name) for trend in trends] == [
        ("least rule cap", "features"),
        ("complexity", "cap-10"),
        ("score", "cap-10"),
        ("score", "cap-2"),
    ]
    assert asked("complementary", ["tree"])[-1][0] == "tree on similar sentences"
    assert ("mine", "token table") in asked("", ["mine"])


def test_the_layers_experiment_asks_of_its_search_too():
    rng = np.random.default_rng(3)
    values = list(rng.random(12))
    frame = scores({"tree": values}, "layers")
    attempts = pd.DataFrame(
        [
            {
                "experiment": "layers", "subject": "wiki_model", "variant": "tree", "hook_name": "blocks.0", "layer": 0,
                "latent": latent, "number": number, "depth": number, "train_score": value + 0.2 + 0.1 * number,
                "valid_score": value - 0.1 * number, "test_score": value - 0.05 * number, "chosen": number == 0,
            }
            for latent, value in enumerate(values)
            for number in (0, 1)
        ]
    )  # fmt: skip
    answers = experiment_family(LAYERS, frame, attempts).comparisons
    found = {(c.question.a.name, c.question.b.name): c for c in answers}
    names = [(question.a.name, question.b.name) for question in search_questions(["tree"])]
    gap, choice = (found[name] for name in names)
    assert gap.difference.mean == pytest.approx(-0.2)
    assert choice.difference.mean == pytest.approx(0.05)
    assert (gap.verdict, choice.verdict) == ("lower", "higher")
    assert len(answers) == len(LAYERS.questions(["tree"])) == len(experiment_of_runs("").questions(["tree"])) + 2
    assert [c.corrected_p for c in answers] == pytest.approx(holm([c.p for c in answers]), nan_ok=True)
