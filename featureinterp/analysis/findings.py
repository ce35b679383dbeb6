"""Findings of an experiment as Markdown: settings, means, significant and non-significant comparisons.

The same results give the same text, byte for byte: it names no time, no place, and no duration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from featureinterp.analysis import means as analysis
from featureinterp.analysis.comparisons import Comparison, experiment_comparisons
from featureinterp.analysis.frames import read_attempts, read_scores
from featureinterp.analysis.markdown import counted, number, p_value, place_free, plain, table, with_interval
from featureinterp.analysis.means import mean_by
from featureinterp.analysis.rounds import MEASURES, agreement, rounds
from featureinterp.analysis.runs import OUTCOMES, RunInfo, list_runs
from featureinterp.experiment.paper.experiments import experiment_of_runs
from featureinterp.files import atomic_write
from featureinterp.record import MAIN_SOURCE, MEASURED_SOURCES

SUMMARY_NAME = "summary.md"

_METHOD = """\
Paired by feature, over features explained and scored on both sides. Intervals are 95% bootstrap intervals that
resample features; d is the mean over the standard deviation of the differences; p is from a sign-flip permutation test,
Holm-corrected over all comparisons listed here. Significant: p < 0.05."""


def write_findings(path: Path) -> Path:
    """Write `summary.md` into the folder of a run or experiment, and return its path.

    Raises:
        DataFolderError: if there is no run in or below the folder, or one cannot be read.
        StorageError: if it cannot be written.
    """
    summary = path / SUMMARY_NAME
    atomic_write(summary, findings(path).encode())
    return summary


def findings(path: Path) -> str:
    """Return the findings of the runs in or below a folder as Markdown, one section per experiment.

    Raises:
        DataFolderError: if there is no run, or one cannot be read.
    """
    heads, scores, attempts = list_runs(path), read_scores(path), read_attempts(path)
    names = list(dict.fromkeys(head.experiment for head in heads))
    parts: list[str] = []
    for name in names:
        of_experiment = [head for head in heads if head.experiment == name]
        frames = [frame.loc[frame["experiment"] == name] for frame in (scores, attempts)]
        parts += _experiment(name, of_experiment, frames[0], frames[1])
    return "\n\n".join(parts) + "\n"


def _experiment(name: str, heads: Sequence[RunInfo], scores: pd.DataFrame, attempts: pd.DataFrame) -> Iterator[str]:
    yield f"# {plain(name) if name else 'Run ' + ', '.join(plain(head.variant) for head in heads)}"
    yield from _missing(heads)
    yield "## Settings"
    yield from _settings(heads)
    yield "## Features"
    yield from _features(heads, scores)
    if not (scores["status"] == "explained").any():
        yield "No feature is explained yet."
        return
    yield "## Means over features"
    yield from _means(scores)
    yield "## Comparisons"
    yield from _comparisons(experiment_comparisons(experiment_of_runs(name), scores, attempts))
    if name == "polysemanticity":
        yield "## Rules needed per feature"
        yield from _polysemanticity(scores)
    if name == "layers":
        yield "## Rounds of the search"
        yield from _rounds(scores, attempts)


def _missing(heads: Sequence[RunInfo]) -> Iterator[str]:
    waiting = [(head, head.counts["asked"] - head.counts["finished"]) for head in heads]
    told = [f"{n} of {head.counts['asked']} of {_name(head)}" for head, n in waiting if n]
    if told:
        total = counted(sum(n for _, n in waiting), "feature")
        yield f"**Incomplete**: {total} not finished: {'; '.join(told)}. The rest covers the finished ones."


def _settings(heads: Sequence[RunInfo]) -> Iterator[str]:
    for subject in dict.fromkeys(head.subject for head in heads):
        head = next(head for head in heads if head.subject == subject)
        named = {name: plain(place_free(head.about.get(name, "–"))) for name in ("model", "SAE", "corpus")}
        data = _listed(_flat(head.configuration.get("data", {})))
        yield f"**{plain(subject)}**: {_listed(named)}. Records: {data}."
    flat = [_flat({name: v for name, v in head.configuration.items() if name != "data"}) for head in heads]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    varied = [name for name in names if len({settings.get(name) for settings in flat}) > 1]
    yield f"Shared settings: {_listed({name: flat[0][name] for name in names if name not in varied})}."
    if varied:
        rows = [
            (plain(head.variant), *(settings.get(n, "–") for n in varied))
            for head, settings in zip(heads, flat, strict=True)
        ]
        yield table(["variant", *varied], dict.fromkeys(rows))


def _features(heads: Sequence[RunInfo], scores: pd.DataFrame) -> Iterator[str]:
    rows = analysis.one_per_feature(scores)
    cells = []
    for head in heads:
        of_run = rows.loc[(rows["subject"] == head.subject) & (rows["variant"] == head.variant)]
        undefined = int(((of_run["status"] == "explained") & of_run["correlation"].isna()).sum())
        counts = [head.counts[name] for name in ("asked", *OUTCOMES)]
        waiting = head.counts["asked"] - head.counts["finished"]
        attempts = [int(of_run[name].sum()) for name in ("n_attempts", "n_failed_attempts")]
        cells.append((plain(head.subject), plain(head.variant), *counts, waiting, undefined, *attempts))
    head_row = ["subject", "variant", "asked", *OUTCOMES, "waiting", "score undefined", "attempts", "failed attempts"]
    yield table(head_row, cells)
    yield (
        "Dead: never fires on the corpus. Rare: fires in too few documents. Failed: no attempt could be scored. "
        "Undefined scores are excluded from means and comparisons, and counted."
    )
    explained = scores.loc[scores["status"] == "explained"]
    yield from _reasons("Scores are undefined because", explained.loc[explained["undefined"] != "", "undefined"])
    yield from _reasons("Features failed because", rows.loc[rows["status"] == "failed", "reason"])


def _reasons(begin: str, reasons: Iterable[str]) -> Iterator[str]:
    counts = sorted(Counter(reasons).items(), key=lambda item: (-item[1], item[0]))
    if counts:
        others = f"; {len(counts) - 3} other reasons" if len(counts) > 3 else ""
        yield f"{begin}: {'; '.join(f'{plain(reason)} ({n})' for reason, n in counts[:3])}{others}."


def _means(scores: pd.DataFrame) -> Iterator[str]:
    by = ["subject", "variant", "source"]
    columns = ("correlation", "false_positives_per_sentence", "floor_token_lookup", "floor_shuffled")
    parts = [_by(mean_by(scores, by, column), by) for column in columns]
    rows = [
        (
            *map(plain, (subject, variant, source.value.replace("_", " "))),
            *(_cell(part[name]) for part in parts),
            *counts,
        )
        for subject, variant, source in product(*(scores[n].unique() for n in by[:2]), reversed(MEASURED_SOURCES))
        if (name := (subject, variant, source.value)) in parts[0]
        for counts in [(parts[0][name]["n"], parts[0][name]["n_undefined"])]
    ]
    yield "Scores are test correlations. Baselines: token lookup and another feature's explanation."
    heads = ("score", "false positives per sentence", "token lookup", "another's explanation", "n", "undefined")
    yield table([*by, *heads], rows)
    of_feature, by = analysis.one_per_feature(scores), by[:2]
    complexity, rules = (_by(mean_by(of_feature, by, column), by) for column in ("complexity", "n_rules"))
    yield table(
        [*by, "complexity", "rules"],
        ((*map(plain, name), _cell(complexity[name]), _cell(rules[name])) for name in rules),
    )
    yield from _layers(of_feature)


def _layers(of_feature: pd.DataFrame) -> Iterator[str]:
    by = ["subject", "variant", "layer"]
    cells = _by(mean_by(of_feature, by, "correlation"), by)
    for subject in dict.fromkeys(name[0] for name in cells):
        layers = sorted({name[2] for name in cells if name[0] == subject})
        variants = dict.fromkeys(name[1] for name in cells if name[0] == subject)
        yield f"Score on {MAIN_SOURCE.replace('_', ' ')}s by layer, {plain(subject)}:"
        yield table(
            ["variant", *map(str, layers)],
            (
                (plain(variant), *(_cell(cells.get((subject, variant, layer))) for layer in layers))
                for variant in variants
            ),
        )


def _comparisons(found: Sequence[Comparison]) -> Iterator[str]:
    if not found:
        yield "There is nothing to compare yet."
        return
    yield _METHOD
    differing = [comparison for comparison in found if comparison.verdict]
    several = len({comparison.subject for comparison in found}) > 1
    for told, comparisons in (
        (f"Significant: {len(differing)} of {counted(len(found), 'comparison')}.", differing),
        (
            "Not significant (absence of evidence):",
            [comparison for comparison in found if not comparison.verdict],
        ),
    ):
        if comparisons or told.startswith("Significant"):
            yield told
        if comparisons:
            yield "\n".join(f"- {sentence(comparison, several)}" for comparison in comparisons)


def sentence(comparison: Comparison, with_subject: bool = False) -> str:
    """Return a comparison as a sentence: difference, interval, exclusions, the paper's claim."""
    question, found = comparison.question, comparison.difference
    a, b = plain(question.a.name), plain(question.b.name)
    begin = f"{plain(comparison.subject)}, {question.measure}" if with_subject else question.measure.capitalize()
    left_out = [
        f"{n} {why}"
        for n, why in (
            (found.n_undefined, "undefined"),
            (comparison.n_failed, "without explanation"),
            (comparison.n_unpaired, "finished on one side only"),
        )
        if n
    ]
    without = f"; left out: {', '.join(left_out)}" if left_out else ""
    if found.n_pairs == 0:
        return f"{begin}: {a} and {b} cannot be compared: no feature has both{without}."
    difference = with_interval(found.mean, found.ci_low, found.ci_high)
    numbers = f"{number(comparison.mean_a)} against {number(comparison.mean_b)}, difference {difference}"
    strength = f"n = {found.n_pairs}, d = {number(found.effect_size, 2)}, {p_value(comparison.corrected_p)}"
    is_ = (
        f"{a} is **{comparison.verdict}** than {b}"
        if comparison.verdict
        else f"no significant difference between {a} and {b}"
    )
    return f"{begin}: {is_}, {numbers} ({strength}{without}).{_against_the_paper(comparison)}"


