"""Figure 3: scores by complementary source, and one-shot against tree."""

from __future__ import annotations

from collections.abc import Sequence

from featureinterp.experiment.paper.declaration import Experiment, Variant
from featureinterp.experiment.paper.questions import (
    ANY,
    SAME_TOKEN,
    SCORE,
    SILENT,
    Question,
    method_question,
    source_questions,
)


def questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions: similar and same-token against random for each variant, and tree against one-shot."""
    asked = source_questions(variants, SILENT, SAME_TOKEN, ANY)
    if {"tree", "one-shot"} <= set(variants):
        asked += [
            method_question("score", SCORE, "tree", "one-shot", "higher"),
            method_question("complexity", "complexity", "tree", "one-shot"),
            method_question("number of rules", "n_rules", "tree", "one-shot"),
        ]
    return asked


COMPLEMENTARY = Experiment(
    name="complementary",
    title="Complementary sentences",
    question="Which sentences falsify an explanation, and does the search by revision help?",
    variants=tuple(Variant(search, {"explainer": search}) for search in ("one-shot", "tree")),
    layers="even",
    latents_per_layer=50,
    questions=questions,
    figures="featureinterp.report.figures.complementary:draw",
)
