"""One hook's latents, looked at one by one: which windows each needs, and its records made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations import HolisticActivations, SparseActivations
from featureinterp.dataset.build import LatentEvidence, LatentReport, index_record, list_sizes, report_latent
from featureinterp.dataset.retrieval import rank_corpus, top_sequences
from featureinterp.dataset.selection import Selection, select_windows
from featureinterp.dataset.spec import DataSpec
from featureinterp.dataset.windows import Windows
from featureinterp.record import SAEIndexId, SAEIndexRecord
from featureinterp.stats import generator

TokenStrings = Callable[[Sequence[int]], Sequence[str]]
"""Gives the text of each token id."""


@dataclass(frozen=True)
class Plan:
    """What was found out about a latent, and the windows of its records; None where it is dead or rare."""

    report: LatentReport
    selection: Selection | None


@dataclass(frozen=True)
class HookData:
    """All that the records of one hook are made from."""

    hook_name: str
    layer: int
    windows: Windows
    embeddings: NDArray[np.float32]
    """Of the text of each window, float32 [windows, d], unit rows."""
    activations: SparseActivations
    token_strings: TokenStrings

    def plan(self, latent: int, spec: DataSpec) -> Plan:
        """Report on a latent and, if it fires often enough, choose the windows of its records."""
        params, documents = spec.sample_params(), self.windows.documents
        active, maxima = self.activations.latent(latent).sequence_maxima()
        report = report_latent(latent, active, maxima, documents, params.min_documents)
        if report.status != "ok":
            return Plan(report, None)
        similar = rank_corpus(self.embeddings, top_sequences(active, maxima, params.special_n))
        random = partial(generator, spec.seed, self.hook_name, latent)
        selection = select_windows(active, maxima, similar, documents, params, random)
        return Plan(replace(report, list_sizes=list_sizes(selection)), selection)

    def record(self, latent: int, selection: Selection, holistic: HolisticActivations | None) -> SAEIndexRecord:
        """Make a latent's records from the windows that were chosen."""
        sequences = selection.sequences
        evidence = LatentEvidence(
            sequences=sequences,
            texts=texts_of(self.windows.text_tokens[list(sequences)], self.token_strings),
            expressions=self.activations.dense(latent, sequences),
            holistic_expressions=None if holistic is None else holistic.dense(latent, sequences),
            max_expression=self.activations.max_activation(latent),
        )
        return index_record(SAEIndexId(self.layer, latent), selection, evidence)


def texts_of(tokens: NDArray[np.int32], token_strings: TokenStrings) -> tuple[tuple[str, ...], ...]:
    """Return the text of each token of [windows, T]; each distinct token is looked up once."""
    distinct, where = np.unique(tokens, return_inverse=True)
    strings = np.array(token_strings(distinct.tolist()), dtype=object)
    return tuple(tuple(row) for row in strings[where.reshape(tokens.shape)])
