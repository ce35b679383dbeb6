"""Two record files written by the original are read and written back without a difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featureinterp.codec import decode_index_record, encode_index_record
from featureinterp.record import ComplementaryRecordSource

FILES = sorted((Path(__file__).parent / "data/records/blocks.1.hook_resid_post").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_originals_files_survive_a_round_trip(path: Path):
    encoded = path.read_bytes()
    again = encode_index_record(decode_index_record(encoded))
    assert json.loads(again) == json.loads(encoded)
    assert list(json.loads(again)) == list(json.loads(encoded))


def kinds(value: object, path: str = "$") -> dict[str, type]:
    """Map the path of every value in some JSON to its type; the numbers of a list must all be of one."""
    if isinstance(value, dict):
        return {k: kind for key, inner in value.items() for k, kind in kinds(inner, f"{path}.{key}").items()}
    if isinstance(value, list):
        return {k: kind for n, inner in enumerate(value) for k, kind in kinds(inner, f"{path}[{n}]").items()}
    return {path: type(value)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_numbers_stay_of_their_kind(path: Path):
    """The original's reader is strict about types: an index is an int, an activation of 0 is 0.0."""
    before, after = (
        json.loads(path.read_bytes()),
        json.loads(encode_index_record(decode_index_record(path.read_bytes()))),
    )
    assert kinds(after) == kinds(before)
    assert set(kinds(before).values()) == {int, float, str}


def test_each_record_knows_its_latents_maxima_and_its_list():
    assert len(FILES) == 2
    raw = json.loads(FILES[0].read_bytes())
    record = decode_index_record(FILES[0].read_bytes())
    assert (record.id.layer_index, record.id.latent_index) == (1, 0)
    assert record.max_expression == 1.6148366928100586
    assert record.max_holistic_expression == 0.12347412109375
    assert all(r.source is None and r.max_expression == 1.6148366928100586 for r in record.most_act_records)
    for key, source in {
        "random_records": ComplementaryRecordSource.RANDOM,
        "random_no_act_records": ComplementaryRecordSource.RANDOM_NEGATIVE,
        "similar_records": ComplementaryRecordSource.SIMILAR,
        "similar_no_act_records": ComplementaryRecordSource.SIMILAR_NEGATIVE,
        "similar_projected_records": ComplementaryRecordSource.SIMILAR_PROJECTED,
        "similar_projected_no_act_records": ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED,
    }.items():
        records = record.complementary_records(source)
        assert [r.dataset_index for r in records] == [r["dataset_index"] for r in raw[key]]
        assert {r.source for r in records} == {source}
