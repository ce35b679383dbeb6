"""The original's levels 0..5 of five records and of a grid of values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featureinterp.formatting import discretise

GOLDEN = json.loads((Path(__file__).parent / "data/formatting.json").read_text())


@pytest.mark.parametrize("record", GOLDEN["records"], ids=lambda record: str(record["dataset_index"]))
def test_levels_of_records_are_the_originals(record):
    assert discretise(record["expressions"], GOLDEN["max_expression"]).tolist() == record["formatted"]
    holistic = discretise(record["holistic_expressions"], GOLDEN["max_holistic_expression"])
    assert holistic.tolist() == record["formatted_holistic"]


@pytest.mark.parametrize("maximum", [5, 0])
def test_levels_of_the_grid_are_the_originals(maximum: int):
    assert discretise(GOLDEN["grid"], maximum).tolist() == GOLDEN[f"grid_formatted_max{maximum}"]


def test_the_golden_data_reach_several_levels():
    seen = {level for record in GOLDEN["records"] for level in record["formatted"] + record["formatted_holistic"]}
    assert {0, 1, 4} <= seen
    assert set(GOLDEN["grid_formatted_max5"]) == {0, 1, 2, 3, 4, 5}
