"""Which windows become records: what must hold for any corpus, and brute force for the ranking."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.records.same_token import peak_tokens, same_token_windows
from featureinterp.dataset.records.selection import (
    PLACING_ORDER,
    PROJECTED,
    SampleParams,
    Selection,
    add_lists,
    add_sample,
    held_out_groups,
    interleave,
    select_windows,
    silent_windows,
)
from featureinterp.dataset.retrieval.exact import ExactRanker, top_sequences
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.stats import generator


@st.composite
def lists_of_candidates(draw: st.DrawFn) -> tuple[list[list[int]], list[int], np.ndarray]:
    n = draw(st.integers(1, 40))
    documents = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)))
    n_lists = draw(st.integers(1, 5))
    windows = st.lists(st.integers(0, n - 1), unique=True)
    candidates = [draw(windows) for _ in range(n_lists)]
    return candidates, [draw(st.integers(0, 10)) for _ in range(n_lists)], documents


@given(lists_of_candidates())
def test_no_document_is_in_two_splits_nor_gives_two_windows(case: tuple[list[list[int]], list[int], np.ndarray]):
    candidates, sizes, documents = case
    lists = interleave(candidates, sizes, documents)
    split_of: dict[int, int] = {}
    window_of: dict[int, int] = {}
    for windows, offered, size in zip(lists, candidates, sizes, strict=True):
        assert len(windows) <= size
        assert set(windows) <= set(offered)
        assert len(set(windows)) == len(windows)
        for position, window in enumerate(windows):
            document = int(documents[window])
            assert split_of.setdefault(document, position % 3) == position % 3
            assert window_of.setdefault(document, window) == window
    positive_documents = {int(documents[window]) for window in lists[0]}
    assert all(int(documents[window]) not in positive_documents for windows in lists[1:] for window in windows)


@given(lists_of_candidates())
def test_a_list_alone_takes_each_documents_first_window_in_order(case: tuple[list[list[int]], list[int], np.ndarray]):
    [offered, *_], [size, *_], documents = case
    expected: list[int] = []
    for window in offered:
        if len(expected) < size and documents[window] not in documents[expected]:
            expected.append(window)
    assert interleave([offered], [size], documents) == [tuple(expected)]


@st.composite
def latents(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, SampleParams]:
    n = draw(st.integers(5, 120))
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    active = np.sort(rng.permutation(n)[: draw(st.integers(0, n))])
    maxima = rng.integers(1, 6, len(active)).astype(np.float32)
    documents = np.sort(rng.integers(0, draw(st.integers(1, n)), n))
    params = SampleParams(
        top_sample_n=draw(st.integers(3, 12)),
        quantile_n=draw(st.sampled_from([1, 4, 1000])),
        complementary_sample_n=draw(st.integers(0, 12)),
    )
    return active, maxima, rng.permutation(n), documents, params


def select(case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, SampleParams], seed: int = 0) -> Selection:
    return select_windows(*case, partial(generator, seed, "hook", 3))


@given(latents())
def test_every_list_holds_its_own_kind(case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, SampleParams]):
    active, maxima, similar, documents, params = case
    chosen = select(case)
    assert set(chosen.positives) <= set(active.tolist())
    for source in (Source.SIMILAR_NEGATIVE, Source.RANDOM_NEGATIVE):
        assert not set(chosen.complementary[source]) & set(active.tolist())
    lists = [chosen.positives, *chosen.complementary.values()]
    assert set(chosen.sequences) == {window for windows in lists for window in windows}
    assert len(chosen.positives) == min(params.top_sample_n, len(np.unique(documents[active])))
    if len(np.unique(documents)) == len(documents):
        pool = max(-(-len(documents) // params.quantile_n), 2 * params.top_sample_n)
        outside = np.sort(maxima)[::-1][pool:]
        value = dict(zip(active.tolist(), maxima, strict=True))
        assert all(value[window] >= outside.max(initial=0) for window in chosen.positives)
    assert select(case) == chosen


@given(latents())
def test_the_most_similar_silent_windows_come_first(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, SampleParams],
):
    active, _, similar, documents, params = case
    chosen = select(case)
    taken = set(documents[list(chosen.positives)].tolist())
    expected: list[int] = []
    for window in similar.tolist():
        if window in active or documents[window] in taken or len(expected) == params.complementary_sample_n:
            continue
        taken.add(int(documents[window]))
        expected.append(window)
    assert list(chosen.complementary[PLACING_ORDER[0]]) == expected


@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 2**32), st.data())
def test_ranking_equals_mean_cosines_one_by_one(n: int, dimensions: int, seed: int, data: st.DataObject):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(n, dimensions)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    top = rng.permutation(n)[: data.draw(st.integers(1, n))]
    (ranking,) = ExactRanker(embeddings).rankings([top])
    ordered = list(ranking)
    assert sorted(ordered) == list(range(n))
    wide = embeddings.astype(np.float64)
    similarity = np.array([np.mean([wide[row] @ wide[other] for other in top]) for row in range(n)])
    assert (np.diff(similarity[ordered]) <= 1e-13).all()


@given(st.integers(3, 90), st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_a_ranking_depends_on_no_companion_nor_on_how_far_it_is_read(
    n: int, dimensions: int, seed: int, data: st.DataObject
):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(n, dimensions)).astype(np.float32)
    embeddings[n // 2] = embeddings[0]  # equals are ordered by number
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    tops = [rng.permutation(n)[: data.draw(st.integers(1, n))] for _ in range(data.draw(st.integers(1, 9)))]
    together = ExactRanker(embeddings, max_memory=data.draw(st.sampled_from([1, 12 * n, 2**30]))).rankings(tops)
    for top, ranking in zip(tops, together, strict=True):
        (alone,) = ExactRanker(embeddings).rankings([top])
        whole = alone.first(n).tolist()
        assert list(ranking) == whole
        looked = data.draw(st.integers(1, n))
        part = ranking.first(looked).tolist()
        assert part == whole[: len(part)]
        similarity = embeddings.astype(np.float64) @ embeddings[top].mean(axis=0, dtype=np.float64)
        assert (np.diff(similarity[whole]) <= 1e-13).all()
        assert whole.index(0) < whole.index(n // 2) or n // 2 == 0


@given(latents(), st.integers(0, 2**32))
def test_added_lists_follow_the_same_rules(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, SampleParams], seed: int
):
    active, _, similar, documents, params = case
    before = select(case)
    mapped = np.random.default_rng(seed).permutation(similar)
    silent = silent_windows(active, len(documents))
    candidates = dict(zip(PROJECTED, (mapped[silent[mapped]], mapped), strict=True))
    chosen = add_lists(before, candidates, documents, params.complementary_sample_n)
    assert {source: chosen.complementary[source] for source in before.complementary} == dict(before.complementary)
    assert all(silent[window] for window in chosen.complementary[Source.SIMILAR_NEGATIVE_PROJECTED])
    window_of: dict[int, int] = {}
    residue_of: dict[int, int] = {}
    for windows in (chosen.positives, *chosen.complementary.values()):
        for place, window in enumerate(windows):
            assert window_of.setdefault(int(documents[window]), window) == window
            assert residue_of.setdefault(int(documents[window]), place % 3) == place % 3
    positive_documents = {int(documents[window]) for window in chosen.positives}
    added = [window for source in PROJECTED for window in chosen.complementary[source]]
    assert not positive_documents & {int(documents[window]) for window in added}
    held_out = set(held_out_groups(before, documents).tolist())
    lists = (before.positives, *before.complementary.values())
    assert held_out == {int(documents[w]) for windows in lists for i, w in enumerate(windows) if i % 3}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 4)), unique_by=lambda pair: pair[0]), st.integers(0, 60))
def test_top_sequences_equal_a_plain_sort(pairs: list[tuple[int, int]], n: int):
    sequences = np.array([sequence for sequence, _ in pairs], dtype=np.int64)
    maxima = np.array([value for _, value in pairs], dtype=np.float32)
    expected = [sequence for sequence, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))][:n]
    assert top_sequences(sequences, maxima, n).tolist() == expected


@st.composite
def token_corpora(draw: st.DrawFn) -> tuple[WindowIndex, np.ndarray, np.ndarray]:
    """Index of a corpus of few tokens, and a latent's activations on it, [windows, T]."""
    n, seed = draw(st.integers(6, 90)), draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, draw(st.sampled_from([4, 30, 500])), (n, 5)).astype(np.int32)
    windows = Windows(tokens, np.sort(rng.integers(0, n, n)).astype(np.int32), False)
    activations = rng.integers(0, 5, (n, 5)) * (rng.random((n, 1)) < draw(st.sampled_from([0.1, 0.4, 1.0])))
    return WindowIndex.of(windows, lambda ids: [f"t{i}" for i in ids]), tokens, activations.astype(np.float32)


