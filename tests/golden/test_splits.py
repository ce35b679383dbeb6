"""The original's splits; where it fails an assertion, ours says in words how many records there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featureinterp.errors import InputError
from featureinterp.record import ActivationRecord, RecordSliceParams, SAEIndexId, SAEIndexRecord, Split

GOLDEN = json.loads((Path(__file__).parent / "data/splits.json").read_text())["splits"]


def indices(n: int, params: RecordSliceParams, split: str) -> list[int]:
    records = tuple(ActivationRecord(("a",), (1.0,), (), i, 1.0) for i in range(n))
    index = SAEIndexRecord(SAEIndexId(0, 0), 1.0, 0.0, records, (), (), (), ())
    return [record.dataset_index for record in index.records(Split[split.upper()], params)]


@pytest.mark.parametrize("key", GOLDEN)
def test_splits_are_the_originals(key: str):
    n, per_split, split = key.split("/")
    params = RecordSliceParams(None if per_split == "None" else int(per_split))
    if GOLDEN[key] != "AssertionError":
        assert indices(int(n), params, split) == GOLDEN[key]
        return
    with pytest.raises(InputError) as caught:
        indices(int(n), params, split)
    assert caught.value.problem == (
        f"{per_split} records per split cannot be taken: {n} records give only {int(n) // 3}"
    )
    assert caught.value.hint


def test_the_golden_data_hold_both_outcomes():
    failed = [key for key, value in GOLDEN.items() if value == "AssertionError"]
    assert 0 < len(failed) < len(GOLDEN)
