"""Comparison of two runs or experiments, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from featureinterp.analysis.comparisons import Comparison, compare
from featureinterp.analysis.comparisons import with_correction as corrected
from featureinterp.analysis.frames import read_scores
from featureinterp.analysis.runs import RunInfo, list_runs
from featureinterp.errors import InputError
from featureinterp.experiment.configuration import differences
from featureinterp.experiment.paper.questions import ALARMS, SCORE, Question, method_question
from featureinterp.experiment.store import FILE_NAME
from featureinterp.record import MEASURED_SOURCES

Name = tuple[str, str, str]
"""Experiment, subject and variant."""


@dataclass(frozen=True)
class RunPair:
    """Two runs and their comparisons over shared features."""

    a: RunInfo
    b: RunInfo
    n_shared: int
    """Features that both have explained, or found to be none."""
    settings: tuple[str, ...]
    """Every setting that differs, as `method.depth=3 instead of 1`, that of `a` first."""
    comparisons: tuple[Comparison, ...]
    """`a` against `b`, corrected for all comparisons of all pairs."""


def compare_runs(a: Path, b: Path) -> list[RunPair]:
    """Compare two runs, or the runs of two folders with equal experiment, subject and variant.

    Scores and false positives are compared beside each complementary source, complexities and numbers of rules once.

    Raises:
        DataFolderError: if there is no run in a folder, or one cannot be read.
        InputError: if there is nothing to compare: one run and many, other models or SAEs, no feature in common.
    """
    pairs = _paired_heads(a, b)
    for first, second in pairs:
        _check_subjects(first, second)
    made = [_pair(first, second) for first, second in pairs]
    if not any(pair.n_shared for pair in made):
        raise InputError(
            f"{a} and {b} have no finished feature in common",
            "explain the same latents in both: `featureinterp explain --layers --latents`",
        )
    family = iter(corrected([comparison for pair in made for comparison in pair.comparisons]))
    return [replace(pair, comparisons=tuple(next(family) for _ in pair.comparisons)) for pair in made]


def _paired_heads(a: Path, b: Path) -> list[tuple[RunInfo, RunInfo]]:
    single = [(path / FILE_NAME).is_file() for path in (a, b)]
    heads_a, heads_b = list_runs(a), list_runs(b)
    if all(single):
        return [(heads_a[0], heads_b[0])]
    if any(single):
        one, many = (a, b) if single[0] else (b, a)
        raise InputError(f"{one} is one run, {many} is a folder of runs", "name two runs or two folders of runs")
    named_a, named_b = _by_name(heads_a), _by_name(heads_b)
    shared = [name for name in named_a if name in named_b]
    if not shared:
        told = " and ".join(", ".join("/".join(filter(None, name)) for name in names) for names in (named_a, named_b))
        raise InputError(f"{a} and {b} have no subject and variant in common: {told}", "name one run of each")
    return [(named_a[name], named_b[name]) for name in shared]


def _by_name(heads: Sequence[RunInfo]) -> Mapping[Name, RunInfo]:
    return {(head.experiment, head.subject, head.variant): head for head in heads}


def _check_subjects(a: RunInfo, b: RunInfo) -> None:
    data = [head.configuration.get("data", {}).get("model") for head in (a, b)]
    saes = [head.about.get("SAE", "") for head in (a, b)]
    if data[0] != data[1] or saes[0] != saes[1]:
        names = [f"{head.about.get('model', '')} with {head.about.get('SAE', '')}" for head in (a, b)]
        raise InputError(
            f"{a.path} and {b.path} explain features of different models: {names[0]}, and {names[1]}",
            "only runs over the same model and SAEs have features in common",
        )


def _pair(a: RunInfo, b: RunInfo) -> RunPair:
    frame = pd.concat(
        [read_scores(head.path).assign(variant=side, subject=a.subject) for head, side in ((a, "A"), (b, "B"))]
    )
    n_sides = frame.drop_duplicates(["variant", "hook_name", "latent"]).groupby(["hook_name", "latent"]).size()
    return RunPair(
        a=a,
        b=b,
        n_shared=int((n_sides == 2).sum()),
        settings=tuple(differences(dict(a.configuration), dict(b.configuration))),
        comparisons=tuple(compare(frame, _questions())),
    )


def _questions() -> list[Question]:
    sources = [source.value for source in reversed(MEASURED_SOURCES)]
    by_source = [
        method_question(measure, column, "A", "B", source=source)
        for measure, column in (("score", SCORE), ("false positives per sentence", ALARMS))
        for source in sources
    ]
    return [
        *by_source,
        method_question("complexity", "complexity", "A", "B"),
        method_question("number of rules", "n_rules", "A", "B"),
    ]
