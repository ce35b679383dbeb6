"""Simulations that an audit corrupts: of a feature's test windows, and of its corpus where that can be had.

The corpus is simulated as a run does it: as a whole by the lexical simulator, else on the windows that were drawn from
it. A simulator behind an endpoint answers from the cache alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from featureinterp.analysis.audit.corrupted_scores import (
    CORPUS,
    Place,
    SimulatedFeature,
    expecting,
    peak_strings,
    places_of_lists,
    simulated_windows,
)
from featureinterp.core import CorpusTokens, ScoredSequence, StructuredExplanation
from featureinterp.dataset.folder import DataFolder
from featureinterp.errors import DataFolderError, ExplanationError, FeatureInterpError
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.scores.corpus import NO_SAMPLE, WholeCorpus
from featureinterp.protocols import SimulatorFactory
from featureinterp.record import Split, corpus_weights, split_records
from featureinterp.scoring import simulate_records
from featureinterp.scoring.corruptions import SimulatedTokens


def distinct_windows(sequences: Sequence[ScoredSequence]) -> list[ScoredSequence]:
    """Return the windows, each once, in their order."""
    first: dict[int, ScoredSequence] = {}
    for pair in sequences:
        first.setdefault(pair.record.dataset_index, pair)
    return list(first.values())


async def simulate_tested(
    result: FeatureResult, other: StructuredExplanation | None, simulators: SimulatorFactory | None
) -> SimulatedFeature:
    """Return the stored simulation of a feature's test windows, each standing for itself.

    Args:
        result: an explained feature.
        other: explanation of another feature.
        simulators: the run's simulator; None where it cannot be had.
    """
    windows = distinct_windows(result.test_sequences)
    return await _of_windows(result, windows, None, other, simulators)


async def simulate_sample(
    result: FeatureResult,
    folder: DataFolder,
    other: StructuredExplanation | None,
    simulators: SimulatorFactory,
) -> SimulatedFeature:
    """Return the simulation of a feature's test windows and of the windows drawn from its corpus.

    Arguments as in `simulate_tested`.

    Raises:
        DataFolderError: if the data folder holds no sample of the corpus, or is damaged.
        FeatureInterpError: if a drawn window cannot be simulated.
    """
    assert result.explanation is not None, "only explained features have test windows"
    record = folder.index_record(result.key.hook_name, result.key.latent)
    drawn = split_records(record.corpus_records, Split.TEST)
    if not drawn:
        raise DataFolderError(NO_SAMPLE)
    stands_for = corpus_weights(drawn, record.strata)
    simulated = await simulate_records(simulators(result.explanation), drawn)
    # a drawn window may be tested, too: then its own simulation and its weight in the corpus count
    windows = distinct_windows([*result.test_sequences, *simulated])
    weight_of = {each.dataset_index: weight for each, weight in zip(drawn, stands_for, strict=True)}
    weights = [weight_of.get(pair.record.dataset_index, 0.0) for pair in windows]
    feature = await _of_windows(result, windows, weights, other, simulators)
    number = {pair.record.dataset_index: at for at, pair in enumerate(windows)}
    corpus = Place(
        CORPUS,
        np.array([number[each.dataset_index] for each in drawn], dtype=np.int64),
        np.ones(len(drawn), dtype=bool),
        np.array(stands_for, dtype=np.float64),
    )
    return replace(feature, places=(corpus, *feature.places))


def simulate_corpus(
    result: FeatureResult, corpus: WholeCorpus, other: StructuredExplanation | None
) -> SimulatedFeature | None:
    """Return the simulation of every window of a corpus, with the stored one on the test windows.

    Returns:
        The simulation; None where the corpus cannot be simulated as a whole, as in `exact_scores`.

    Raises:
        DataFolderError: if the corpus or the activations are damaged, or not those of the run.
    """
    tokens, simulator = corpus.tokens, corpus.simulator
    if tokens is None or simulator is None or result.explanation is None:
        return None
    try:
        expected, claimed = simulator.simulate(result.explanation)
    except ExplanationError:
        return None
    truth, levels = corpus.truth(result.key), expected.astype(np.float64)
    for pair in distinct_windows(result.test_sequences):
        row = _checked_row(pair, tokens)
        truth[row] = pair.record.scaled_activations()
        levels[row], claimed[row] = pair.simulation.expected_activations, pair.simulation.claims
    n_windows, length = truth.shape
    numbers = [at for at, string in enumerate(tokens.strings) if string in peak_strings(result.train_positives)]
    same = ~(truth > 0).any(axis=1) & np.isin(tokens.ids, numbers).any(axis=1)
    simulated = SimulatedTokens(
        truth.ravel(), levels.ravel(), claimed.ravel(), np.repeat(same, length), np.ones(truth.size)
    )
    everything = np.arange(n_windows, dtype=np.int64)
    whole = Place(CORPUS, everything, np.ones(n_windows, dtype=bool), np.ones(n_windows), is_whole=True)
    places = places_of_lists(result.test_sequences, {row: row for row in range(n_windows)})
    starts = np.arange(n_windows + 1, dtype=np.int64) * length
    another = None
    if other is not None:
        try:
            theirs, claims = simulator.simulate(other)
            another = replace(simulated, expected=theirs.astype(np.float64).ravel(), claimed=claims.ravel())
        except ExplanationError:
            another = None  # free text: it is compared on drawn windows only
    return SimulatedFeature(simulated, starts, (whole, *places), another)


def _checked_row(pair: ScoredSequence, tokens: CorpusTokens) -> int:
    """Return the row of a test window after checking that the corpus has its tokens there."""
    row = pair.record.dataset_index
    inside = 0 <= row < len(tokens.ids)
    if not inside or tuple(tokens.strings[at] for at in tokens.ids[row]) != pair.record.tokens:
        raise DataFolderError(f"the data folder's window {row} is not that of the run")
    return row


async def _of_windows(
    result: FeatureResult,
    windows: Sequence[ScoredSequence],
    weights: Sequence[float] | None,
    other: StructuredExplanation | None,
    simulators: SimulatorFactory | None,
) -> SimulatedFeature:
    tokens, starts = simulated_windows(windows, peak_strings(result.train_positives), weights)
    number = {pair.record.dataset_index: at for at, pair in enumerate(windows)}
    places = places_of_lists(result.test_sequences, number)
    another = None
    if other is not None and simulators is not None:
        records = [pair.record for pair in windows]
        try:
            another = expecting(tokens, await simulate_records(simulators(other), records))
        except FeatureInterpError:
            another = None  # as the run's own baseline of it, or there is no cached answer
    return SimulatedFeature(tokens, starts, places, another)
