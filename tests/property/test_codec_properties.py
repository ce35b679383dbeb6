from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.codec import (
    decode,
    decode_index_record,
    decode_more_records,
    encode,
    encode_index_record,
    encode_more_records,
)
from featureinterp.core import Score
from featureinterp.errors import DataFolderError, InputError
from featureinterp.record import ActivationRecord, ComplementaryRecordSource, SAEIndexId, SAEIndexRecord, Stratum

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(numbers, numbers)
def test_floats_survive_bit_for_bit(value: float, low: float):
    again = decode(encode(Score(value, low)), Score)
    assert again.value is not None and again.ci_low is not None
    assert (again.value.hex(), again.ci_low.hex()) == (value.hex(), low.hex())


@st.composite
def index_records(draw: st.DrawFn) -> SAEIndexRecord:
    top, holistic_top = draw(numbers), draw(numbers)

    def records(source: ComplementaryRecordSource | None) -> tuple[ActivationRecord, ...]:
        made = []
        for _ in range(draw(st.integers(0, 3))):
            n = draw(st.integers(0, 4))
            values = st.lists(numbers, min_size=n, max_size=n).map(tuple)
            tokens = draw(st.lists(texts, min_size=n, max_size=n).map(tuple))
            holistic = draw(values) if draw(st.booleans()) else ()
            index = draw(st.integers(0, 2**31 - 1))
            made.append(ActivationRecord(tokens, draw(values), holistic, index, top, holistic_top, source))
        return tuple(made)

    sources = [
        None,
        ComplementaryRecordSource.RANDOM,
        ComplementaryRecordSource.RANDOM_NEGATIVE,
        ComplementaryRecordSource.SIMILAR,
        ComplementaryRecordSource.SIMILAR_NEGATIVE,
        ComplementaryRecordSource.SIMILAR_PROJECTED,
        ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED,
        ComplementaryRecordSource.SAME_TOKEN_NEGATIVE,
    ]
    identity = SAEIndexId(draw(st.integers(0, 99)), draw(st.integers(0, 2**20)))
    names = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    strata = tuple(Stratum(name, draw(st.integers(0, 2**31)), draw(st.booleans())) for name in names)
    corpus = tuple(
        replace(one, stratum=draw(st.sampled_from(names))) for one in records(ComplementaryRecordSource.CORPUS)
    )
    lists = (records(source) for source in sources)
    return SAEIndexRecord(identity, top, holistic_top, *lists, corpus_records=corpus, strata=strata)


@given(index_records())
def test_index_records_survive(record: SAEIndexRecord):
    encoded = encode_index_record(record)
    plain = replace(record, same_token_no_act_records=(), corpus_records=(), strata=())
    assert decode_index_record(encoded) == plain
    assert decode_more_records(encode_more_records(record), plain) == record
    assert encode_index_record(decode_index_record(encoded)) == encoded
    assert len(json.loads(encoded)["most_act_records"]) == len(record.most_act_records)


@given(index_records(), st.data())
def test_a_damaged_second_file_is_one_error(record: SAEIndexRecord, data: st.DataObject):
    content = bytearray(encode_more_records(record))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    try:
        decode_more_records(bytes(content), record)
    except DataFolderError as error:
        assert "record file" in error.problem
    with pytest.raises(DataFolderError):
        decode_more_records(bytes(content[:place]), record)


def test_strata_and_addresses_are_checked():
    one = ActivationRecord(("a",), (1.0,), (), 0, 1.0, source=ComplementaryRecordSource.CORPUS, stratum="active")
    record = SAEIndexRecord(SAEIndexId(1, 2), 1.0, 0.0, (), (), (), (), (), corpus_records=(one,))
    with pytest.raises(InputError, match="a corpus record is from stratum 'active'"):
        encode_more_records(record)
    encoded = encode_more_records(replace(record, strata=(Stratum("active", 3, True),)))
    with pytest.raises(DataFolderError, match="holds latent 2, but its path names latent 3"):
        decode_more_records(encoded, replace(record, id=SAEIndexId(1, 3)))
    with pytest.raises(DataFolderError, match="has a record of stratum 7, there are 1 strata"):
        decode_more_records(encoded.replace(b'"stratum":0', b'"stratum":7'), record)
