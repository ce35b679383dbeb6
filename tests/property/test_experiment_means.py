"""Means and curves of experiments against plain loops, on invented scores."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featureinterp.analysis import means, rounds

SOURCES = ("random_negative", "similar_negative")


def invented_scores(seed: int, caps=(1, 2, 3), n_latents: int = 5, n_layers: int = 2) -> pd.DataFrame:
    """Scores of every feature under every cap; some undefined, some negative, some features failed."""
    rng = np.random.default_rng(seed)
    rows = []
    for cap in caps:
        for layer in range(n_layers):
            for latent in range(n_latents):
                status = str(rng.choice(["explained", "explained", "explained", "failed"]))
                for source in SOURCES:
                    defined = status == "explained" and rng.random() > 0.2
                    rows.append(
                        {
                            "experiment": "polysemanticity", "subject": "wiki_model", "variant": f"cap-{cap}",
                            "rule_cap": cap, "hook_name": f"blocks.{layer}", "layer": layer, "latent": latent,
                            "relative_depth": layer / max(1, n_layers - 1), "status": status, "source": source,
                            "correlation": float(rng.normal(0.2, 0.4)) if defined else math.nan,
                            "valid_score": float(rng.integers(4)) / 4 if defined and rng.random() > 0.1 else math.nan,
                            "complexity": float(rng.random()) if status == "explained" else math.nan,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows).astype({"rule_cap": "Int64"})


def invented_attempts(seed: int, n_latents: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for variant in ("tree", "one-shot"):
        for latent in range(n_latents):
            n = 1 if variant == "one-shot" else int(rng.integers(1, 9))
            depths = sorted(int(d) for d in rng.integers(0, 3, size=n))
            scores = [None if rng.random() < 0.3 else float(rng.integers(0, 4)) / 4 for _ in range(n)]
            for number, (depth, score) in enumerate(zip(depths, scores, strict=True)):
                rows.append(
                    {
                        "experiment": "layers", "subject": "wiki_model", "variant": variant, "hook_name": "blocks.1",
                        "layer": 1, "latent": latent, "relative_depth": math.nan, "number": number, "depth": depth,
                        "train_score": score, "n_rules": 1.0, "complexity": 0.5,
                        "valid_score": None if score is None else float(rng.random()),
                        "test_score": None if score is None or rng.random() < 0.1 else float(rng.random()),
                        "chosen": False,
                    }
                )  # fmt: skip
            of_feature = [row for row in rows if (row["variant"], row["latent"]) == (variant, latent)]
            valid = [row for row in of_feature if row["valid_score"] is not None]
            if valid:
                max(valid, key=lambda row: row["valid_score"])["chosen"] = True
    numbers = ["train_score", "valid_score", "test_score"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=seed)


def groups(frame: pd.DataFrame, *names: str) -> dict:
    found = defaultdict(list)
    for row in frame.to_dict("records"):
        found[tuple(row[name] for name in names)].append(row)
    return found


def score_by_layer(frame: pd.DataFrame) -> pd.DataFrame:
    return means.mean_by(frame, ["variant", "source", "layer"], "correlation")


SEEDS = st.integers(0, 10_000)


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_means_by_layer_and_their_counts_are_those_of_a_loop(seed):
    frame = invented_scores(seed)
    found = score_by_layer(frame).set_index(["variant", "source", "layer"])
    wanted = groups(frame, "variant", "source", "layer")
    assert set(found.index) == set(wanted)
    for name, rows in wanted.items():
        explained = [row["correlation"] for row in rows if row["status"] == "explained"]
        values = [value for value in explained if not math.isnan(value)]
        row = found.loc[name]
        assert (row.n, row.n_undefined) == (len(values), len(explained) - len(values))
        assert row.n_failed == len(rows) - len(explained)
        assert row["mean"] == pytest.approx(sum(values) / len(values)) if values else math.isnan(row["mean"])
        if len(values) > 1:
            assert row.ci_low <= row["mean"] <= row.ci_high
        else:
            assert math.isnan(row.ci_low)


@settings(max_examples=3, deadline=None)
@given(SEEDS)
def test_the_order_of_rows_and_the_names_of_features_change_nothing(seed):
    frame, attempts = invented_scores(seed), invented_attempts(seed)
    for function in (score_by_layer, means.polysemanticity_surface, means.least_cap_by_depth):
        pd.testing.assert_frame_equal(function(frame), function(shuffled(frame, seed)))
    for function in (rounds.rounds, rounds.selections, rounds.agreement):
        pd.testing.assert_frame_equal(function(attempts), function(shuffled(attempts, seed)))
    relabelled = frame.assign(latent=1000 - 7 * frame.latent)
    for function in (score_by_layer, means.least_cap_by_depth):
        pd.testing.assert_frame_equal(function(frame), function(relabelled))


def test_an_interval_is_that_of_resampled_features():
    values = np.random.default_rng(5).normal(size=40)
    mean, low, high = means.mean_of_features(values, np.ones(40), level=0.9)
    rng = np.random.default_rng(6)
    drawn = [rng.choice(values, size=40).mean() for _ in range(20_000)]
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])), abs=0.04)


def test_a_feature_with_several_rows_is_drawn_as_a_whole():
    # Ten features with ten equal rows each: a hundred rows, but the interval of ten.
    values = np.random.default_rng(7).normal(size=10)
    frame = pd.DataFrame(
        {"subject": "s", "hook_name": "h", "latent": np.repeat(range(10), 10), "x": np.repeat(values, 10)}
    )
    once = means.mean_by(frame.drop_duplicates(), [], "x").iloc[0]
    many = means.mean_by(frame, [], "x").iloc[0]
    assert many.to_dict() == pytest.approx(once.to_dict())
    assert many.n == 10


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_polysemanticity_is_that_of_its_definition(seed):
    frame = invented_scores(seed)
    least = means.least_caps(frame).set_index(["layer", "latent"])
    judged = frame[frame.source == "similar_negative"]
    cells = defaultdict(list)
    for (layer, latent), rows in groups(judged, "layer", "latent").items():
        scores = {row["rule_cap"]: row["correlation"] for row in rows}
        valid = {row["rule_cap"]: row["valid_score"] for row in rows if not math.isnan(row["valid_score"])}
        chosen = {
            cap: max((c for c in sorted(valid) if c <= cap), key=lambda c: valid[c], default=None) for cap in scores
        }
        of_chosen = {cap: math.nan if chosen[cap] is None else scores[chosen[cap]] for cap in scores}
        best = of_chosen[max(scores)]
        enough = [cap for cap in scores if best > 0 and scores[cap] >= 0.9 * best]
        for cap in scores:
            shares = [value / best if best > 0 else math.nan for value in (scores[cap], of_chosen[cap])]
            cells[layer, cap].append((scores[cap], of_chosen[cap], *shares))
        row = least.loc[(layer, latent)]
        wanted = min(enough, default=math.nan)
        of_least = scores.get(wanted, math.nan)
        assert (row.best, row.least_cap, row.score) == pytest.approx((best, wanted, of_least), nan_ok=True)
    surface = means.polysemanticity_surface(frame).set_index(["layer", "rule_cap"])
    assert set(surface.index) == set(cells)
    for cell, curves in cells.items():
        row = surface.loc[cell]
        for i, name in enumerate(("score", "best_so_far", "share_of_best", "best_so_far_share")):
            values = [curve[i] for curve in curves if not math.isnan(curve[i])]
            assert row[name] == pytest.approx(sum(values) / len(values) if values else math.nan, nan_ok=True)
        assert row.n_features == len(curves)
        assert row.n_undefined == sum(math.isnan(curve[0]) for curve in curves)


def test_noise_alone_hardly_raises_the_least_cap():
    """2000 features whose five caps have one true score, 0.7, and noise of 7% on valid and on test."""
    rng = np.random.default_rng(0)
    valid, test = (0.7 * (1 + 0.07 * rng.normal(size=(2000, 5))) for _ in range(2))
    latents, caps = np.indices(test.shape)
    frame = pd.DataFrame(
        {
            "experiment": "polysemanticity", "subject": "s", "hook_name": "blocks.0", "layer": 0,
            "latent": latents.ravel(), "relative_depth": 0.0, "rule_cap": 1 + caps.ravel(), "status": "explained",
            "source": "similar_negative", "correlation": test.ravel(), "valid_score": valid.ravel(),
        }
    )  # fmt: skip
    best_so_far = np.maximum.accumulate(test, axis=1)
    of_maximum = 1 + (best_so_far >= 0.9 * best_so_far[:, -1:]).argmax(axis=1).mean()
    assert of_maximum == pytest.approx(1.52, abs=0.05), "the maximum on test itself"
    assert means.least_caps(frame).least_cap.mean() == pytest.approx(1.16, abs=0.03)


def test_a_feature_that_is_not_finished_for_every_cap_has_no_polysemanticity():
    frame = invented_scores(1)
    part = frame[~((frame.rule_cap == 3) & (frame.layer == 0) & (frame.latent == 2))]
    found = means.least_caps(part)
    assert len(found) == len(means.least_caps(frame)) - 1
    assert found[(found.layer == 0) & (found.latent == 2)].empty


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_the_best_of_each_round_and_other_choices_are_those_of_a_loop(seed):
    attempts = invented_attempts(seed)
    best = {
        (row["variant"], row["latent"], row["round"]): row for row in rounds.best_by_round(attempts).to_dict("records")
    }
    chosen = {(row["variant"], row["latent"]): row for row in rounds.selections(attempts).to_dict("records")}
    last = {variant: max(row["depth"] for row in rows) for (variant,), rows in groups(attempts, "variant").items()}
    seen = 0
    for name, rows in groups(attempts, "variant", "latent").items():
        for round_ in range(last[name[0]] + 1):
            scored = [row for row in rows if row["depth"] <= round_ and not math.isnan(row["train_score"])]
            if scored:
                top = max(row["train_score"] for row in scored)
                first = next(row for row in scored if row["train_score"] == top)
                assert best[(*name, round_)]["number"] == first["number"]
                assert best[(*name, round_)]["test_score"] == pytest.approx(first["test_score"], nan_ok=True)
                seen += 1
        tests = [row["test_score"] for row in rows if not math.isnan(row["test_score"])]
        of_chosen = [row["test_score"] for row in rows if row["chosen"]] or [math.nan]
        of_train = best.get((*name, last[name[0]]), {"test_score": math.nan})["test_score"]
        wanted = (max(tests, default=math.nan), of_chosen[0], of_train)
        columns = ("test_of_best_test", "test_of_chosen", "test_of_best_train")
        assert tuple(chosen[name][column] for column in columns) == pytest.approx(wanted, nan_ok=True)
    assert seen == len(best)


def test_agreement_is_the_mean_of_the_correlations_within_features():
    attempts = invented_attempts(3)
    values = []
    for _, rows in groups(attempts[attempts.variant == "tree"], "latent").items():
        pairs = [(r["valid_score"], r["test_score"]) for r in rows]
        pairs = [pair for pair in pairs if not any(math.isnan(value) for value in pair)]
        if len(pairs) > 2:
            values.append(np.corrcoef(np.asarray(pairs).T)[0, 1])
    found = rounds.agreement(attempts).set_index("variant").loc["tree"]
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found.n == len(values) > 1
