from __future__ import annotations

import json
import math

import pytest

from featureinterp.codec import (
    SCHEMA_VERSION,
    decode,
    decode_index_record,
    encode,
    encode_index_record,
)
from featureinterp.core import Rule, Score, StructuredExplanation
from featureinterp.errors import DataFolderError, InputError
from featureinterp.record import ActivationRecord, SAEIndexId, SAEIndexRecord

EXPLANATION = StructuredExplanation((Rule("the token ' raise'", 5), Rule('a "quoted" <script>', 2)))


def index_record(**changes: object) -> SAEIndexRecord:
    one = ActivationRecord((" a", "\n"), (0.1, 0.0), (), 7, max_expression=0.1)
    lists = dict.fromkeys(["random_records", "random_no_act_records", "similar_records", "similar_no_act_records"], ())
    fields = {"id": SAEIndexId(1, 2), "max_expression": 0.1, "max_holistic_expression": 0.0, "most_act_records": (one,)}
    return SAEIndexRecord(**{**fields, **lists, **changes})  # pyright: ignore[reportArgumentType]


def raw_index_record() -> dict:
    return json.loads(encode_index_record(index_record()))


def test_an_encoded_noun_says_its_version_and_type():
    raw = json.loads(encode(EXPLANATION))
    assert raw["schema"] == SCHEMA_VERSION and raw["type"] == "StructuredExplanation"
    assert raw["data"]["rules"][0] == {"activates_on": "the token ' raise'", "strength": 5}
    assert decode(encode(EXPLANATION), StructuredExplanation) == EXPLANATION


def test_another_version_is_refused_with_both_numbers():
    other = json.dumps({**json.loads(encode(EXPLANATION)), "schema": 99})
    with pytest.raises(DataFolderError, match=r"row 3 has schema version 99, .* reads version 1"):
        decode(other, StructuredExplanation, "row 3")


def test_another_type_is_refused_with_both_names():
    with pytest.raises(DataFolderError, match="holds a StructuredExplanation; expected a Score"):
        decode(encode(EXPLANATION), Score)


def test_a_wrong_field_is_named_by_its_path():
    raw = json.loads(encode(EXPLANATION))
    raw["data"]["rules"][1]["strength"] = "two"
    with pytest.raises(DataFolderError, match=r"\$\.rules\[1\]\.strength|\$\.rules\[\.\.\.\]\.strength"):
        decode(json.dumps(raw), StructuredExplanation)


def test_a_value_the_noun_itself_refuses_is_a_data_error():
    raw = json.loads(encode(EXPLANATION))
    raw["data"]["rules"][1]["strength"] = 9
    with pytest.raises(DataFolderError, match="strength is 9"):
        decode(json.dumps(raw), StructuredExplanation)


@pytest.mark.parametrize("bad", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_bytes_that_are_no_json_object_are_refused(bad: bytes):
    with pytest.raises(DataFolderError, match="run.sqlite cannot be read"):
        decode(bad, Score, "run.sqlite")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_say_is_refused(value: float):
    with pytest.raises(InputError, match=r"\$\.value is (nan|-?inf)"):
        encode(Score(value))
    with pytest.raises(InputError, match=r"\$\.max_expression is (nan|-?inf)"):
        encode_index_record(index_record(max_expression=value))


def test_a_missing_projected_list_is_empty_and_every_other_key_is_needed():
    raw = raw_index_record()
    del raw["similar_projected_records"]
    assert decode_index_record(json.dumps(raw)).similar_projected_records == ()
    del raw["random_records"]
    with pytest.raises(DataFolderError, match=r"0\.json cannot be read: .*random_records"):
        decode_index_record(json.dumps(raw), "0.json")


def test_an_unknown_key_is_refused():
    raw = raw_index_record() | {"randm_records": []}
    with pytest.raises(DataFolderError, match="randm_records"):
        decode_index_record(json.dumps(raw))


def test_a_record_whose_lists_differ_in_length_is_named():
    raw = raw_index_record()
    raw["most_act_records"][0]["expressions"] = [1.0]
    with pytest.raises(DataFolderError, match=r"2 tokens, 1 activations .*\$\.most_act_records\[0\]"):
        decode_index_record(json.dumps(raw))


@pytest.mark.parametrize("half", ["\ud83d", "a\udc00b"])
def test_half_a_character_is_refused_with_its_place(half: str) -> None:
    with pytest.raises(InputError, match=r"\$\.rules\[1\]\.activates_on is .* a lone surrogate"):
        encode(StructuredExplanation((Rule("whole \U0001f600", 1), Rule(half, 2))))