@given(token_corpora())
def test_the_index_has_every_window_of_every_token(case: tuple[WindowIndex, np.ndarray, np.ndarray]):
    index, tokens, _ = case
    for token in np.unique(tokens).tolist():
        number = int(index.tokens[tokens == token][0])
        assert index.windows_with(number).tolist() == np.flatnonzero((tokens == token).any(axis=1)).tolist()
        np.testing.assert_array_equal(index.contain([number]), (tokens == token).any(axis=1))
    assert (np.unique(index.tokens[tokens == tokens[0, 0]]) == index.tokens[0, 0]).all()


def by_seats(peaks: dict[int, int], windows_of: dict[int, list[int]]) -> list[int]:
    """Allot seats of three windows by the largest quotient, then list each window where it comes first."""
    given, seats = [], dict.fromkeys(peaks, 0)
    left = {token: list(windows) for token, windows in windows_of.items()}
    while any(left.values()):
        open_tokens = [token for token in peaks if left[token]]
        token = max(
            open_tokens, key=lambda token: (Fraction(peaks[token], 2 * seats[token] + 1), -list(peaks).index(token))
        )
        given += left[token][:3]
        left[token], seats[token] = left[token][3:], seats[token] + 1
    return list(dict.fromkeys(given))


@given(token_corpora(), st.integers(0, 20))
def test_same_token_windows_are_all_silent_windows_with_a_peak_token_in_proportion(
    case: tuple[WindowIndex, np.ndarray, np.ndarray], seed: int
):
    index, tokens, activations = case
    maxima = activations.max(axis=1)
    positives = np.flatnonzero(maxima > 0)[:6].tolist()
    peaks = peak_tokens(index.tokens[positives], activations[positives])
    counts = Counter(
        next(t for t, a in zip(index.tokens[w], activations[w], strict=True) if a == maxima[w]) for w in positives
    )
    assert peaks == counts and list(peaks) == sorted(counts, key=lambda token: (-counts[token], token))
    silent = maxima <= 0
    offered = list(same_token_windows(peaks, index, silent, np.random.default_rng(seed)))
    assert len(set(offered)) == len(offered)
    assert set(offered) == {w for w in np.flatnonzero(silent).tolist() if peaks.keys() & set(index.tokens[w].tolist())}
    rng = np.random.default_rng(seed)
    shuffled = {t: rng.permutation(index.windows_with(t)[silent[index.windows_with(t)]]).tolist() for t in peaks}
    assert offered == by_seats(peaks, shuffled)


