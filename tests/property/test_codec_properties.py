from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from featureinterp.codec import decode, decode_index_record, encode, encode_index_record
from featureinterp.core import Score
from featureinterp.record import ActivationRecord, ComplementaryRecordSource, SAEIndexId, SAEIndexRecord

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
    ]
    identity = SAEIndexId(draw(st.integers(0, 99)), draw(st.integers(0, 2**20)))
    return SAEIndexRecord(identity, top, holistic_top, *(records(source) for source in sources))


@given(index_records())
def test_index_records_survive(record: SAEIndexRecord):
    encoded = encode_index_record(record)
    assert decode_index_record(encoded) == record
    assert encode_index_record(decode_index_record(encoded)) == encoded
    assert len(json.loads(encoded)["most_act_records"]) == len(record.most_act_records)
