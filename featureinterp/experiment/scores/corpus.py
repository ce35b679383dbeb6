"""Scores of an explanation on the corpus, beside those of its baselines.

A simulator that costs nothing runs on every window: the scores are exact. Any other runs on windows that were drawn
from the strata of the corpus, each of which stands for its share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import CorpusTokens, Score, ScoredSequence, Scores, StructuredExplanation
from featureinterp.dataset.folder import DataFolder
from featureinterp.errors import OF_ONE_FEATURE, ExplanationError
from featureinterp.experiment.result import CorpusScores, FeatureKey
from featureinterp.protocols import Simulator
from featureinterp.record import SAEIndexRecord, Split, corpus_weights, scale_to_levels, split_records
from featureinterp.scoring import score_sequences, simulate_records
from featureinterp.scoring.baselines import Table
from featureinterp.scoring.corpus import correlate_corpus, difference_on_corpus, pool_corpus, score_corpus
from featureinterp.scoring.difference import correlation_difference
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.simulator.lexical_corpus import LexicalCorpus

NO_SAMPLE = "the records hold no sample of the corpus; `featureinterp records` draws one"


class WholeCorpus:
    """Every window of a data folder, for the lexical simulator; read when it is first needed."""

    def __init__(self, folder: DataFolder, embeddings: EmbeddingMemory) -> None:
        self._folder = folder
        self._embeddings = embeddings

    @cached_property
    def tokens(self) -> CorpusTokens | None:
        """The windows; None where the folder does not store the texts of tokens."""
        return self._folder.corpus_tokens()

    @cached_property
    def simulator(self) -> LexicalCorpus | None:
        """Simulator of the windows; None where there are none."""
        return None if self.tokens is None else LexicalCorpus(self.tokens, self._embeddings)

    def truth(self, key: FeatureKey) -> NDArray[np.float64]:
        """Return a latent's true levels on every token [windows, tokens].

        Raises:
            DataFolderError: if its activations are missing or damaged.
        """
        activations = self._folder.activations(key.hook_name)
        values = activations.dense(key.latent, np.arange(activations.n_sequences)).astype(np.float64)
        return scale_to_levels(values, float(values.max(initial=0.0)))


@dataclass(frozen=True)
class Contest:
    """An explanation and the tables that it is compared with."""

    explanation: StructuredExplanation
    simulator: Simulator
    tables: Mapping[str, Table]
    best: str
    """Name of the best table on valid."""


async def corpus_scores(
    record: SAEIndexRecord, key: FeatureKey, contest: Contest, corpus: WholeCorpus | None
) -> CorpusScores:
    """Score an explanation on the corpus: exactly where that can be done, else on the windows drawn from it."""
    exact = None if corpus is None else exact_scores(key, contest, corpus)
    if exact is not None:
        return exact
    try:
        return await sampled_scores(record, contest)
    except OF_ONE_FEATURE as error:
        return CorpusScores.undefined(str(error))


def exact_scores(key: FeatureKey, contest: Contest, corpus: WholeCorpus) -> CorpusScores | None:
    """Score an explanation on every window of a corpus.

    Returns:
        The scores; None where the corpus cannot be simulated as a whole: the folder does not store the texts of
        tokens, or a rule is free text without a quoted string or a class of tokens.

    Raises:
        DataFolderError: if the corpus or the activations are damaged.
    """
    tokens, simulator = corpus.tokens, corpus.simulator
    if tokens is None or simulator is None:
        return None
    try:
        expected, claimed = simulator.simulate(contest.explanation)
    except ExplanationError:
        return None
    truth = corpus.truth(key)
    ours = pool_corpus(truth, expected, claimed)
    pooled = {name: pool_corpus(truth, table.on_corpus(tokens)) for name, table in contest.tables.items()}
    return CorpusScores(
        scores=score_corpus(ours, len(truth)),
        is_exact=True,
        tables={name: correlate_corpus(levels) for name, levels in pooled.items()},
        margin=difference_on_corpus(ours, pooled[contest.best]),
    )


async def sampled_scores(record: SAEIndexRecord, contest: Contest) -> CorpusScores:
    """Score an explanation on the test windows that were drawn from the corpus.

    Raises:
        SimulationError: if a window cannot be simulated.
    """
    records = split_records(record.corpus_records, Split.TEST)
    if not records:
        return CorpusScores.undefined(NO_SAMPLE)
    weights = corpus_weights(records, record.strata)
    ours = await simulate_records(contest.simulator, records)
    theirs = {name: await simulate_records(table, records) for name, table in contest.tables.items()}
    return CorpusScores(
        scores=score_sequences(ours, weights=weights).scores,
        is_exact=False,
        tables={name: _correlation(sequences, weights) for name, sequences in theirs.items()},
        margin=correlation_difference(ours, theirs[contest.best], weights=weights),
    )


def _correlation(sequences: Sequence[ScoredSequence], weights: Sequence[float]) -> Score:
    scores: Scores = score_sequences(sequences, weights=weights, intervals=False).scores
    return scores.correlation