@given(latents(), st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 1.0]))
def test_a_sample_of_the_corpus_divides_no_group_and_knows_its_strata(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, SampleParams], seed: int, share: float
):
    active, maxima, _, groups, params = case
    before = select(case)
    rng = np.random.default_rng(seed)
    with_peak = rng.random(len(groups)) < share
    made = add_sample(before, (active, maxima), with_peak, groups, params, np.random.default_rng(seed))
    assert made == add_sample(before, (active, maxima), with_peak, groups, params, np.random.default_rng(seed))
    sample, largest = made.sample, dict(zip(active.tolist(), maxima.tolist(), strict=True))
    assert sum(stratum.size for stratum in sample.strata) == len(groups)
    sizes = [stratum.size for stratum in sample.strata]
    silent = [window for window in range(len(groups)) if window not in largest]
    assert sizes[-2:] == [sum(with_peak[w] for w in silent), sum(not with_peak[w] for w in silent)]
    if len(sizes) > 3:
        assert max(sizes[:-2]) - min(sizes[:-2]) <= 1 and min(sizes[:-2]) >= 9
    n_active, ranked = len(sizes) - 2, sorted(largest, key=lambda w: (largest[w], -w))
    edges = np.cumsum([0, *sizes[:-2]])
    for window, number in zip(sample.windows, sample.numbers, strict=True):
        if number < n_active:
            assert window in ranked[edges[number] : edges[number + 1]]
        else:
            assert window not in largest and with_peak[window] == (number == n_active)
    assert len(set(sample.windows)) == len(sample.windows)
    residue_of: dict[int, int] = {}
    for windows in made.lists:
        for place, window in enumerate(windows):
            assert residue_of.setdefault(int(groups[window]), place % 3) == place % 3
    per_split = [Counter(sample.numbers[split::3]) for split in range(3)]
    assert per_split[0] == per_split[1] == per_split[2]
    top, complementary = params.top_sample_n // 3, params.complementary_sample_n // 3
    assert sum(n for number, n in per_split[0].items() if number < n_active) <= top
    assert per_split[0][n_active] + per_split[0][n_active + 1] <= complementary
