"""The audit of a run: planted corruptions whose outcome is known, counts against brute force, and checks of results."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from featureinterp.analysis.audit.checks import check_run, leaked_windows, repeated_windows, shared_documents
from featureinterp.analysis.audit.corrupted_scores import (
    AUDITED_SCORES,
    CORPUS,
    Change,
    Place,
    SimulatedFeature,
    changes,
    peak_strings,
)
from featureinterp.analysis.audit.run import PLACES, tally
from featureinterp.experiment.store import RunStore
from featureinterp.record import ActivationRecord
from featureinterp.scoring.corruptions import (
    ANOTHER,
    CORRUPTIONS,
    DROPPED,
    FLAT,
    RANDOM_CLAIMS,
    SAME_TOKEN_CLAIMS,
    SimulatedTokens,
)
from tests.report.features import explained, without_explanation

N_WINDOWS, LENGTH, N_ACTIVE, N_FEATURES = 2000, 8, 40, 6
ALARMS = "false_positives_per_sentence"
BY_CLAIMS = ("f1", "iou", "precision", "recall", ALARMS)


def planted(seed: int) -> SimulatedFeature:
    """A perfect explanation with graded levels on a corpus, and two lists of negatives.

    Every 50th window is active, the two after it are silent with a peak token. The list `same` draws from these,
    `random` from the others.
    """
    rng = np.random.default_rng(seed)
    active = np.arange(0, N_WINDOWS, N_WINDOWS // N_ACTIVE)
    truth = np.zeros((N_WINDOWS, LENGTH))
    truth[active, rng.integers(LENGTH, size=N_ACTIVE)] = rng.uniform(1.5, 5.0, N_ACTIVE)
    same = np.zeros((N_WINDOWS, LENGTH), dtype=bool)
    same[[*active + 1, *active + 2]] = True
    flat = truth.ravel()
    tokens = SimulatedTokens(flat, flat.copy(), flat > 0, same.ravel(), np.ones(flat.size))
    another = replace(tokens, expected=np.roll(flat, 3 * LENGTH + 1), claimed=np.roll(flat > 0, 3 * LENGTH + 1))
    everything = np.arange(N_WINDOWS)
    places = (
        Place(CORPUS, everything, np.ones(N_WINDOWS, dtype=bool), np.ones(N_WINDOWS), is_whole=True),
        *(
            Place.of_list(name, [*active[:30], *negatives], [*[False] * 30, *[True] * 30])
            for name, negatives in (("same", active[:30] + 1), ("random", active[:30] + 9))
        ),
    )
    return SimulatedFeature(tokens, np.arange(N_WINDOWS + 1) * LENGTH, places, another)


@pytest.fixture(scope="module")
def shares() -> dict[tuple[str, str, str], tuple[float, float]]:
    """Share of planted features in which a score falls, and falls out of its interval."""
    found = tally(change for seed in range(N_FEATURES) for change in changes(planted(seed), seed, "hook", seed))
    assert {each.n for each in found if each.place == CORPUS} == {N_FEATURES}
    return {(e.place, e.score, e.corruption): (e.n_worse / e.n, e.n_beyond / e.n) for e in found}


@pytest.mark.parametrize(
    ("corruption", "falling", "staying"),
    [
        (DROPPED, ("recall", "f1", "iou", "correlation", "auroc", "average_precision"), ("precision", ALARMS)),
        (RANDOM_CLAIMS, ("precision", "f1", "iou", "correlation", "auroc", "average_precision", ALARMS), ("recall",)),
        (FLAT, ("correlation",), (*BY_CLAIMS, "auroc", "average_precision")),
        (ANOTHER, ("recall", "precision", "f1", "iou", "correlation", "auroc", "average_precision", ALARMS), ()),
    ],
)
def test_a_perfect_explanation_falls_by_what_is_corrupted_and_nothing_else(shares, corruption, falling, staying):
    assert {score: shares[CORPUS, score, corruption][0] for score in falling} == dict.fromkeys(falling, 1.0)
    assert {score: shares[CORPUS, score, corruption] for score in staying} == dict.fromkeys(staying, (0.0, 0.0))


def test_claims_on_same_token_windows_are_seen_where_these_windows_are(shares):
    for score in ("precision", "f1", "correlation", ALARMS):
        assert shares[CORPUS, score, SAME_TOKEN_CLAIMS][0] == 1
        assert shares["same", score, SAME_TOKEN_CLAIMS][0] == 1
        assert shares["random", score, SAME_TOKEN_CLAIMS] == (0, 0)
    assert shares["same", ALARMS, SAME_TOKEN_CLAIMS] == shares["same", "precision", SAME_TOKEN_CLAIMS] == (1, 1)


def test_a_corruption_thin_over_the_corpus_escapes_a_list(shares):
    """40 false claims on 16,000 tokens: a list of 60 windows has 1.2 of them, the corpus has them all."""
    assert shares[CORPUS, "precision", RANDOM_CLAIMS] == (1, 1)
    assert shares["random", "precision", RANDOM_CLAIMS][1] == 0


def test_equal_seeds_give_equal_changes_and_others_differ():
    feature = planted(0)
    first, second, other = (list(changes(feature, seed, "hook", 7)) for seed in (0, 0, 1))
    assert first == second != other


def test_shares_are_those_of_brute_force():
    dice = random.Random(0)
    names = list(itertools.product((*PLACES, "mine"), AUDITED_SCORES, (*CORRUPTIONS, ANOTHER)))
    found = []
    for _ in range(1000):
        falls = dice.random() < 0.5
        found.append(Change(*dice.choice(names), falls, falls and dice.random() < 0.5))
    counted = tally(found)
    assert [(each.place, each.score, each.corruption) for each in counted] == [
        name for name in names if any((c.place, c.score, c.corruption) == name for c in found)
    ]
    for each in counted:
        own = [c for c in found if (c.place, c.score, c.corruption) == (each.place, each.score, each.corruption)]
        assert (each.n, each.n_worse, each.n_beyond) == (
            len(own),
            len([c for c in own if c.falls]),
            len([c for c in own if c.beyond]),
        )


def test_the_peak_tokens_are_those_at_the_maxima():
    windows = [((" a", " b"), (1.0, 2.0)), ((" c", " b"), (3.0, 3.0)), ((" d", " e"), (0.0, 0.0))]
    records = [ActivationRecord(tokens, values, (), row, 5.0) for row, (tokens, values) in enumerate(windows)]
    assert peak_strings(records) == {" b", " c"}


def test_checks_of_a_run_count_leaks_duplicates_and_what_is_missing(tmp_path):
    sound = replace(explained(0, 3, 0.9), near_duplicates=0, corpus=None)
    train, (first, *rest) = sound.train_positives[0], sound.test_sequences
    again = replace(first, record=replace(first.record, dataset_index=77))
    leak = replace(rest[0], record=replace(train, dataset_index=78), simulation=rest[0].simulation)
    faulty = replace(explained(0, 4, 0.5), test_sequences=(first, *rest, again, leak), near_duplicates=3)
    old = explained(0, 5, 0.5)
    with RunStore.create(tmp_path, {"seed": 0}) as store:
        for result in (sound, faulty, old, without_explanation(1, 4, "dead", "it never fires")):
            store.put(result)
        store.ask([result.key for result in (sound, faulty)])
        store.ask([replace(sound.key, latent=99)])
        checks = check_run(store, documents=np.array([0, 1, 1, 2, 3, 4, 5, 6, 7, 1]))
        assert check_run(store, None).shared_documents is None
    assert checks.counts == {"dead": 1, "explained": 3, "waiting": 1}
    [dead] = checks.unexplained
    assert (dead.status, dead.reason, dead.n_features) == ("dead", "it never fires", 1)
    assert (checks.near_duplicates, checks.n_with_near_duplicates, checks.n_uncounted) == (3, 1, 1)
    assert (checks.repeated, checks.leaked) == (1, 1)
    assert checks.shared_documents == 3  # train row 9 and test rows 1 and 2 are of document 1, in each feature
    undefined = {(each.place, each.scores, each.reason): each.n_features for each in checks.undefined}
    assert undefined[CORPUS, (), "it was not scored on the corpus"] == 1
    assert undefined["similar_negative", ("precision",), "no token is claimed"] == 3


def test_a_window_in_two_lists_stands_there_rightly():
    result = explained(0, 3, 0.9)
    assert (repeated_windows(result), leaked_windows(result)) == (0, 0)
    twice = replace(result, test_sequences=(*result.test_sequences, result.test_sequences[-1]))
    assert repeated_windows(twice) == 1
    assert shared_documents(result, np.arange(10)) == 0