def _against_the_paper(comparison: Comparison) -> str:
    claim = comparison.question.claim
    if not claim:
        return ""
    if comparison.verdict == claim:
        return " As in the paper."
    seen = "is not confirmed" if not comparison.verdict else "is contradicted"
    return f" The paper's claim, {claim}, {seen}."


def _polysemanticity(scores: pd.DataFrame) -> Iterator[str]:
    surface = analysis.polysemanticity_surface(scores)
    yield "Best-so-far share of the best score, mean over features, by layer and rule cap:"
    shares = {(row["subject"], row["layer"], row["rule_cap"]): row["best_so_far_share"] for row in _rows(surface)}
    for subject in dict.fromkeys(name[0] for name in shares):
        layers, caps = (sorted({name[i] for name in shares if name[0] == subject}) for i in (1, 2))
        yield table(
            [f"{plain(subject)}, layer", *map(str, caps)],
            ((layer, *(number(shares.get((subject, layer, cap))) for cap in caps)) for layer in layers),
        )
    yield (
        f"The least rule cap that reaches {analysis.SHARE_OF_BEST:.0%} of a feature's best score, and the complexity "
        "of explanations with the largest cap, means with 80% intervals:"
    )
    largest = scores.loc[scores["rule_cap"] == scores.groupby("subject")["rule_cap"].transform("max")]
    by = ["subject", "layer"]
    complexity = _by(mean_by(analysis.one_per_feature(largest), by, "complexity", 0.80), by)
    rows = []
    for row in _rows(analysis.least_cap_by_depth(scores)):
        place = (plain(row["subject"]), row["layer"], number(row["relative_depth"], 2))
        of_layer = complexity[row["subject"], row["layer"]]
        rows.append((*place, _cell(row), row["n"], row["n_undefined"], _cell(of_layer)))
    yield table(["subject", "layer", "relative depth", "least cap", "n", "undefined", "complexity"], rows)


