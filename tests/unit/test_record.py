"""Records, their scale, their slices, and splits that cannot leak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from featureinterp.errors import InputError
from featureinterp.record import (
    ActivationRecord,
    ComplementaryRecordSource,
    RecordSliceParams,
    SAEIndexId,
    SAEIndexRecord,
    Split,
    SplitParams,
    Splits,
    Stratum,
    corpus_weights,
    scale_to_levels,
    split_records,
)


def some(n: int, start: int = 0) -> tuple[ActivationRecord, ...]:
    return tuple(ActivationRecord(("a", "b"), (0.0, 1.0), (), start + i, 2.0) for i in range(n))


def indices(records) -> list[int]:
    return [record.dataset_index for record in records]


@pytest.fixture(scope="module")
def index_record() -> SAEIndexRecord:
    lists = [
        some(n, start)
        for start, n in ((0, 9), (100, 6), (200, 6), (300, 7), (400, 2), (500, 3), (600, 3), (700, 3), (800, 3))
    ]
    return SAEIndexRecord(SAEIndexId(3, 17), 2.0, 0.0, *lists)


def test_scale_is_five_at_the_maximum_and_clipped():
    assert scale_to_levels([-1.0, 0.0, 0.7, 2.0, 3.0], 2.0).tolist() == [0.0, 0.0, 1.75, 5.0, 5.0]
    assert scale_to_levels([1.0, 2.0], 0.0).tolist() == [0.0, 0.0]
    record = ActivationRecord(("a", "b"), (0.5, 1.0), (), 0, 2.0)
    assert record.scaled_activations().tolist() == [1.25, 2.5]


def test_a_records_lists_are_equally_long():
    with pytest.raises(InputError, match="sequence 7 has 2 tokens, 1 activations and 0 holistic"):
        ActivationRecord(("a", "b"), (1.0,), (), 7)
    with pytest.raises(InputError, match="2 tokens, 2 activations and 1 holistic"):
        ActivationRecord(("a", "b"), (1.0, 0.0), (0.5,), 7)


def test_active_is_any_activation_above_zero():
    assert ActivationRecord(("a", "b"), (0.0, 1e-9), (), 0).is_active
    assert not ActivationRecord(("a", "b"), (0.0, 0.0), (), 0).is_active
    assert not ActivationRecord((), (), (), 0).is_active


def test_a_split_is_every_third_record_and_all_are_equally_long():
    assert [indices(split_records(some(11), split)) for split in Split] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert [indices(split_records(some(11), split, 2)) for split in Split] == [[0, 3], [1, 4], [2, 5]]
    assert split_records(some(2), Split.TRAIN) == ()
    assert split_records(some(2), Split.TRAIN, 0) == ()
    with pytest.raises(InputError, match="4 records per split cannot be taken: 11 records give only 3"):
        split_records(some(11), Split.TEST, 4)


def test_each_source_has_its_own_list(index_record):
    lists = {source: indices(index_record.complementary_records(source)) for source in ComplementaryRecordSource}
    assert lists.pop(ComplementaryRecordSource.OTHER) == []
    starts = {source: numbers[0] for source, numbers in lists.items()}
    assert starts == {
        ComplementaryRecordSource.RANDOM: 100,
        ComplementaryRecordSource.RANDOM_NEGATIVE: 200,
        ComplementaryRecordSource.SIMILAR: 300,
        ComplementaryRecordSource.SIMILAR_NEGATIVE: 400,
        ComplementaryRecordSource.SIMILAR_PROJECTED: 500,
        ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED: 600,
        ComplementaryRecordSource.SAME_TOKEN_NEGATIVE: 700,
        ComplementaryRecordSource.CORPUS: 800,
    }


def test_a_split_of_a_latent_is_positives_then_complementary(index_record):
    assert indices(index_record.train_records()) == [0, 3, 6]
    assert indices(index_record.test_records(RecordSliceParams(1))) == [2]
    params = RecordSliceParams(2, 2, ComplementaryRecordSource.SIMILAR)
    assert indices(index_record.valid_records(params)) == [1, 4, 301, 304]
    assert indices(index_record.records(Split.TEST, params)) == [2, 5, 302, 305]
    with pytest.raises(InputError, match="1 records per split cannot be taken: 2 records give only 0"):
        index_record.test_records(RecordSliceParams(1, 1, ComplementaryRecordSource.SIMILAR_NEGATIVE))


def test_splits_take_their_own_sources_and_short_lists_give_what_they_have(index_record):
    random, similar = ComplementaryRecordSource.RANDOM, ComplementaryRecordSource.SIMILAR
    params = SplitParams(2, 5, (random,), (similar, random), test_sources=())
    splits = index_record.splits(params)
    assert indices(splits.train) == [0, 3, 100, 103]
    assert indices(splits.valid) == [1, 4, 301, 304, 101, 104]
    assert indices(splits.test) == [2, 5]
    assert [splits.of(split) for split in Split] == [splits.train, splits.valid, splits.test]
    assert index_record.splits() == index_record.splits(SplitParams())


def test_a_window_in_two_lists_comes_once_in_train_and_valid_and_twice_in_test():
    twice = SAEIndexRecord(SAEIndexId(3, 17), 2.0, 0.0, some(6), some(6), (), some(3, 50), ())
    splits = twice.splits()
    assert indices(splits.train) == [0, 3, 50]
    assert indices(splits.valid) == [1, 4, 51]
    assert indices(splits.test) == [2, 5, 2, 5, 52]


def test_splits_share_no_sequence():
    a, b, c = (some(3, start) for start in (0, 10, 20))
    assert Splits(a, b, c).test == c
    assert Splits(a + a, b, c).train == a + a, "a window may come twice in one split, from two lists"
    for parts, words in (((a, a[:1], c), "the train and the valid"), ((a, b, b[2:]), "the valid and the test")):
        with pytest.raises(InputError, match=words):
            Splits(*parts)
    with pytest.raises(InputError, match="sequence 2 is in both the train and the test split"):
        Splits(a, b, a[2:])


def test_corpus_records_stand_for_the_windows_of_their_stratum():
    strata = (Stratum("active", 12, True), Stratum("silent", 90, False), Stratum("never drawn", 5, False))
    names = ["active", "silent", "active", "silent", "silent"]
    records = [replace(record, stratum=name) for record, name in zip(some(5), names, strict=True)]
    assert corpus_weights(records, strata) == [6.0, 30.0, 6.0, 30.0, 30.0]
    assert corpus_weights([], strata) == []
    with pytest.raises(InputError, match="a record of stratum 'other' has no weight"):
        corpus_weights([replace(records[0], stratum="other")], strata)


def test_negatives_are_silent_by_their_name():
    silent = {source.value for source in ComplementaryRecordSource if source.is_silent}
    assert silent == {
        "same_token_negative", "random_negative", "similar_negative", "similar_negative_projected"
    }  # fmt: skip


def test_an_empty_source_says_why():
    same, similar = ComplementaryRecordSource.SAME_TOKEN_NEGATIVE, ComplementaryRecordSource.SIMILAR
    record = SAEIndexRecord(SAEIndexId(3, 17), 2.0, 0.0, some(3), (), (), (), ())

    def why(with_peak: int, other: int, source: ComplementaryRecordSource) -> str:
        strata = (Stratum("active", 9, True), Stratum("peak", with_peak, False), Stratum("other", other, False))
        return replace(record, strata=strata).why_empty(source)

    assert why(0, 0, same) == "fires on 100% of windows"
    assert why(0, 7, same) == "fires on every window that contains a peak token"
    assert why(1, 7, same) == "the corpus has too few same-token negatives for this latent"
    assert why(0, 0, similar) == "the corpus has too few similar sentences for this latent"
