from __future__ import annotations

from dataclasses import replace

import numpy as np

from featureinterp.dataset.records.build import LatentEvidence, index_record, report_latent, with_lists
from featureinterp.dataset.records.corpus_sample import CorpusSample
from featureinterp.dataset.records.selection import SampleParams, Selection
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.record import SAEIndexId, Stratum

DOCUMENTS = np.array([0, 0, 1, 2, 2, 3, 4, 5])


def test_a_latent_that_never_fires_is_dead():
    report = report_latent(7, np.array([], dtype=int), np.array([], dtype=np.float32), DOCUMENTS, 2)
    assert (report.latent, report.status, report.density, report.max_activation) == (7, "dead", 0.0, 0.0)
    assert report.reason == "it never fires on the 8 windows of the corpus"


def test_documents_and_not_windows_make_a_latent_rare():
    active, maxima = np.array([0, 1, 3]), np.array([1.0, 2.5, 0.5], dtype=np.float32)
    report = report_latent(7, active, maxima, DOCUMENTS, 3)
    assert (report.status, report.n_windows, report.n_documents) == ("rare", 3, 2)
    assert (report.density, report.max_activation) == (3 / 8, 2.5)
    assert report.reason == "it fires in 2 documents, at least 3 are needed"
    assert report_latent(7, active, maxima, DOCUMENTS, 2).status == "ok"


def test_records_carry_their_windows_maxima_and_lists():
    lists = {Source.SIMILAR_NEGATIVE: (0,), Source.SIMILAR: (), Source.RANDOM_NEGATIVE: (0,), Source.RANDOM: (6, 0)}
    strata = (Stratum("active", 3, True), Stratum("silent", 5, False))
    added = {Source.SAME_TOKEN_NEGATIVE: (0,), Source.CORPUS: (2, 0, 5)}
    selection = Selection((5, 2), lists | added, CorpusSample(strata, (2, 0, 5), (0, 1, 0)))
    assert selection.sequences == (0, 2, 5, 6)
    evidence = LatentEvidence(
        sequences=selection.sequences,
        texts=(("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")),
        expressions=np.array([[0, 0], [0.1, 0], [0, 2.5], [0.5, 0]], dtype=np.float32),
        holistic_expressions=np.array([[0, 0], [0.25, 0], [-1, 0], [0, 0.125]], dtype=np.float32),
        max_expression=4.0,
    )
    record = index_record(SAEIndexId(3, 7), selection, evidence)
    assert record.id == SAEIndexId(3, 7)
    assert (record.max_expression, record.max_holistic_expression) == (4.0, 0.25)
    first, second = record.most_act_records
    assert (first.dataset_index, first.tokens, first.expressions) == (5, ("e", "f"), (0.0, 2.5))
    assert (second.dataset_index, second.expressions[0]) == (2, float(np.float32(0.1)))
    assert second.holistic_expressions == (0.25, 0.0) and second.source is None
    assert [one.dataset_index for one in record.random_records] == [6, 0]
    assert {one.source for one in record.random_records} == {Source.RANDOM}
    assert {one.max_expression for one in record.random_records} == {4.0}
    assert record.similar_records == ()
    assert [(one.dataset_index, one.source) for one in record.same_token_no_act_records] == [
        (0, Source.SAME_TOKEN_NEGATIVE)
    ]
    assert [(one.dataset_index, one.stratum) for one in record.corpus_records] == [
        (2, "active"),
        (0, "silent"),
        (5, "active"),
    ]
    assert {one.source for one in record.corpus_records} == {Source.CORPUS} and record.strata == strata
    assert [one.dataset_index for one in record.active_records] == [2, 5]
    unmeasured = index_record(SAEIndexId(3, 7), selection, replace(evidence, holistic_expressions=None))
    assert unmeasured.max_holistic_expression == 0.0
    assert all(one.holistic_expressions == () for one in unmeasured.most_act_records)


def test_a_report_says_which_lists_are_short():
    report = report_latent(7, np.array([0, 1, 3]), np.ones(3, np.float32), DOCUMENTS, 2)
    chosen = {Source.RANDOM: (1, 2, 3), Source.RANDOM_NEGATIVE: (), Source.CORPUS: (4, 5, 6)}
    selection = Selection((5, 2, 7), chosen)
    found = with_lists(report, selection, SampleParams(top_sample_n=3, complementary_sample_n=3))
    assert found.list_sizes == {"positives": 3, "corpus": 3, "random": 3, "random_negative": 0}
    assert found.shortfalls == {
        "corpus": "the corpus gives 3 of 6 windows",
        "random_negative": "the corpus gives 0 of 3 windows",
    }


def test_a_latent_without_silent_windows_says_that_it_fires_everywhere():
    report = report_latent(7, np.arange(8), np.ones(8, np.float32), DOCUMENTS, 2)
    selection = Selection((5, 2, 7), dict.fromkeys((Source.RANDOM, Source.SAME_TOKEN_NEGATIVE), ()))
    found = with_lists(report, selection, SampleParams(top_sample_n=3, complementary_sample_n=3))
    assert found.shortfalls == {
        "random": "the corpus gives 0 of 3 windows",
        "same_token_negative": "fires on 100% of windows",
    }
