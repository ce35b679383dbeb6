"""Figure 5: number of rules that a feature needs, by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from featureinterp.experiment.paper.declaration import Experiment, Variant
from featureinterp.experiment.paper.questions import SCORE, Question, method_question

CAPS = (1, 2, 3, 4, 5)
"""Largest numbers of rules."""


def questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions: each rule cap against the next smaller one."""
    caps = sorted(int(found[1]) for variant in variants if (found := re.fullmatch(r"cap-(\d+)", variant)))
    return [method_question("score", SCORE, f"cap-{b}", f"cap-{a}") for a, b in pairwise(caps)]


POLYSEMANTICITY = Experiment(
    name="polysemanticity",
    title="Rules that features need",
    question="How many rules does a feature need, and does that change with depth?",
    variants=tuple(Variant(f"cap-{cap}", {"explainer": "tree", "rule_cap": cap}) for cap in CAPS),
    layers="spaced:8",
    latents_per_layer=30,
    questions=questions,
    sections=("featureinterp.analysis.sections:rules_needed",),
    figures="featureinterp.report.figures.polysemanticity:draw",
)