def _rounds(scores: pd.DataFrame, attempts: pd.DataFrame) -> Iterator[str]:
    yield "The best attempt so far by train score after each round (0: the first proposals), mean over features:"
    by = ["subject", "variant", "round"]
    found = rounds(attempts)
    cells = {measure: _by(of_measure, by) for measure, of_measure in found.groupby("measure")}
    yield table(
        [*by, *(measure.replace("_", " ") for measure in MEASURES)],
        (
            (*map(plain, name[:2]), name[2], *(_cell(cells[measure][name]) for measure in MEASURES))
            for name in cells[MEASURES[0]]
        ),
    )
    for row in _rows(agreement(attempts)):
        name = f"{plain(row['subject'])}, {plain(row['variant'])}"
        yield (
            f"{name}: valid and test scores of a feature's attempts correlate: {_cell(row)}, mean over "
            f"{counted(row['n'], 'feature')}; {row['n_undefined']} others have too few distinct attempts."
        )
    if not scores["train_negatives"].any():
        yield (
            "Train has positives only; valid and test also have complementary sentences, so the difference between "
            "train and test scores is not only overfitting."
        )


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _by(means: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[name] for name in by): row for row in _rows(means)}


def _cell(row: Mapping[str, Any] | None) -> str:
    return "–" if row is None else with_interval(row["mean"], row["ci_low"], row["ci_high"])


def _name(head: RunInfo) -> str:
    return plain(f"{head.subject} {head.variant}")


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
