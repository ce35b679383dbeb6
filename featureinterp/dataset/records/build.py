"""Latent reports, and records built from selected windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.records.selection import SampleParams, Selection
from featureinterp.record import (
    EVERYWHERE,
    N_SPLITS,
    ActivationRecord,
    ComplementaryRecordSource,
    SAEIndexId,
    SAEIndexRecord,
)

LatentStatus = Literal["ok", "dead", "rare"]
"""ok: it has records; dead: it never fires on the corpus; rare: it fires in too few documents."""


@dataclass(frozen=True)
class LatentReport:
    """Status and counts of a latent on a corpus, with or without records."""

    latent: int
    status: LatentStatus
    reason: str = ""
    """Reason for missing records; empty if there are records."""
    density: float = 0.0
    """Share of the corpus' windows on which it fires, 0..1."""
    max_activation: float = 0.0
    n_windows: int = 0
    """Windows on which it fires."""
    n_documents: int = 0
    """Documents in which it fires."""
    list_sizes: Mapping[str, int] = field(default_factory=dict)
    """Records per list: `positives`, and each complementary source by its value. Fewer than requested where the corpus
    has no more."""
    checksum: int | None = None
    """CRC-32 of the file of its records; None where it has none, and in older folders."""
    more_checksum: int | None = None
    """CRC-32 of the file beside it, with same-token negatives, corpus records and strata; None where it has none."""
    shortfalls: Mapping[str, str] = field(default_factory=dict)
    """Why lists are shorter than requested, by list."""


@dataclass(frozen=True)
class LatentEvidence:
    """Activations of a latent on the windows of its records."""

    sequences: tuple[int, ...]
    """The windows, ascending."""
    texts: tuple[tuple[str, ...], ...]
    """Their tokens."""
    expressions: NDArray[np.float32]
    """Activations, float32 [windows, T]."""
    holistic_expressions: NDArray[np.float32] | None
    """Holistic activations, float32 [windows, T]; None where not measured."""
    max_expression: float
    """Largest activation over the whole corpus."""


def report_latent(
    latent: int, active: NDArray[np.integer], maxima: NDArray[np.floating], documents: NDArray[np.integer], least: int
) -> LatentReport:
    """Report a latent's status: live, rare or dead.

    Args:
        latent: its index.
        active: int [m], the windows on which it fires.
        maxima: float [m], its largest activation on each.
        documents: int [windows], the document of each window of the corpus.
        least: minimum number of documents; below it the latent is rare.
    """
    if len(active) == 0:
        return LatentReport(latent, "dead", f"it never fires on the {len(documents)} windows of the corpus")
    n_documents = len(np.unique(documents[active]))
    rare = n_documents < least
    return LatentReport(
        latent=latent,
        status="rare" if rare else "ok",
        reason=f"it fires in {n_documents} documents, at least {least} are needed" if rare else "",
        density=len(active) / len(documents),
        max_activation=float(maxima.max()),
        n_windows=len(active),
        n_documents=n_documents,
    )


def with_lists(report: LatentReport, selection: Selection, params: SampleParams) -> LatentReport:
    """Return a latent's report with the number of windows in each list, and the reasons for short lists."""
    chosen = selection.complementary
    sizes = {"positives": len(selection.positives)} | {one.value: len(chosen[one]) for one in sorted(chosen)}
    asked = dict.fromkeys(sizes, params.complementary_sample_n) | {"positives": params.top_sample_n}
    asked |= {ComplementaryRecordSource.CORPUS.value: N_SPLITS * sum(params.sample_sizes)}
    silent = {source.value for source in chosen if source.is_silent} if report.density == 1.0 else set()
    shortfalls = {
        name: EVERYWHERE if name in silent else f"the corpus gives {size} of {asked[name]} windows"
        for name, size in sizes.items()
        if size < asked[name]
    }
    return replace(report, list_sizes=sizes, shortfalls=shortfalls)


def index_record(identity: SAEIndexId, selection: Selection, evidence: LatentEvidence) -> SAEIndexRecord:
    """Build a latent's records; the largest holistic activation is that of the measured windows."""
    row_of = {sequence: row for row, sequence in enumerate(evidence.sequences)}
    holistic = evidence.holistic_expressions
    max_holistic = 0.0 if holistic is None else float(holistic.max(initial=0.0))

    def records(windows: tuple[int, ...], source: ComplementaryRecordSource | None) -> tuple[ActivationRecord, ...]:
        return tuple(
            ActivationRecord(
                tokens=evidence.texts[row_of[window]],
                expressions=tuple(evidence.expressions[row_of[window]].tolist()),
                holistic_expressions=() if holistic is None else tuple(holistic[row_of[window]].tolist()),
                dataset_index=window,
                max_expression=evidence.max_expression,
                max_holistic_expression=max_holistic,
                source=source,
            )
            for window in windows
        )

    def complementary(source: ComplementaryRecordSource) -> tuple[ActivationRecord, ...]:
        return records(selection.complementary.get(source, ()), source)

    sample = selection.sample
    corpus = zip(complementary(ComplementaryRecordSource.CORPUS), sample.numbers, strict=True)
    return SAEIndexRecord(
        id=identity,
        max_expression=evidence.max_expression,
        max_holistic_expression=max_holistic,
        most_act_records=records(selection.positives, None),
        random_records=complementary(ComplementaryRecordSource.RANDOM),
        random_no_act_records=complementary(ComplementaryRecordSource.RANDOM_NEGATIVE),
        similar_records=complementary(ComplementaryRecordSource.SIMILAR),
        similar_no_act_records=complementary(ComplementaryRecordSource.SIMILAR_NEGATIVE),
        similar_projected_records=complementary(ComplementaryRecordSource.SIMILAR_PROJECTED),
        similar_projected_no_act_records=complementary(ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED),
        same_token_no_act_records=complementary(ComplementaryRecordSource.SAME_TOKEN_NEGATIVE),
        corpus_records=tuple(replace(one, stratum=sample.strata[number].name) for one, number in corpus),
        strata=sample.strata,
        other_records=complementary(ComplementaryRecordSource.OTHER),
    )
