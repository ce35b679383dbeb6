from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from featureinterp.dataset.records.selection import SampleParams, interleave, select_windows
from featureinterp.errors import InputError
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.stats import generator


def test_a_bound_document_waits_for_its_residue():
    """Window 1 is bound to residue 1 by the second list, so the third leaves slot 0 to the next candidate."""
    documents = np.arange(10)
    lists = interleave([[9], [0, 1, 2], [1, 3, 4, 5]], [1, 3, 3], documents)
    assert lists == [(9,), (0, 1, 2), (3, 1, 4)]


def test_a_list_is_cut_before_its_first_empty_slot():
    lists = interleave([[9], [0, 1, 2], [2, 1]], [1, 3, 3], np.arange(10))
    assert lists[2] == ()


def test_another_window_of_a_bound_document_is_passed_over():
    documents = np.array([0, 0, 1, 1, 2])
    assert interleave([[0], [1, 2], [3, 4]], [1, 2, 2], documents) == [(0,), (2,), (4,)]


def test_positives_come_from_the_first_chunk_in_random_order():
    n = 10_000
    active = np.arange(0, n, 2)
    maxima = active.astype(np.float32) + 1
    params = SampleParams(top_sample_n=12, quantile_n=100, complementary_sample_n=5)
    made = [
        select_windows(
            active, maxima, np.arange(n), np.arange(n), params, partial(generator, seed, "hook", 0)
        ).positives
        for seed in range(200)
    ]
    pool = set(active[-100:].tolist())
    assert all(set(positives) <= pool for positives in made)
    seen, counts = np.unique(np.array(made), return_counts=True)
    assert set(seen.tolist()) == pool
    assert counts.max() < 50  # 24 are expected of each, with a deviation of 4.6
    first = np.array([positives[0] for positives in made])
    assert abs(first.mean() - np.mean(list(pool))) < 15


def test_a_small_corpus_widens_the_chunk_to_twice_the_sample():
    active = np.arange(50)
    params = SampleParams(top_sample_n=3, complementary_sample_n=3)
    taken: set[int] = set()
    for seed in range(60):
        random = partial(generator, seed, "hook", 0)
        ranks = 50 - active.astype(np.float32)
        taken |= set(select_windows(active, ranks, np.arange(60), np.arange(60), params, random).positives)
    assert taken == set(range(6))


def test_random_windows_may_fire_and_are_spread_over_the_corpus():
    n = 3000
    active = np.arange(1000)
    params = SampleParams(complementary_sample_n=300, top_sample_n=3)
    random = partial(generator, 0, "hook", 0)
    chosen = select_windows(active, np.ones(1000, np.float32), np.arange(n), np.arange(n), params, random)
    share_active = np.mean([window < 1000 for window in chosen.complementary[Source.RANDOM]])
    assert 0.25 < share_active < 0.42
    assert abs(np.mean(chosen.complementary[Source.RANDOM_NEGATIVE]) - 2000) < 150


def test_a_list_that_runs_short_is_not_filled_from_another():
    active = np.arange(95)
    params = SampleParams(top_sample_n=30, complementary_sample_n=30)
    random = partial(generator, 0, "hook", 0)
    chosen = select_windows(active, np.ones(95, np.float32), np.arange(100), np.arange(100), params, random)
    assert len(chosen.positives) == 30
    assert set(chosen.complementary[Source.SIMILAR_NEGATIVE]) == {95, 96, 97, 98, 99}
    assert len(chosen.complementary[Source.RANDOM_NEGATIVE]) <= 5
    assert len(chosen.complementary[Source.SIMILAR]) == 30


@pytest.mark.parametrize("name", ["top_sample_n", "quantile_n", "special_n", "min_documents"])
def test_an_impossible_number_is_refused(name: str):
    with pytest.raises(InputError, match=rf"{name} is 0; expected at least \d"):
        SampleParams(**{name: 0})
