"""Options as text: every text is read as its knob's type or refused with an InputError."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.errors import InputError
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.knobs import knobs, read_pairs, with_options


@dataclass(frozen=True)
class Inner:
    cost: float = 1.0
    """What it costs,
    in units."""


@dataclass(frozen=True)
class Params:
    n: int = 3
    """How many."""
    share: float = 0.5
    loud: bool = False
    name: str = "a"
    most: int | None = None
    sizes: tuple[int, ...] = (1, 2)
    temperatures: tuple[float | None, ...] = (None,)
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.n > 1000:
            raise ValueError("n is too large")


NAMES = [*knobs(Params())]


def set_to(name: str, value: object) -> Params:
    return with_options(Params(), {name: value}, "explainer mine")


def test_knobs_have_dotted_names_types_defaults_and_help() -> None:
    known = knobs(Params())
    assert NAMES == ["n", "share", "loud", "name", "most", "sizes", "temperatures", "kind", "inner.cost"]
    assert str(known["n"]) == "n=3 (How many)"
    assert str(known["inner.cost"]) == "inner.cost=1.0 (What it costs, in units)"
    assert str(known["sizes"]) == "sizes=1,2"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", "7", 7),
        ("share", "1", 1.0),
        ("loud", "true", True),
        ("name", "none", "none"),
        ("most", "none", None),
        ("most", "4", 4),
        ("sizes", "3, 4,5", (3, 4, 5)),
        ("sizes", "", ()),
        ("temperatures", "0.5,none", (0.5, None)),
        ("kind", "b", "b"),
    ],
)
def test_text_stands_for_a_value_of_the_knobs_type(name: str, text: str, value: object) -> None:
    assert getattr(set_to(name, text), name) == value
    assert getattr(set_to(name, value), name) == value


def test_inner_knobs_and_several_at_once() -> None:
    made = with_options(Params(), {"inner.cost": "2", "n": "4"}, "explainer mine")
    assert made == Params(n=4, inner=Inner(2.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", "1.5"), ("n", 1.5), ("n", "2000"), ("n", ""), ("share", "nan"), ("share", math.inf), ("loud", "maybe"),
     ("kind", "c"), ("sizes", "1,x"), ("sizes", 1), ("inner", "1"), ("inner.price", "1"), ("none", "1"), ("", "1"),
     ("name", 3), ("n", "9" * 5000)],
)  # fmt: skip
def test_what_does_not_fit_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError):
        set_to(name, value)


@given(st.sampled_from(NAMES), st.text())
def test_any_text_is_read_or_refused_and_what_is_read_is_json(name: str, text: str) -> None:
    try:
        made = set_to(name, text)
    except InputError:
        return
    value = made.inner.cost if name == "inner.cost" else getattr(made, name)
    json.dumps(msgspec.to_builtins(value), allow_nan=False)
    assert with_options(Params(), {name: value}, "explainer mine") == made


@given(st.lists(st.text(max_size=20)))
def test_any_pairs_are_read_or_refused(pairs: list[str]) -> None:
    try:
        options = read_pairs(pairs, "-E")
    except InputError:
        return
    assert len(options) == len(pairs)
    assert all(pair.partition("=")[0].strip() in options for pair in pairs)


@given(
    st.dictionaries(st.sampled_from(["root_nodes", "stop_score", "depth", "x", "k_worst_feedback_records"]), st.text())
)
def test_a_method_takes_options_or_refuses_them(options: dict[str, str]) -> None:
    try:
        spec = MethodSpec(explainer_options=options)
    except InputError:
        return
    json.dumps(spec.configuration(), allow_nan=False)
    assert MethodSpec(explainer_options=spec.explainer_options) == spec
    assert ("explainer_options" in spec.configuration()) == bool(options)
