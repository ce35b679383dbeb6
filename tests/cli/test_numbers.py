"""Every number of every command: out of range it is refused by its name, in range it means what the help says."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from featureinterp.cli.fields import with_fields_as_options
from featureinterp.cli.group import COMMANDS, load_command, load_function
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import FeatureInterpError, InputError
from featureinterp.experiment.engines.open import EngineSpec
from featureinterp.experiment.explain import FeatureChoice, RunSpec
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.paper.layers import LAYERS
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.explainer import OneShotExplainerParams, TreeExplainerParams
from featureinterp.explainer.lexical.mining import MiningParams
from featureinterp.explainer.lexical.proposer import LexicalProposerParams
from featureinterp.llm.local.model import LocalModelParams
from featureinterp.record import RecordSliceParams, Split, split_records

ROOT = Path(__file__).resolve().parents[2]
HUGE = 10**12
ABSURD = ("-1", "0", str(HUGE), "nan", "inf", "-inf", "1e999", "9" * 5000, "", "x", "0x10")

ARGUMENTS = {
    "records": ("--dataset-name", "{nowhere}/corpus.txt"),
    "estimate": ("--dataset-name", "{nowhere}/corpus.txt"),
    "demo": ("--dataset-name", "{nowhere}/corpus.txt", "--out", "{nowhere}/run"),
    "explain": ("{nowhere}/data", "--out", "{nowhere}/run"),
    "experiment": ("layers", "--data", "{nowhere}/data", "--out", "{nowhere}/run"),
    "serve": ("{nowhere}/run",),
    "prompt": ("{nowhere}/data", "0", "0"),
    "show": ("{nowhere}/run", "0", "0"),
    "stability": ("{nowhere}/data", "--out", "{nowhere}/runs"),
}
"""What each command needs besides: a corpus, a data folder, a run that is not there."""

IN_RANGE = {
    "features": ("0", str(HUGE)),
    "latents_per_layer": ("0", str(HUGE)),
    "max_features": ("0", str(HUGE)),
    "negatives": ("0", str(HUGE)),
    "complementary_sample_n": ("0", str(HUGE)),
    "seed": ("-1", "0", str(HUGE)),
    "attempt": ("0", str(HUGE)),
    "port": ("0",),
    "max_cost": (str(HUGE), "inf", "1e999", "9" * 5000),
    "max_memory": (str(HUGE),),
    **{name: (str(HUGE),) for name in ("max_dataset_size", "top_sample_n", "quantile_n", "special_n", "positives")},
    "max_tokens": (str(HUGE),),
    "max_seq_length": (str(HUGE),),
    "rule_cap": (),
    "depth": (),
    "width": (),
    "concurrency": (),
    "workers": (),
    "draws": (str(HUGE),),
    "proposals": (str(HUGE),),
}
"""Absurd values that have a meaning; all others of the same option are refused by its name."""


def numeric_options() -> Iterator[tuple[str, str]]:
    for name in COMMANDS:
        hints = inspect.signature(with_fields_as_options(load_function(name))).parameters
        for option in load_command(name).params:
            kind = typing.get_args(hints[option.name].annotation)[0]
            if {int, float} & {kind, *typing.get_args(kind)} and option.name not in ("layer", "latent"):
                yield name, option.opts[0].removeprefix("--").replace("-", "_")


@pytest.mark.parametrize(("command", "option"), list(numeric_options()))
def test_absurd_numbers(cli, tmp_path_factory: pytest.TempPathFactory, command: str, option: str) -> None:
    nowhere = tmp_path_factory.mktemp("a") / "nowhere"
    given = [word.format(nowhere=nowhere) for word in ARGUMENTS[command]]
    for value in ABSURD:
        told = cli(command, *given, f"--{option.replace('_', '-')}", value)
        assert told.code == 2, (value, told)
        assert "Traceback" not in told.err
        if option in IN_RANGE and value not in IN_RANGE[option]:
            words = told.err.replace("-", "_")
            assert option in words or _other_words(option) in told.err, (value, told.err)
    assert not nowhere.exists()


def _other_words(option: str) -> str:
    return {
        "max_seq_length": "windows of",
        "max_dataset_size": "a data set of",
        "positives": "positives_per_split",
    }.get(option, option)


@pytest.mark.parametrize("option", ["latents", "layers", "temperatures"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "9" * 5000, "1e999", "0,,1", "٣", "spaced:-1", "spaced:0"])
def test_absurd_lists(cli, tiny, data, tmp_path, option, value) -> None:
    told = cli(
        "explain", data, "--out", tmp_path / "run", "--proposer", "local:m@http://127.0.0.1:9/v1", f"--{option}", value
    )
    assert told.code == 2
    assert len(told.err.strip().splitlines()) == 1
    assert option in told.err
    assert not (tmp_path / "run").exists()


def test_zero_and_huge_counts_mean_what_help_says(cli, tiny, tmp_path) -> None:
    """None of the other sentences; all there are."""
    most = [f"--{name}" for name in ("top-sample-n", "special-n", "max-dataset-size")]
    sizes = ["--max-features", "0", "--seed", "-1", "--quantile-n", "1", "--complementary-sample-n", str(HUGE)]
    sizes += [word for name in most for word in (name, str(HUGE))]
    made = cli("records", "--out", tmp_path, *tiny.options(), "--layers", "0", *sizes)
    assert made.code == 0, made.err
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    records = ("--positives", HUGE, "--negatives", 0, "--features", HUGE, "--depth", 1, "--seed", -(2**63))
    made = cli("explain", folder, "--out", tmp_path / "run", *records)
    assert made.code == 0, made.err
    rows = [json.loads(line) for line in cli("results", tmp_path / "run", "--format", "jsonl").out.splitlines()]
    explained = [row for row in rows if row["status"] == "explained"]
    assert explained
    assert all(row["scores"].get("similar", {}).get("n_complementary", 0) == 0 for row in explained)
    prompt = cli("prompt", folder, 0, explained[0]["latent"], "--positives", HUGE, "--negatives", 0)
    assert prompt.code == 0, prompt.err


@pytest.mark.parametrize(
    ("make", "name", "good", "bad"),
    [
        (RecordSliceParams, "positive_examples_per_split", (0, 5, None), (-1, math.nan, -(10**30))),
        (RecordSliceParams, "complementary_examples_per_split", (0, 5, None), (-1, math.nan)),
        (FeatureRunParams, "positives_per_split", (1, 10**30), (-1, 0, math.nan)),
        (FeatureRunParams, "negatives_per_split", (0, 10**30), (-1, math.nan)),
        (OneShotExplainerParams, "rule_cap", (1, 100), (-1, 0, 101, math.nan)),
        (OneShotExplainerParams, "temperatures", ((0.0, 2.0),), ((), (-0.1,), (math.nan,), (math.inf,))),
        (TreeExplainerParams, "rule_cap", (1, 100), (-1, 0, HUGE)),
        (TreeExplainerParams, "depth", (0, 100), (-1, HUGE, math.inf)),
        (TreeExplainerParams, "width", (1, 100), (-1, 0, HUGE)),
        (TreeExplainerParams, "root_nodes", (1, 100), (-1, 0, HUGE)),
        (TreeExplainerParams, "branching_factor", (1, 100), (-1, 0, HUGE)),
        (TreeExplainerParams, "stop_score", (-1, 1), (math.nan, 1.1)),
        (TreeExplainerParams, "k_worst_feedback_records", (0, 7), (-1,)),
        (MethodSpec, "depth", (1, 100), (-1, 0, HUGE)),
        (LexicalProposerParams, "alternatives", (1,), (0, -1)),
        (MiningParams, "leave_out", (0, 1), (-0.1, 1.1, math.nan)),
        (LocalModelParams, "batch_tokens", (1,), (0, -1)),
        (ModelAccess, "concurrency", (1, 1024), (-1, 0, HUGE, math.nan)),
        (EngineSpec, "workers", (1, None), (-1, 0, HUGE)),
        (RunSpec, "seed", (-1, 2**63 - 1), (2**63, -(2**63) - 1)),
        (FeatureChoice, "features", (1, None, HUGE), (-1, 0)),
        (DataSpec, "seed", (-1, 0), (10**30,)),
        (DataSpec, "max_features", (1, None), (-1, 0)),
        (DataSpec, "max_memory", (1,), (-1, 0, math.nan)),
        (DataSpec, "max_seq_length", (2, HUGE), (-1, 0, 1, math.nan)),
        (DataSpec, "max_dataset_size", (1, HUGE), (-1, 0, math.nan)),
        (DataSpec, "top_sample_n", (3, HUGE), (-1, 0, 2, math.nan)),
        (DataSpec, "quantile_n", (1, HUGE), (-1, 0)),
        (DataSpec, "complementary_sample_n", (0, HUGE), (-1,)),
        (DataSpec, "special_n", (1, HUGE), (-1, 0)),
        (DataSpec, "min_documents", (1,), (-1, 0)),
    ],
)
def test_numbers_in_python(make, name, good, bad) -> None:
    for value in good:
        make(**{name: value})
    for value in bad:
        with pytest.raises(InputError):
            make(**{name: value})


def test_an_experiment_over_less_than_one_latent() -> None:
    with pytest.raises(FeatureInterpError, match="latents_per_layer is -1"):
        LAYERS.over("all", -1)


def test_a_negative_split_is_refused() -> None:
    with pytest.raises(InputError, match="-1 records per split"):
        split_records((), Split.TEST, -1)


@pytest.mark.parametrize(
    "command",
    [
        ("generate_records.py", "--max-features", "-1"),
        ("generate_records.py", "--max-seq-length", "0"),
        ("generate_records.py", "--seed", str(10**30)),
        ("generate_records.py", "--max-memory", "0"),
        ("single_index_demo.py", "--max-dataset-size", "-5"),
        ("single_index_demo.py", "--latent", "-1"),
        ("polysemanticity_sweep.py", "--layer_index", "-1", "--data", "/nowhere"),
        ("layer_sweep.py", "--latents-per-layer", "-1"),
        ("complementary_sentences.py", "--rule-cap", "0"),
    ],
)
def test_the_originals_programs(tmp_path: Path, command: tuple[str, ...]) -> None:
    script, *options = command
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *options],
        capture_output=True, text=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
