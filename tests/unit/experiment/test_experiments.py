"""The table of experiments: registered ones, those of other modules, and the names that finished runs hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from featureinterp.errors import InputError
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.paper.declaration import Variant
from featureinterp.experiment.paper.experiments import EXPERIMENTS, experiment_of_runs, load_experiment
from featureinterp.experiment.paper.explainers import EXPLAINERS, LEXICAL_BASELINES
from featureinterp.experiment.paper.questions import single_run_questions

OWN = """
from featureinterp.experiment.paper.declaration import Experiment, Variant

WIDTHS = Experiment("widths", "Width", "Does width help?", (Variant("wide", {"width": 3}),), "all", 2)
FUNCTION = len
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "experiments_of_a_user"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_stands_in_the_table_under_its_own_name(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment.title and experiment.question.endswith("?")
    names = [variant.name for variant in (*experiment.variants, *experiment.on_request)]
    assert len(set(names)) == len(names) >= 1
    assert experiment.questions([variant.name for variant in experiment.variants])
    assert experiment_of_runs(name) is experiment


def test_a_variant_sets_its_own_settings_and_leaves_the_others_to_the_base() -> None:
    base = MethodSpec(explainer="tree", depth=1, rule_cap=2, explainer_options={"root_nodes": 7})
    every = {variant.name: variant for variant in (*EXPLAINERS.variants, *EXPLAINERS.on_request)}
    assert len(every) == 3 * 2**3 + len(LEXICAL_BASELINES)
    assert every["tree-unstructured-holistic"].method(base) == replace(base, structured=False, holistic=True)
    one_shot = every["one-shot-structured"].method(base)
    assert one_shot == replace(base, explainer="one-shot", explainer_options={})  # one-shot has no roots
    assert Variant("base", {}).method(base) == base
    with pytest.raises(InputError, match="variant wrong sets height, structure"):
        Variant("wrong", {"structure": True, "height": 1, "width": 2})


def test_a_language_model_is_measured_under_its_simulator_and_under_the_lexical_one() -> None:
    base = MethodSpec(proposer="openai:m", temperatures=(0.5,), holistic=True)
    same, own = (variant.method(base) for variant in LEXICAL_BASELINES)
    assert (same.proposer, same.simulator, same.temperatures) == ("lexical", "chat:openai:m", (1.0,))
    assert (own.proposer, own.simulator) == ("lexical", "lexical")
    assert own == replace(same, simulator="lexical")
    asked = EXPLAINERS.questions(["tree-structured", *(variant.name for variant in LEXICAL_BASELINES)])
    assert [(q.a.name, q.b.name) for q in asked] == [("tree-structured", each.name) for each in LEXICAL_BASELINES]


def test_a_language_model_in_a_variant_is_not_judged_by_the_lexical_simulator_of_the_base() -> None:
    for settings in ({"proposer": "openai:m"}, {"explainer": "openai:m"}):
        assert Variant("model", settings).method(MethodSpec()).simulator == "chat:openai:m"
        assert Variant("model", settings).method(MethodSpec(simulator="hf:x")).simulator == "hf:x"
        assert Variant("model", {**settings, "simulator": "lexical"}).method(MethodSpec()).simulator == "lexical"


def test_an_experiment_of_another_module_is_named_by_its_place(own_module: str) -> None:
    widths = load_experiment(f"{own_module}:WIDTHS")
    assert (widths.name, [variant.method(MethodSpec()).width for variant in widths.variants]) == ("widths", [3])
    assert widths.questions is single_run_questions
    with pytest.raises(InputError, match="is builtin_function_or_method"):
        load_experiment(f"{own_module}:FUNCTION")
    with pytest.raises(InputError, match="cannot be imported: AttributeError"):
        load_experiment(f"{own_module}:NOTHING")
    with pytest.raises(InputError, match="there is no experiment 'three-shot'"):
        load_experiment("three-shot")


def test_a_registered_experiment_has_one_name(own_module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPERIMENTS, "breadths", f"{own_module}:WIDTHS")
    with pytest.raises(InputError, match="registered as 'breadths' has the name 'widths'"):
        load_experiment("breadths")
    monkeypatch.setitem(EXPERIMENTS, "widths", f"{own_module}:WIDTHS")
    assert experiment_of_runs("widths").title == "Width"


def test_a_name_from_a_file_imports_nothing(own_module: str) -> None:
    unknown = experiment_of_runs(f"{own_module}:WIDTHS")
    assert own_module not in sys.modules
    assert (unknown.name, unknown.variants) == (f"{own_module}:WIDTHS", ())
    assert unknown.questions(["mine"]) == single_run_questions(["mine"]) == experiment_of_runs("").questions(["mine"])
