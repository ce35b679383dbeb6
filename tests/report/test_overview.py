"""Means over features against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from featureinterp.core import Score
from featureinterp.experiment.result import FeatureKey
from featureinterp.report.pages.overview import FeatureRow, mean_score, means_by_layer, means_by_source
from tests.report.features import all_kinds, explained, hostile, without_explanation


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
    assert list(by_source) == ["similar, feature silent", "random"]
    hardest = by_source["similar, feature silent"]
    assert float(hardest.explanation) == pytest.approx((0.9 + 0.3 + 0.6) / 3)
    assert float(hardest.token_lookup) == pytest.approx(0.25)
    assert float(hardest.shuffled) == pytest.approx(-0.05)
    assert float(hardest.gain) == pytest.approx(0.6 - 0.25)
    assert (hardest.n, hardest.undefined) == (3, 1)
    assert float(by_source["random"].explanation) == pytest.approx((0.45 + 0.15 + 0.3 + 0.5) / 4)
    assert float(by_source["random"].gain) == pytest.approx((0.45 + 0.15 + 0.3) / 3 - 0.3)  # the fourth has no floor


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


def test_the_interval_of_a_mean_is_that_of_the_bootstrap() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.2, size=400)
    score = mean_score(values.tolist(), "explanation")
    half = 1.96 * values.std(ddof=1) / 20
    assert score.ci_low == pytest.approx(values.mean() - half, abs=0.003)
    assert score.ci_high == pytest.approx(values.mean() + half, abs=0.003)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert mean_score([0.5, float("nan")], "x") == Score(0.5)
    assert mean_score([float("nan")], "x").value is None
    assert means_by_source([FeatureRow.of(without_explanation(0, 0, "dead", "silent"))]) == []
    assert means_by_source([FeatureRow.of(hostile())])[0].explanation.value is None
