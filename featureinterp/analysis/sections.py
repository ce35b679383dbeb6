"""Sections of a summary that only some experiments have: parts of Markdown from a read experiment."""

from __future__ import annotations

from collections.abc import Iterator

from featureinterp.analysis.markdown import by_columns, counted, mean_cell, number, plain, rows_of, table
from featureinterp.analysis.means import (
    SHARE_OF_BEST,
    least_cap_by_depth,
    least_caps,
    mean_by,
    one_per_feature,
    polysemanticity_surface,
)
from featureinterp.analysis.read_experiment import ReadExperiment
from featureinterp.analysis.rounds import MEASURES, agreement, rounds


def rules_needed(read: ReadExperiment) -> Iterator[str]:
    """Write how many rules features need: shares of the best score by layer and rule cap, and least rule caps.

    Means are those of `analysis.means.polysemanticity_surface` and `least_cap_by_depth`.
    """
    scores = read.scores
    surface = polysemanticity_surface(scores)
    yield "## Rules needed per feature"
    yield "Share of the score of the best rule cap that the best so far reaches, mean over features, by layer and cap:"
    shares = {(row["subject"], row["layer"], row["rule_cap"]): row["best_so_far_share"] for row in rows_of(surface)}
    for subject in dict.fromkeys(name[0] for name in shares):
        layers, caps = (sorted({name[i] for name in shares if name[0] == subject}) for i in (1, 2))
        yield table(
            [f"{plain(subject)}, layer", *map(str, caps)],
            ((layer, *(number(shares.get((subject, layer, cap))) for cap in caps)) for layer in layers),
        )
    yield (
        f"The least rule cap with {SHARE_OF_BEST:.0%} of the score of a feature's best cap, the scores of both, and "
        "the complexity of explanations with the largest cap, means with 80% intervals. The best cap is chosen on "
        "valid; scores are on test:"
    )
    largest = scores.loc[scores["rule_cap"] == scores.groupby("subject")["rule_cap"].transform("max")]
    by = ["subject", "layer"]
    complexity = by_columns(mean_by(one_per_feature(largest), by, "complexity", 0.80), by)
    least = least_caps(scores)
    having = least.loc[least["least_cap"].notna()]
    reached, best = (by_columns(mean_by(having, by, value, 0.80), by) for value in ("score", "best"))
    rows = []
    for row in rows_of(least_cap_by_depth(scores)):
        place = (plain(row["subject"]), row["layer"], number(row["relative_depth"], 2))
        of_layer = [mean_cell(means.get((row["subject"], row["layer"]))) for means in (reached, best, complexity)]
        rows.append((*place, mean_cell(row), row["n"], row["n_undefined"], *of_layer))
    measured = ("least cap", "n", "undefined", "its score", "score of the best cap", "complexity")
    yield table(["subject", "layer", "relative depth", *measured], rows)


def search_rounds(read: ReadExperiment) -> Iterator[str]:
    """Write the gain of a search by round, and the agreement of its valid and test scores.

    Means are those of `analysis.rounds`.
    """
    scores, attempts = read.scores, read.attempts
    yield "## Rounds of the search"
    yield "The best attempt so far by train score after each round (0: the first proposals), mean over features:"
    by = ["subject", "variant", "round"]
    found = rounds(attempts)
    cells = {measure: by_columns(of_measure, by) for measure, of_measure in found.groupby("measure")}
    yield table(
        [*by, *(measure.replace("_", " ") for measure in MEASURES)],
        (
            (*map(plain, name[:2]), name[2], *(mean_cell(cells[measure][name]) for measure in MEASURES))
            for name in cells[MEASURES[0]]
        ),
    )
    for row in rows_of(agreement(attempts)):
        name = f"{plain(row['subject'])}, {plain(row['variant'])}"
        yield (
            f"{name}: valid and test scores of a feature's attempts correlate: {mean_cell(row)}, mean over "
            f"{counted(row['n'], 'feature')}; {row['n_undefined']} others have too few distinct attempts."
        )
    if not scores["train_negatives"].any():
        yield (
            "Train has positives only; valid and test also have complementary sentences, so the difference between "
            "train and test scores is not only overfitting."
        )
