"""Means over features against numbers worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featureinterp.analysis.frames import read_scores
from featureinterp.analysis.means import mean_by, mean_score
from featureinterp.analysis.run_pair import compare_runs
from featureinterp.core import Score
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from featureinterp.record import MAIN_SOURCE, SOURCE_WORDS
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.pages.compared_run import ComparedRun, RowPair, compare_feature, compare_with_run
from featureinterp.report.pages.overview import means_by_layer, means_by_source, verdict_counts
from featureinterp.report.pages.run_pages import write_report
from tests.report.features import SUMMARY, all_kinds, explained, hostile, without_explanation


def rows() -> list[FeatureRow]:
    return [FeatureRow.of(result) for result in all_kinds()]


def test_a_row_of_an_explained_feature() -> None:
    row = FeatureRow.of(explained(2, 17, 0.75))
    assert row.score() == Score(0.75, 0.65, 0.85)
    assert row.score("random") == Score(0.375)
    assert row.floor("token_lookup") == Score(0.25, 0.2, 0.3)
    assert row.floor("shuffled", "random").value is None
    assert (row.false_positives.value, row.n_rules) == (0.5, 2)
    assert row.words == ("the token ' raise'", "words ending in 'ing'")


def test_a_row_of_a_dead_feature_says_why() -> None:
    row = FeatureRow.of(without_explanation(1, 4, "dead", "it never fires"))
    assert (row.words, row.n_rules, row.score().value) == (("it never fires",), 0, None)


def test_means_are_over_explained_features_and_count_undefined_ones() -> None:
    by_source = {group.name: group for group in means_by_source(rows())}
    assert list(by_source) == ["same-token negatives", "similar negatives", "random sentences"]
    assert float(by_source["same-token negatives"].explanation) == pytest.approx((0.7 + 0.1 + 0.4) / 3)
    hardest = by_source["similar negatives"]
    assert float(hardest.explanation) == pytest.approx((0.9 + 0.3 + 0.6) / 3)
    assert float(hardest.token_lookup) == pytest.approx(0.25)
    assert float(hardest.shuffled) == pytest.approx(-0.05)
    assert float(hardest.gain) == pytest.approx(0.6 - 0.25)
    assert (hardest.n, hardest.undefined) == (3, 1)
    assert float(by_source["random sentences"].explanation) == pytest.approx((0.45 + 0.15 + 0.3 + 0.5) / 4)
    assert float(by_source["random sentences"].gain) == pytest.approx(
        (0.45 + 0.15 + 0.3) / 3 - 0.3
    )  # the fourth has no floor


def test_verdicts_are_counted_over_explained_features() -> None:
    assert verdict_counts(rows()) == {"beats its baselines": 3, "untested": 1}
    old = replace(explained(0, 3, 0.9), corpus=None)
    assert verdict_counts([FeatureRow.of(old)]) == {"untested": 1}
    row = FeatureRow.of(explained(2, 17, 0.75))
    assert (row.verdict, row.margin) == ("beats its baselines", Score(0.04, 0.01, 0.07))
    assert row.corpus.value == pytest.approx(0.6)


def test_the_first_page_counts_the_verdicts_and_its_table_holds_them(tmp_path: Path) -> None:
    write_report([explained(0, 1, 0.9), explained(0, 2, 0.5), hostile()], SUMMARY, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<dt>verdicts</dt><dd>beats its baselines: 2 of 3, untested: 1 of 3</dd>" in page
    table = json.loads((tmp_path / "features.js").read_text().partition("=")[2].strip().rstrip(";"))
    assert table["judgement"] == ["beats its baselines", "beats its baselines", "untested"]
    assert table["corpus"] == [[0.75, 0.73, 0.77], [0.35, 0.33, 0.37], None]
    assert table["margin"] == [[0.04, 0.01, 0.07]] * 2 + [None]


def test_means_by_layer() -> None:
    layers = means_by_layer(rows())
    assert [(group.name, group.n, group.undefined) for group in layers] == [
        ("layer 0", 2, 0),
        ("layer 1", 1, 0),
        ("layer 5", 0, 1),
    ]
    assert float(layers[0].explanation) == pytest.approx(0.6)
    assert layers[2].explanation.value is None


def test_two_hooks_of_a_layer_keep_apart() -> None:
    other = replace(explained(0, 1, 0.1), key=FeatureKey("blocks.0.hook_mlp_out", 0, 1))
    groups = means_by_layer([FeatureRow.of(other), FeatureRow.of(explained(0, 1, 0.5))])
    assert [(group.name, float(group.explanation)) for group in groups] == [
        ("blocks.0.hook_mlp_out", pytest.approx(0.1)),
        ("blocks.0.hook_resid_post", pytest.approx(0.5)),
    ]


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_where_features_are_many() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.2, size=400)
    score = mean_score(values.tolist())
    half = 1.96 * values.std(ddof=1) / 20
    assert score.ci_low == pytest.approx(values.mean() - half, abs=0.003)
    assert score.ci_high == pytest.approx(values.mean() + half, abs=0.003)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert mean_score([0.5, float("nan")]) == Score(0.5)
    assert mean_score([float("nan")]).value is None
    assert means_by_source([FeatureRow.of(without_explanation(0, 0, "dead", "silent"))]) == []
    assert means_by_source([FeatureRow.of(hostile())])[0].explanation.value is None


def test_page_frame_and_comparison_show_the_same_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sides = [[explained(layer, 1, float(rng.uniform(0.1, 0.9))) for layer in range(9)] for _ in range(2)]
    for name, results in zip("ab", sides, strict=True):
        with RunStore.create(tmp_path / name, {"seed": 0}) as store:
            for result in results:
                store.put(result)
    main = SOURCE_WORDS[MAIN_SOURCE]
    means = means_by_source([FeatureRow.of(result) for result in sides[0]])
    page = next(group.explanation for group in means if group.name == main)
    scores = read_scores(tmp_path / "a")
    (frame,) = mean_by(scores.loc[scores["source"] == MAIN_SOURCE], [], "correlation").to_dict("records")
    assert (page.value, page.ci_low, page.ci_high) == (frame["mean"], frame["ci_low"], frame["ci_high"])
    theirs = {result.key: result for result in sides[1]}
    pairs = []
    for result in sides[0]:
        found = compare_feature(result, ComparedRun("b", theirs.get))
        assert found is not None
        pairs.append(RowPair.of(result, found))
    beside = next(group.difference for group in compare_with_run(pairs, "b").means if group.name == main)
    (compared,) = compare_runs(tmp_path / "a", tmp_path / "b")
    answers = {(c.question.measure, c.question.a.where.get("source")): c.difference for c in compared.comparisons}
    told = answers["score", MAIN_SOURCE]
    assert (beside.value, beside.ci_low, beside.ci_high) == (told.mean, told.ci_low, told.ci_high)
