from __future__ import annotations

from dataclasses import replace

import numpy as np

from featureinterp.dataset.records.build import LatentEvidence, index_record, list_sizes, report_latent
from featureinterp.dataset.records.selection import Selection
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.record import SAEIndexId

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
    assert report.reason == "it fires in 2 documents, at least 3 are wanted"
    assert report_latent(7, active, maxima, DOCUMENTS, 2).status == "ok"


def test_records_carry_their_windows_maxima_and_lists():
    selection = Selection(
        (5, 2), {Source.SIMILAR_NEGATIVE: (0,), Source.SIMILAR: (), Source.RANDOM_NEGATIVE: (0,), Source.RANDOM: (6, 0)}
    )
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
    assert list_sizes(selection) == {
        "positives": 2,
        "random": 2,
        "random_negative": 1,
        "similar": 0,
        "similar_negative": 1,
    }
    unmeasured = index_record(SAEIndexId(3, 7), selection, replace(evidence, holistic_expressions=None))
    assert unmeasured.max_holistic_expression == 0.0
    assert all(one.holistic_expressions == () for one in unmeasured.most_act_records)
