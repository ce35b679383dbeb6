"""Records of one hook's latents, one latent at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations
from featureinterp.dataset.corpus.window_texts import TokenStrings, texts_of
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.records.build import LatentEvidence, LatentReport, index_record, report_latent, with_lists
from featureinterp.dataset.records.own_source import LatentOnCorpus, chosen_windows
from featureinterp.dataset.records.same_token import peak_tokens, same_token_windows
from featureinterp.dataset.records.selection import (
    PROJECTED,
    SampleParams,
    Selection,
    add_lists,
    add_sample,
    held_out_groups,
    select_windows,
    silent_windows,
)
from featureinterp.dataset.retrieval.exact import LARGEST_BLOCK, Ranker, top_sequences
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.dataset.spec import DataSpec
from featureinterp.record import N_SPLITS, ComplementaryRecordSource, SAEIndexId, SAEIndexRecord, Split
from featureinterp.stats import generator

Random = Callable[[str], np.random.Generator]
"""Returns the generator of a purpose."""


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
    index: WindowIndex
    """The windows of each token, and groups."""
    activations: SparseActivations
    token_strings: TokenStrings

    def plans(self, latents: Sequence[int], spec: DataSpec) -> Iterator[tuple[int, Plan]]:
        """Yield the report of each latent, with selected windows if it is live."""
        params, documents = spec.sample_params(), self.windows.documents
        query_size = params.query_size(len(documents))
        for start in range(0, len(latents), LARGEST_BLOCK):
            block = latents[start : start + LARGEST_BLOCK]
            found = {latent: self.activations.latent(latent).sequence_maxima() for latent in block}
            reports = {n: report_latent(n, *found[n], documents, params.min_documents) for n in block}
            fine = [latent for latent in block if reports[latent].status == "ok"]
            rankings = iter(self.ranker.rankings(top_sequences(*found[latent], query_size) for latent in fine))
            for latent in block:
                if reports[latent].status == "ok":
                    selection = self._select(latent, found[latent], next(rankings), spec)
                    yield latent, Plan(with_lists(reports[latent], selection, params), selection)
                else:
                    yield latent, Plan(reports[latent], None)

    def tops(self, latents: Sequence[int], spec: DataSpec) -> Iterator[NDArray[np.int64]]:
        """Yield the top sequences of each firing latent."""
        for latent in latents:
            found = self.activations.latent(latent).sequence_maxima()
            if len(found[0]):
                yield top_sequences(*found, spec.sample_params().query_size(len(self.windows)))

    def _select(
        self,
        latent: int,
        found: tuple[NDArray[np.int32], NDArray[np.float32]],
        similar: Iterable[int],
        spec: DataSpec,
    ) -> Selection:
        """Select the windows of a latent from its active sequences, their maxima, and the ranked corpus."""
        params, groups = spec.sample_params(), self.index.groups
        random = partial(generator, spec.seed, self.hook_name, latent)
        selection = select_windows(*found, similar, groups, params, random)
        silent = silent_windows(found[0], len(groups))
        train = list(selection.positives[Split.TRAIN :: N_SPLITS])
        fired = self.activations.dense(latent, train)
        peaks = peak_tokens(self.index.tokens[train], fired)
        source = ComplementaryRecordSource.SAME_TOKEN_NEGATIVE
        same_token = same_token_windows(peaks, self.index, silent, random(source.value))
        selection = add_lists(selection, {source: same_token}, groups, params.complementary_sample_n)
        selection = add_sample(selection, found, self.index.contain(peaks), groups, params, random("corpus"))
        if spec.own_source:
            known = self._on_corpus(found, tuple(train), fired, random("own source"))
            own = chosen_windows(spec.own_source, known)
            size = params.complementary_sample_n
            selection = add_lists(selection, {ComplementaryRecordSource.OTHER: own}, groups, size)
        return self._with_projected(selection, silent, params, random) if params.projected else selection

    def _on_corpus(
        self,
        found: tuple[NDArray[np.int32], NDArray[np.float32]],
        train: tuple[int, ...],
        fired: NDArray[np.float32],
        random: np.random.Generator,
    ) -> LatentOnCorpus:
        """Return what a source of another package knows of a latent."""
        maxima = np.zeros(len(self.windows), dtype=np.float32)
        maxima[found[0]] = found[1]
        return LatentOnCorpus(
            self.windows.text_tokens, self.token_strings, self.embeddings, maxima, train, fired, random
        )

    def _with_projected(
        self, selection: Selection, silent: NDArray[np.bool_], params: SampleParams, random: Random
    ) -> Selection:
        """Add the windows that are similar under a map trained for the latent."""
        # loads torch, which no other list needs
        from featureinterp.dataset.retrieval.projection import NEGATIVES, train_projection

        groups = self.index.groups
        train = list(selection.positives[Split.TRAIN :: N_SPLITS])
        usable = np.flatnonzero(silent & ~np.isin(groups, held_out_groups(selection, groups)))
        drawn = np.sort(random("projection").permutation(usable)[:NEGATIVES])
        rows = self.embeddings[train], self.embeddings[drawn]
        mapped = train_projection(*rows, random("projection map")).rank(self.embeddings, np.array(train))
        candidates: dict[ComplementaryRecordSource, Iterable[int]] = dict(
            zip(PROJECTED, (mapped[silent[mapped]], mapped), strict=True)
        )
        return add_lists(selection, candidates, groups, params.complementary_sample_n)

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
