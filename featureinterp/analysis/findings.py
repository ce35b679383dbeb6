"""Findings of an experiment as Markdown: settings, means, significant and non-significant comparisons.

The same results give the same text, byte for byte: it names no time, no place, and no duration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from featureinterp.analysis.comparisons import Comparison
from featureinterp.analysis.markdown import (
    by_columns,
    counted,
    mean_cell,
    place_free,
    plain,
    table,
)
from featureinterp.analysis.means import mean_by, one_per_feature
from featureinterp.analysis.read_experiment import ReadExperiment
from featureinterp.analysis.runs import OUTCOMES, RunInfo
from featureinterp.analysis.sentences import sentence, trend_sentence
from featureinterp.analysis.trends import DepthTrend, Family, experiment_family
from featureinterp.experiment.scores.verdict import UNTESTED, VERDICTS
from featureinterp.files import atomic_write
from featureinterp.record import MAIN_SOURCE, MEASURED_SOURCES, SOURCE_WORDS
from featureinterp.registry import imported

SUMMARY_NAME = "summary.md"

_METHOD = """\
Comparisons are paired by feature, over features explained and scored on both sides. Intervals are 95% t intervals over
features; d is the mean over the standard deviation of the differences; p is from a studentised sign-flip test.
Detectable: the smallest true difference that so many features show at p < 0.05, uncorrected, with a power of 80%. A
side that is undefined or without explanation leaves its feature out; the difference is also given with 0 in its place,
and with the value of the other side. Trends are Spearman's rank correlations with the layer over features; p is from a
permutation test. p-values are corrected by Holm's method over all comparisons and trends listed here. Significant:
corrected p < 0.05."""


def write_findings(folder: Path, experiments: Sequence[ReadExperiment]) -> Path:
    """Write `summary.md` into a folder, and return its path.

    Args:
        folder: of the runs, made if missing.
        experiments: those read from it.

    Raises:
        InputError: if a section of an experiment cannot be imported.
        StorageError: if it cannot be written.
    """
    summary = folder / SUMMARY_NAME
    atomic_write(summary, findings(experiments).encode())
    return summary


def findings(experiments: Sequence[ReadExperiment]) -> str:
    """Return the findings as Markdown, one section per experiment.

    Raises:
        InputError: if a section of an experiment cannot be imported.
    """
    return "\n\n".join(part for read in experiments for part in _experiment(read)) + "\n"


def _experiment(read: ReadExperiment) -> Iterator[str]:
    name, runs, scores = read.experiment.name, read.runs, read.scores
    yield f"# {plain(name) if name else 'Run ' + ', '.join(plain(run.variant) for run in runs)}"
    yield from _missing(runs)
    yield "## Settings"
    yield from _settings(runs)
    yield "## Features"
    yield from _features(runs, scores)
    if not (scores["status"] == "explained").any():
        yield "No feature is explained yet."
        return
    yield "## Means over features"
    yield from _means(scores)
    yield "## Comparisons"
    yield from _comparisons(experiment_family(read.experiment, scores, read.attempts))
    for place in read.experiment.sections:
        yield from imported(place, f"section {place} of experiment {name}")(read)


def _missing(runs: Sequence[RunInfo]) -> Iterator[str]:
    waiting = [(run, run.counts["asked"] - run.counts["finished"]) for run in runs]
    told = [f"{n} of {run.counts['asked']} of {_name(run)}" for run, n in waiting if n]
    if told:
        total = counted(sum(n for _, n in waiting), "feature")
        yield f"**Incomplete**: {total} not finished: {'; '.join(told)}. The rest covers the finished ones."


def _settings(runs: Sequence[RunInfo]) -> Iterator[str]:
    for subject in dict.fromkeys(run.subject for run in runs):
        run = next(run for run in runs if run.subject == subject)
        named = {name: plain(place_free(run.about.get(name, "–"))) for name in ("model", "SAE", "corpus")}
        data = _listed(_flat(run.configuration.get("data", {})))
        yield f"**{plain(subject)}**: {_listed(named)}. Records: {data}."
    yield f"Explained by {'; '.join(dict.fromkeys(plain(run.made_by) for run in runs))}."
    flat = [_flat({name: v for name, v in run.configuration.items() if name != "data"}) for run in runs]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    varied = [name for name in names if len({settings.get(name) for settings in flat}) > 1]
    yield f"Shared settings: {_listed({name: flat[0][name] for name in names if name not in varied})}."
    if varied:
        rows = [
            (plain(run.variant), *(settings.get(n, "–") for n in varied))
            for run, settings in zip(runs, flat, strict=True)
        ]
        yield table(["variant", *varied], dict.fromkeys(rows))


def _features(runs: Sequence[RunInfo], scores: pd.DataFrame) -> Iterator[str]:
    rows = one_per_feature(scores)
    cells = []
    for run in runs:
        of_run = rows.loc[(rows["subject"] == run.subject) & (rows["variant"] == run.variant)]
        undefined = int(((of_run["status"] == "explained") & of_run["correlation"].isna()).sum())
        counts = [run.counts[name] for name in ("asked", *OUTCOMES)]
        waiting = run.counts["asked"] - run.counts["finished"]
        attempts = [int(of_run[name].sum()) for name in _ATTEMPTS]
        cells.append((plain(run.subject), plain(run.variant), *counts, waiting, undefined, *attempts))
    head_row = ["subject", "variant", "asked", *OUTCOMES, "waiting", "score undefined", *_ATTEMPTS.values()]
    yield table(head_row, cells)
    yield (
        "Dead: never fires on the corpus. Rare: fires in too few documents. Failed: no attempt could be scored. "
        "Converged: attempts at which no change lowered the error. Undefined scores are excluded from means and "
        "comparisons, and counted."
    )
    explained = scores.loc[scores["status"] == "explained"]
    yield from _reasons("Scores are undefined because", explained.loc[explained["undefined"] != "", "undefined"])
    yield from _reasons("Features failed because", rows.loc[rows["status"] == "failed", "reason"])
    not_by_valid = (rows["status"] == "explained") & (rows["reason"] != "")
    yield from _reasons("Explanations were kept that valid could not choose", rows.loc[not_by_valid, "reason"])


_ATTEMPTS = {
    "n_attempts": "attempts",
    "n_failed_attempts": "failed attempts",
    "n_converged_attempts": "converged",
    "n_simulated": "explanations simulated",
}
"""Columns that are counts of attempts, and their names in words."""


def _reasons(begin: str, reasons: Iterable[str]) -> Iterator[str]:
    counts = sorted(Counter(reasons).items(), key=lambda item: (-item[1], item[0]))
    if counts:
        others = f"; {len(counts) - 3} other reasons" if len(counts) > 3 else ""
        yield f"{begin}: {'; '.join(f'{plain(reason)} ({n})' for reason, n in counts[:3])}{others}."


def _means(scores: pd.DataFrame) -> Iterator[str]:
    by = ["subject", "variant", "source"]
    columns = ("correlation", "false_positives_per_sentence", "floor_token_lookup", "floor_shuffled")
    parts = [by_columns(mean_by(scores, by, column), by) for column in columns]
    rows = [
        (
            *map(plain, (subject, variant, SOURCE_WORDS[source.value])),
            *(mean_cell(part[name]) for part in parts),
            *counts,
        )
        for subject, variant, source in product(*(scores[n].unique() for n in by[:2]), reversed(MEASURED_SOURCES))
        if (name := (subject, variant, source.value)) in parts[0]
        for counts in [(parts[0][name]["n"], parts[0][name]["n_undefined"])]
    ]
    yield "Scores are test correlations. Baselines: token table and another feature's explanation."
    columns_of_scores = (
        "score",
        "false positives per sentence",
        "token table",
        "another's explanation",
        "n",
        "undefined",
    )
    yield table([*by, *columns_of_scores], rows)
    of_feature, by = one_per_feature(scores), by[:2]
    complexity, rules = (by_columns(mean_by(of_feature, by, column), by) for column in ("complexity", "n_rules"))
    yield table(
        [*by, "complexity", "rules"],
        ((*map(plain, name), mean_cell(complexity[name]), mean_cell(rules[name])) for name in rules),
    )
    yield from _corpus(of_feature, by)
    yield from _layers(of_feature)


def _corpus(of_feature: pd.DataFrame, by: list[str]) -> Iterator[str]:
    explained = of_feature.loc[of_feature["status"] == "explained"]
    score, margin = (by_columns(mean_by(explained, by, name), by) for name in ("corpus_correlation", "corpus_margin"))
    verdicts = explained["verdict"].where(explained["verdict"].isin(VERDICTS), UNTESTED)
    counts = Counter(zip(*(explained[name] for name in by), verdicts, strict=True))
    yield "On the corpus, over the table that scores best on valid; verdicts count explained features:"
    yield table(
        [*by, "correlation", "margin", "undefined", *VERDICTS],
        (
            (
                *map(plain, name),
                mean_cell(score[name]),
                mean_cell(margin[name]),
                margin[name]["n_undefined"],
                *(counts[(*name, verdict)] for verdict in VERDICTS),
            )
            for name in score
        ),
    )


def _layers(of_feature: pd.DataFrame) -> Iterator[str]:
    by = ["subject", "variant", "layer"]
    cells = by_columns(mean_by(of_feature, by, "correlation"), by)
    for subject in dict.fromkeys(name[0] for name in cells):
        layers = sorted({name[2] for name in cells if name[0] == subject})
        variants = dict.fromkeys(name[1] for name in cells if name[0] == subject)
        yield f"Score on {SOURCE_WORDS[MAIN_SOURCE]} by layer, {plain(subject)}:"
        yield table(
            ["variant", *map(str, layers)],
            (
                (plain(variant), *(mean_cell(cells.get((subject, variant, layer))) for layer in layers))
                for variant in variants
            ),
        )


def _comparisons(family: Family) -> Iterator[str]:
    found = [*family.comparisons, *family.trends]
    if not found:
        yield "There is nothing to compare yet."
        return
    yield _METHOD
    several = len({each.subject for each in found}) > 1
    total = " and ".join(
        counted(len(tests), noun)
        for tests, noun in ((family.comparisons, "comparison"), (family.trends, "trend"))
        if tests
    )
    differing = [each for each in found if each.verdict]
    yield f"Significant: {len(differing)} of {total}."
    if differing:
        yield _list(differing, several)
    if others := [each for each in found if not each.verdict]:
        yield "Not significant (absence of evidence):"
        yield _list(others, several)


def _list(found: Iterable[Comparison | DepthTrend], several: bool) -> str:
    return "\n".join(
        f"- {sentence(each, several) if isinstance(each, Comparison) else trend_sentence(each, several)}"
        for each in found
    )


def _name(run: RunInfo) -> str:
    return plain(f"{run.subject} {run.variant}")


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "–"


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return settings as text by dotted name."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            found[plain(prefix + name)] = "yes" if value else "no"
        elif isinstance(value, list):
            found[plain(prefix + name)] = plain(", ".join(map(str, value))) or "none"
        else:
            found[plain(prefix + name)] = "none" if value is None else plain(place_free(str(value)))
    return found
