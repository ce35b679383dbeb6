"""Levels and lines, by hand."""

from __future__ import annotations

import math

import pytest

from featureinterp.errors import ActivationError
from featureinterp.formatting import discretise, format_record


def test_levels_round_down_and_only_the_maximum_is_five():
    assert discretise([0.0, 0.39, 0.4, 1.99, 2.0, 2.5, -1.0], 2.0).tolist() == [0, 0, 1, 4, 5, 5, 0]
    assert discretise([838861.4704352436], 838861.4704352436).tolist() == [5], "5·m/m is less than 5 in doubles here"
    assert discretise([1.0, 0.0], 0.0).tolist() == [0, 0]
    assert discretise([], 1.0).tolist() == []


@pytest.mark.parametrize(("values", "maximum"), [([math.nan], 1.0), ([0.0, math.inf], 1.0), ([1.0], math.nan)])
def test_what_is_not_finite_is_an_error(values, maximum):
    with pytest.raises(ActivationError, match="NaN or infinite"):
        discretise(values, maximum)


def test_one_line_per_token_whatever_is_in_it():
    assert format_record(["a", "\n", "\t", "\\n"], [0, 5, 1, 2]) == "a\t0\n\\n\t5\n\\t\t1\n\\\\n\t2"
    with pytest.raises(ValueError, match="shorter"):
        format_record(["a", "b"], [1])
