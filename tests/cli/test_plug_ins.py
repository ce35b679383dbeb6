"""A whole run with parts that others wrote: named by their place or by an entry point, with knobs of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from featureinterp.experiment.explain import RunSpec
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.store import RunStore
from tests.cli.test_docs import run_block
from tests.cli.test_extending import FILES, SNIPPETS
from tests.cli.tiny import Outcome, run_command
from tests.programs import run_program

ROOT = Path(__file__).resolve().parents[2]
POINTS = """\
[featureinterp.explainers]
mine = my_method:MyExplainer

[featureinterp.proposers]
top = top_tokens:TopTokens

[featureinterp.simulators]
quoted = quoted_tokens:make_quoted_tokens

[featureinterp.scorers]
peaks = peaks:peaks_found
"""
SCORE = """\
import sys
from pathlib import Path
from featureinterp.experiment.store import RunStore
from featureinterp.scoring import score_with
from peaks import peaks_found

with RunStore.open(Path(sys.argv[1])) as run:
    result = next(result for result in run.results() if result.explanation is not None)
by_name, by_function = (score_with(each, result.test_sequences) for each in ("peaks", peaks_found))
assert by_name == by_function, (by_name, by_function)
"""


@pytest.fixture
def plug_ins(tmp_path: Path) -> Path:
    """A folder with the page's files."""
    folder = tmp_path / "plug_ins"
    folder.mkdir()
    for name, code in FILES.items():
        (folder / name).write_text(code)
    return folder


def python(path: Path, *arguments: object) -> Outcome:
    """Run Python with a folder on its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    ended = run_program(*arguments, folder=path, environment=environment)
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def method_of(run: Path) -> dict[str, Any]:
    with RunStore.open(run) as store:
        return json.loads(store.about()["configuration"])["method"]


def attempts_of(run: Path) -> list[int]:
    with RunStore.open(run) as store:
        return [len(result.attempts) for result in store.results() if result.status == "explained"]


def test_the_pages_explainer_makes_a_run_with_its_knob_from_the_command_line(
    plug_ins: Path, data: Path, tmp_path: Path
) -> None:
    explain = ("-m", "featureinterp.cli", "explain", data, "--features", 2, "--explainer", "my_method:MyExplainer")
    run = tmp_path / "mine"
    made = python(plug_ins, *explain, "-E", "proposals=3", "--out", run, "--workers", 2)
    assert made.code == 0, made.err
    assert set(attempts_of(run)) == {3}
    method = method_of(run)
    assert (method["explainer"], method["explainer_options"]) == ("my_method:MyExplainer", {"proposals": 3})

    again = python(plug_ins, *explain, "-E", "proposals=3", "--out", run)
    assert again.code == 0, again.err
    other = python(plug_ins, *explain, "-E", "proposals=4", "--out", run)
    assert other.code == 2
    assert "explainer_options.proposals=3 instead of 4" in " ".join(other.err.split())
    unknown = python(plug_ins, *explain, "-E", "proposal=4", "--out", tmp_path / "none")
    assert unknown.code == 2
    told = " ".join(unknown.err.split())
    assert "has no option 'proposal'" in told
    assert "proposals=5 (First proposals; the best on valid records is taken)" in told
    assert not (tmp_path / "none").exists()


def test_parts_of_an_installed_package_are_named_by_its_entry_points(
    plug_ins: Path, data: Path, tmp_path: Path
) -> None:
    installed = plug_ins / "mine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(POINTS)
    parts = ("--explainer", "mine", "-E", "proposals=2", "--proposer", "top", "--simulator", "quoted")
    run = tmp_path / "named"
    made = python(plug_ins, "-m", "featureinterp.cli", "explain", data, "--features", 1, *parts, "--out", run)
    assert made.code == 0, made.err
    method = method_of(run)
    assert [method[part] for part in ("explainer", "proposer", "simulator")] == ["mine", "top", "quoted"]
    assert attempts_of(run) == [2]
    assert "simulator_prompt_version" not in method
    scored = python(plug_ins, "-c", SCORE, run)
    assert scored.code == 0, scored.err


def test_options_reach_proposer_and_simulator_and_old_runs_name_none(data: Path, tmp_path: Path) -> None:
    plain, priced = tmp_path / "plain", tmp_path / "priced"
    for run, options in ((plain, ()), (priced, ("-P", "mining.rule_cost=1e9", "-E", "root_nodes=1"))):
        made = run_command("explain", data, "--features", 2, "--depth", 1, *options, "--out", run)
        assert made.code == 0, made.err
    assert not {"explainer_options", "proposer_options", "simulator_options"} & method_of(plain).keys()
    assert method_of(priced)["proposer_options"] == {"mining.rule_cost": 1e9}
    with RunStore.open(plain) as store:
        assert all(result.status == "explained" for result in store.results())
    with RunStore.open(priced) as store:
        results = list(store.results())
    assert all(result.status == "failed" and len(result.attempts) == 1 for result in results)
    assert "no rule is worth its words" in results[0].reason


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-E", "depth=2"), "depth has an option of its own"),
        (("-E", "root_nodes"), "write -E key=value"),
        (("-P", "alternatives=1", "-P", "alternatives=2"), "given twice"),
        (("-S", "dtype=float32"), "the simulator lexical has no option 'dtype'"),
        (("-E", "stop_score=inf"), "expected a finite number"),
        (("--explainer", "no_such_module:Method"), "no_such_module"),
        (("--explainer", "json:Method"), "has no attribute 'Method'"),
        (("--explainer", "json:__name__"), "name a class or a function"),
        (("--explainer", "trees"), "use one of: best-of-n, one-shot, tree"),
        (("--simulator", "json:Method"), "has no attribute 'Method'"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    options: tuple[str, ...], told: str, data: Path, tmp_path: Path
) -> None:
    ended = run_command("explain", data, "--features", 1, *options, "--out", tmp_path / "run")
    assert ended.code == 2
    assert told in " ".join(ended.err.split())
    assert not (tmp_path / "run").exists()


def test_a_module_that_breaks_on_import_is_an_input_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, code in (
        ("broken_syntax", "def"),
        ("broken_import", "import no_such_thing"),
        ("broken_value", "int('x')"),
    ):
        (tmp_path / f"{name}.py").write_text(code)
        ended = run_command("explain", data, "--explainer", f"{name}:Method", "--out", tmp_path / "run")
        assert ended.code == 2
        assert "cannot be imported" in " ".join(ended.err.split())


def test_a_search_of_an_experiment_gets_the_knobs_that_it_has() -> None:
    base = MethodSpec(explainer_options={"root_nodes": "5"})
    assert base.with_explainer("one-shot").explainer_options == {}
    assert base.with_explainer("tree").explainer_params().root_nodes == 5
    assert MethodSpec(proposer_options={"alternatives": 1}).baseline().proposer_options == {}


def test_the_pages_spec_is_that_of_its_command(plug_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(plug_ins))
    spec = run_block(SNIPPETS[0], RunSpec=RunSpec, MethodSpec=MethodSpec)["spec"]
    assert spec.method.explainer_params().proposals == 8
