"""Every option has one home: its default is that of a dataclass field, its help the field's docstring."""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from featureinterp.cli.fields import field_options, first_sentence, only, with_fields_as_options
from featureinterp.cli.group import COMMANDS, load_command, load_function
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.explain import FeatureChoice, RunSpec
from featureinterp.experiment.paper.presets import DEMO_DATA, DemoSpec
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.llm.api.spending import RunLimits
from tests.arch.source import modules

ON_SCREEN = {
    *((name, "--out") for name in ("demo", "records", "estimate", "explain", "experiment", "results", "report")),
    *((name, "--out") for name in ("figures", "export", "import", "stability")),
    *((name, "--format") for name in ("results", "export", "audit")),
    *(("audit", "--data"), ("audit", "--out")),
    *(("demo", "--data"), ("experiment", "--data"), ("experiment", "--data-root")),
    *(("prompt", "--run"), ("prompt", "--attempt"), ("report", "--beside"), ("figures", "--latex")),
    *(("export", "--creator"), ("share", "--download")),
}
"""Options without a dataclass: where files are, which ones, and their format."""

MODEL = "local:m@http://127.0.0.1:9/v1"

REQUIRED = {
    "explain": ["data"],
    "experiment": ["layers"],
    "results": ["run"],
    "compare": ["a", "b"],
    "audit": ["run"],
    "show": ["run", "0", "0"],
    "prompt": ["data", "0", "0"],
    "report": ["run"],
    "figures": ["run"],
    "serve": ["run"],
    "export": ["run", "--format", "json", "--out", "out"],
    "share": ["data"],
    "fetch": ["smollm2"],
    "stability": ["data"],
    "import": ["source"],
}


def given_to(name: str, *words: str) -> dict[str, Any]:
    """Return what a command's function is called with for words of the command line."""
    calls: list[dict[str, Any]] = []

    def command(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def recorded(**given: Any) -> None:
            calls.append(given)

        return with_fields_as_options(recorded)

    app = typer.Typer(add_completion=False)
    app.command()(command(load_function(name)))
    app([*REQUIRED.get(name, []), *words], standalone_mode=False)
    [given] = calls
    return given


def docs_by_source() -> dict[tuple[str, str], str]:
    """Return the docstrings of dataclass fields in the sources, by class and field."""
    found: dict[tuple[str, str], str] = {}
    for tree in modules().values():
        for node in (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)):
            for field, doc in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr):
                    found[node.name, ast.unparse(field.target)] = ast.literal_eval(doc.value)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_home(name: str) -> None:
    fields = {option.name for option in field_options(load_function(name))}
    options = [option for option in load_command(name).params if option.opts[0].startswith("-")]
    homeless = {(name, option.opts[0]) for option in options if option.name not in fields}
    assert homeless == {each for each in ON_SCREEN if each[0] == name}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_first_sentence_of_the_fields_docstring(name: str) -> None:
    docs, options = docs_by_source(), {option.name: option for option in load_command(name).params}
    for field in field_options(load_function(name)):
        places = ((each.__name__, field.name) for each in field.owner.__mro__)
        doc = " ".join(next(docs[place] for place in places if place in docs).split())
        told = options[field.name].help
        assert told, field
        assert doc == told or (doc.startswith(f"{told} ") and told.endswith(".")), (field, doc, told)


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_are_those_of_the_dataclasses(name: str) -> None:
    """Without options, a command gets what Python gets by default."""
    defaults = {"data_spec": DEMO_DATA} if name == "demo" else {}
    parts = {key: value for key, value in given_to(name).items() if dataclasses.is_dataclass(value)}
    assert {option.parameter for option in field_options(load_function(name))} == set(parts)
    for key, value in parts.items():
        required = {"run": Path("run")} if name == "serve" else {}
        assert value == defaults.get(key, type(value)(**required)), key


def test_well_known_defaults_as_they_are_shown() -> None:
    shown = {option.name: option.default for option in load_command("explain").params}
    assert (shown["rule_cap"], shown["depth"], shown["width"]) == (5, 3, 3)  # of the original's README
    assert (shown["temperatures"], shown["latents"], shown["features"], shown["workers"]) == ("1.0", "", 0, 1)
    made = {option.name: option.default for option in load_command("records").params}
    assert (made["max_dataset_size"], made["max_features"], made["layers"]) == (100_000, 50, "all")
    assert (made["top_sample_n"], made["max_memory"], made["latents"]) == (90, 1.0, "")
    demo = {option.name: option.default for option in load_command("demo").params}
    assert (demo["n_features"], demo["max_dataset_size"]) == (24, 2000) == (DemoSpec().n_features, 2000)


def test_records_hold_three_splits_of_what_a_run_takes() -> None:
    assert DataSpec().top_sample_n == 3 * FeatureRunParams().positives_per_split
    assert DataSpec().complementary_sample_n == 3 * FeatureRunParams().negatives_per_split


