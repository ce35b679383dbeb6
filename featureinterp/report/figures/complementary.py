"""Figure 3: the same explanations against each complementary source, and one-shot against tree, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featureinterp.analysis.means import mean_by
from featureinterp.analysis.read_experiment import ReadExperiment
from featureinterp.record import MAIN_SOURCE, SOURCE_WORDS
from featureinterp.report.figures.drawing import Drawing, of_subject
from featureinterp.report.figures.lines import counts, describe, draw_beside, draw_line, whole_numbers
from featureinterp.report.figures.style import (
    BLUE,
    FLOOR,
    LOOKS,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Look,
    Width,
    finish,
    panels,
    words,
)

SOURCE_LOOKS = {
    "same_token_negative": Look(PURPLE, "v", (0, (5, 1, 1, 1, 1, 1))),
    "similar_negative": Look(VERMILLION, "o", "-"),
    "similar": Look(ORANGE, "s", "--"),
    "random_negative": Look(BLUE, "^", "-."),
    "random": Look(SKY, "D", ":"),
}
_BY_SOURCE = {"correlation": "test score", "false_positives_per_sentence": "false positives per sentence"}
_BY_VARIANT = {"correlation": "test score", "complexity": "complexity (0 to 5)", "n_rules": "rules"}


def draw(read: ReadExperiment, width: Width) -> list[Drawing]:
    """Draw, for every subject, its sources by layer for each variant, and its variants beside each other."""
    drawings = []
    for subject in read.subjects:
        own = read.of(subject)
        missing, variants = own.missing(), own.variants()
        own_drawings = [_sources(own.of(subject, variant), variant, width, missing) for variant in variants]
        own_drawings += [_variants(own, width, missing)] if variants else []
        drawings += [of_subject(drawing, subject, read) for drawing in own_drawings]
    return drawings


def _sources(read: ReadExperiment, variant: str, width: Width, missing: Sequence[str]) -> Drawing:
    figure, every = panels(len(_BY_SOURCE), width)
    looks = {SOURCE_WORDS[source]: look for source, look in SOURCE_LOOKS.items()}
    spread = 0.3 * min(np.diff(read.layers), default=1)
    told, seen = [], []
    tested = set(read.scores.loc[read.scores["correlation"].notna(), "source"])
    for axes, (value, label) in zip(every, _BY_SOURCE.items(), strict=True):
        by_source = {
            words: mean_by(read.scores.loc[read.scores["source"] == source], ["layer"], value)
            for source, words in SOURCE_WORDS.items()
            if source in SOURCE_LOOKS and source in tested
        }
        draw_beside(axes, by_source, "layer", looks, spread)
        axes.set_ylabel(label)
        whole_numbers(axes, read.layers, "layer")
        told += [f"{label}, {describe(name, means, 'layer')}" for name, means in by_source.items()]
        seen += by_source.values()
    floor = mean_by(read.judged, ["layer"], "floor_token_lookup")
    every[0].plot(floor["layer"], floor["mean"], color=FLOOR.colour, linestyle=FLOOR.dashes, label="token table")
    every[1].set_ylim(bottom=0)
    note = (
        f"Explained by {variant}; means over {counts(seen)} a layer and source, with 95% intervals over features. "
        f"The token table is tested on: {SOURCE_WORDS[MAIN_SOURCE]}."
    )
    finish(figure, note, missing)
    return Drawing(
        f"sources_{variant}", f"Complementary sentences, explained by {variant}", "; ".join(told) + ".", figure
    )


def _variants(read: ReadExperiment, width: Width, missing: Sequence[str]) -> Drawing:
    figure, every = panels(len(_BY_VARIANT), width)
    told, seen = [], []
    for axes, (value, label) in zip(every, _BY_VARIANT.items(), strict=True):
        for place, variant in enumerate(read.variants()):
            means = mean_by(read.judged.loc[read.judged["variant"] == variant], ["layer"], value)
            draw_line(axes, means, "layer", LOOKS[place % len(LOOKS)], words(variant))
            told.append(f"{label}, {describe(variant, means, 'layer')}")
            seen.append(means)
        axes.set_ylabel(label)
        whole_numbers(axes, read.layers, "layer")
    note = f"Means over {counts(seen)} a layer, tested on: {SOURCE_WORDS[MAIN_SOURCE]}; bands: 95% intervals over them."
    finish(figure, note, missing)
    return Drawing("variants", "One-shot against tree", "; ".join(told) + ".", figure)
