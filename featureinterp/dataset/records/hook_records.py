"""Records of one hook's latents, one latent at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations
from featureinterp.dataset.corpus.window_texts import TokenStrings, texts_of
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.records.build import LatentEvidence, LatentReport, index_record, list_sizes, report_latent
from featureinterp.dataset.records.selection import (
    N_SPLITS,
    Selection,
    add_projected,
    held_out_documents,
    select_windows,
    silent_windows,
)
from featureinterp.dataset.retrieval.exact import LARGEST_BLOCK, Ranker, top_sequences
from featureinterp.dataset.retrieval.projection import NEGATIVES, train_projection
from featureinterp.dataset.spec import DataSpec
from featureinterp.record import SAEIndexId, SAEIndexRecord, Split
from featureinterp.stats import generator


@dataclass(frozen=True)
class Plan:
    """Report of a latent and its selected windows (None if dead or rare)."""

    report: LatentReport
    selection: Selection | None


@dataclass(frozen=True)
class HookData:
    """Inputs of one hook's records."""

    hook_name: str
    layer: int
    windows: Windows
    embeddings: NDArray[np.float32]
    """Of the text of each window, float32 [windows, d], unit rows."""
    ranker: Ranker
    """Ranks them by similarity to some of them."""
    activations: SparseActivations
    token_strings: TokenStrings

    def plans(self, latents: Sequence[int], spec: DataSpec) -> Iterator[tuple[int, Plan]]:
        """Yield the report of each latent, with selected windows if it is live."""
        params, documents = spec.sample_params(), self.windows.documents
        for start in range(0, len(latents), LARGEST_BLOCK):
            block = latents[start : start + LARGEST_BLOCK]
            found = {latent: self.activations.latent(latent).sequence_maxima() for latent in block}
            reports = {n: report_latent(n, *found[n], documents, params.min_documents) for n in block}
            fine = [latent for latent in block if reports[latent].status == "ok"]
            rankings = iter(self.ranker.rankings(top_sequences(*found[latent], params.special_n) for latent in fine))
            for latent in block:
                if reports[latent].status == "ok":
                    selection = self._select(latent, found[latent], next(rankings), spec)
                    yield latent, Plan(replace(reports[latent], list_sizes=list_sizes(selection)), selection)
                else:
                    yield latent, Plan(reports[latent], None)

    def tops(self, latents: Sequence[int], spec: DataSpec) -> Iterator[NDArray[np.int64]]:
        """Yield the top sequences of each firing latent."""
        for latent in latents:
            found = self.activations.latent(latent).sequence_maxima()
            if len(found[0]):
                yield top_sequences(*found, spec.special_n)

    def _select(
        self,
        latent: int,
        found: tuple[NDArray[np.int32], NDArray[np.float32]],
        similar: Iterable[int],
        spec: DataSpec,
    ) -> Selection:
        """Select the windows of a latent from its active sequences, their maxima, and the ranked corpus."""
        params, documents = spec.sample_params(), self.windows.documents
        random = partial(generator, spec.seed, self.hook_name, latent)
        selection = select_windows(*found, similar, documents, params, random)
        if not params.projected:
            return selection
        silent = silent_windows(found[0], len(documents))
        positives = np.array(selection.positives[Split.TRAIN :: N_SPLITS])
        usable = np.flatnonzero(silent & ~np.isin(documents, held_out_documents(selection, documents)))
        drawn = np.sort(random("projection").permutation(usable)[:NEGATIVES])
        rows = self.embeddings[positives], self.embeddings[drawn]
        similar = train_projection(*rows, random("projection map")).rank(self.embeddings, positives)
        return add_projected(selection, similar, silent, documents, params.complementary_sample_n)

    def record(self, latent: int, selection: Selection, holistic: HolisticActivations | None) -> SAEIndexRecord:
        """Build a latent's records from its selected windows."""
        sequences = selection.sequences
        evidence = LatentEvidence(
            sequences=sequences,
            texts=texts_of(self.windows.text_tokens[list(sequences)], self.token_strings),
            expressions=self.activations.dense(latent, sequences),
            holistic_expressions=None if holistic is None else holistic.dense(latent, sequences),
            max_expression=self.activations.max_activation(latent),
        )
        return index_record(SAEIndexId(self.layer, latent), selection, evidence)