@pytest.mark.parametrize(
    ("name", "words", "path", "value"),
    [
        ("explain", "--rule-cap 2", "spec.method.rule_cap", 2),
        ("explain", f"--proposer {MODEL} --temperature 0.7,none", "spec.method.temperatures", (0.7, None)),
        ("explain", f"--explainer {MODEL}", "spec.method.proposer", MODEL),
        ("explain", f"--explainer {MODEL}", "spec.method.explainer", "tree"),
        ("explain", f"--explainer {MODEL}", "spec.method.simulator", f"chat:{MODEL}"),
        ("explain", f"--explainer {MODEL} --simulator lexical", "spec.method.simulator", "lexical"),
        ("experiment", f"--proposer {MODEL} --simulator lexical", "how.base.simulator", "lexical"),
        ("explain", "", "spec.method.simulator", "lexical"),
        ("explain", "-E root_nodes=5 -E branching_factor=1", "spec.method.explainer_options.root_nodes", 5),
        ("explain", "--unstructured", "spec.method.structured", False),
        ("explain", "--latents 3,17", "choice.latents", (3, 17)),
        ("explain", "--features 4", "choice.features", 4),
        ("explain", "--features 0", "choice.features", None),
        ("explain", "--positives 7", "spec.records.positives_per_split", 7),
        ("explain", "--no-train-negatives", "spec.records.train_sources", ()),
        ("explain", "--no-train-negatives", "spec.records.valid_sources", FeatureRunParams().valid_sources),
        ("explain", "--max-cost 2.5 --offline", "spec.access.limits", RunLimits(max_cost=2.5)),
        ("explain", "--request-timeout 9", "spec.access.request_seconds", 9.0),
        ("explain", "--engine ray --address auto", "spec.engine.kind", "ray"),
        ("explain", "--engine ray --address auto", "spec.engine.workers", 1),
        ("records", "--max-memory 0.5", "spec.max_memory", 2**29),
        ("records", "--max-features 0", "spec.max_features", None),
        ("records", "--no-ascii-only --faiss", "spec.ascii_only", False),
        ("records", "--dtype bfloat16", "spec.dtype", "bfloat16"),
        ("records", "--write-records", "stages.names", ("records",)),
        ("records", "--device cpu", "access.device", "cpu"),
        ("estimate", "--write-holistic-acts", "stages.names", ("holistic_acts",)),
        ("demo", "--seed 3", "spec.seed", 3),
        ("demo", "--seed 3", "data_spec.seed", 3),
        ("demo", "--no-train-negatives", "spec.records.train_sources", ()),
        ("demo", "--features 5", "size.n_features", 5),
        ("experiment", "--variants a,b", "choice.variants", ("a", "b")),
        ("experiment", "--seed 2", "spec.seed", 2),
        ("experiment", "--no-ascii-only", "spec.ascii_only", False),
        ("experiment", "--workers 2", "how.engine.workers", 2),
        ("serve", "--max-tokens 5", "spec.simulation", RunLimits(max_tokens=5)),
        ("serve", "--port 0", "spec.simulation", None),
        ("prompt", "--negatives 0", "records.negatives_per_split", 0),
    ],
)
def test_an_option_reaches_its_field(name: str, words: str, path: str, value: object) -> None:
    found: Any = given_to(name, *words.split())
    for key in path.split("."):
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value


def test_one_option_changes_no_other_field() -> None:
    given = given_to("explain", "--width", "2")
    assert given["choice"] == FeatureChoice()
    changed = dataclasses.replace(RunSpec(), method=dataclasses.replace(RunSpec().method, width=2))
    assert given["spec"] == changed


@dataclass(frozen=True)
class Left:
    """A dataclass of a command."""

    size: int = 1
    """Number of things."""


@dataclass(frozen=True)
class Right:
    """Another one."""

    size: int = 2
    """Number of things."""


def test_one_option_with_two_defaults_is_an_error() -> None:
    def command(left: Left, right: Right) -> None: ...

    command.__annotations__ = {"left": Left, "right": Right}
    with pytest.raises(TypeError, match="size of Left and of Right differ"):
        field_options(command)


def test_a_selection_takes_nested_fields_by_name() -> None:
    def command(spec: Annotated[RunSpec, only("seed", "limits")]) -> None: ...

    command.__annotations__ = {"spec": Annotated[RunSpec, only("seed", "limits")]}
    assert [option.name for option in field_options(command)] == ["seed", "max_cost", "max_tokens"]


@pytest.mark.parametrize(
    ("doc", "sentence"),
    [
        ("Tokens per window.", "Tokens per window."),
        ("A path: .txt, .parquet, such as a.txt. In Python, a Path.", "A path: .txt, .parquet, such as a.txt."),
        ("", ""),
    ],
)
def test_first_sentences(doc: str, sentence: str) -> None:
    assert first_sentence(doc) == sentence


def test_no_module_reads_its_options_by_name() -> None:
    calls = [node for tree in modules().values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "locals"]


def test_options_of_new_data_beside_a_data_folder_are_an_error(cli, tmp_path: Path) -> None:
    words = ["--max-dataset-size", 50, "--no-ascii-only", "--data-root", tmp_path / "root"]
    told = cli("experiment", "layers", "--data", tmp_path / "data", "--out", tmp_path / "out", *words)
    assert told.code == 2
    assert "--max-dataset-size, --ascii-only, --data-root only" in told.err
    assert "--data" in told.err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_experiment_is_an_error_that_lists_them(cli, tmp_path: Path) -> None:
    told = cli("experiment", "sideways", "--out", tmp_path / "out")
    assert told.code == 2
    assert all(name in told.err for name in ("sideways", "complementary", "polysemanticity"))
