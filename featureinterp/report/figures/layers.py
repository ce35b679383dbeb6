"""The layer sweep: whether the search fits its own feedback more than the feature, attempt by attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featureinterp.analysis.means import mean_by
from featureinterp.analysis.read_experiment import ReadExperiment
from featureinterp.analysis.rounds import best_by_round, selections
from featureinterp.report.figures.drawing import Drawing, of_subject
from featureinterp.report.figures.lines import counts, describe, draw_line, whole_numbers
from featureinterp.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    Look,
    Width,
    finish,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

SPLITS = {
    "train": Look(ORANGE, "s", "--"),
    "valid": Look(BLUE, "^", "-."),
    "test": Look(VERMILLION, "o", "-"),
}
CHOSEN, BEST_ON_TRAIN = Look(GREEN, "D", "-"), Look(PURPLE, "v", ":")


def draw(read: ReadExperiment, width: Width) -> list[Drawing]:
    """Draw, for every subject, scores by round, the gap of train and test by layer, and valid against test."""
    return [
        of_subject(_search(own, width), subject, read)
        for subject in read.subjects
        if len((own := read.of(subject)).attempts)
    ]


def gaps(attempts: DataFrame) -> dict[str, DataFrame]:
    """Return train minus test score by layer, of the chosen attempts and of those that are best on train."""
    chosen, last = selections(attempts), best_by_round(attempts)
    last = last.loc[last["round"] == last.groupby("variant")["round"].transform("max")]
    gap_of_chosen = chosen["train_of_chosen"] - chosen["test_of_chosen"]
    gap_of_best = last["train_score"] - last["test_score"]
    return {
        "chosen on valid": mean_by(chosen.assign(gap=gap_of_chosen), ["layer"], "gap"),
        "best on train": mean_by(last.assign(gap=gap_of_best), ["layer"], "gap"),
    }


def _search(read: ReadExperiment, width: Width) -> Drawing:
    figure, (by_round, by_layer, scatter) = panels(3, width)
    best, told, seen = best_by_round(read.attempts), [], []
    for split, look in SPLITS.items():
        means = mean_by(best, ["round"], f"{split}_score")
        draw_line(by_round, means, "round", look, f"{split} score")
        told.append(f"{split} score, {describe('best so far', means, 'round')}")
        seen.append(means)
    by_round.set_ylabel("score of the best so far")
    whole_numbers(by_round, sorted(set(best["round"])), "round")
    for (label, means), look in zip(gaps(read.attempts).items(), (CHOSEN, BEST_ON_TRAIN), strict=True):
        draw_line(by_layer, means, "layer", look, label)
        told.append(f"train minus test score, {describe(label, means, 'layer')}")
    by_layer.axhline(0, color=GREY, linewidth=0.6)
    by_layer.set_ylabel("train − test score")
    whole_numbers(by_layer, read.layers, "layer")
    n_both = _draw_attempts(scatter, read.attempts)
    note = (
        f"Best so far: by train score, means over {counts(seen)}; bands: 95% intervals over features; {n_both} "
        f"attempts have a valid and a test score."
    )
    missing = read.missing() + ([] if n_both else ["no attempt was judged on test"])
    finish(figure, note, missing)
    return Drawing("search", "Layer sweep", "; ".join(told) + ".", figure)


def _draw_attempts(axes: Axes, attempts: DataFrame) -> int:
    """Draw every attempt's valid against its test score and return how many have both."""
    both = attempts.loc[attempts["valid_score"].notna() & attempts["test_score"].notna()]
    for label, chosen, colour, size in (("other attempt", False, GREY, 1.6), ("chosen attempt", True, BLUE, 2.8)):
        part = both.loc[both["chosen"] == chosen]
        dots: dict[str, Any] = {"marker": "o", "markersize": size, "color": colour, "markeredgewidth": 0, "alpha": 0.6}
        axes.plot(part["valid_score"], part["test_score"], linestyle="", label=label, rasterized=True, **dots)
    if len(both):
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.6)
    axes.set_xlabel("valid score")
    axes.set_ylabel("test score")
    axes.grid(True, axis="both")
    return len(both)
