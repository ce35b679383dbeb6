"""Figure 5: number of rules that a feature needs, by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from featureinterp.experiment.paper.declaration import Experiment, Variant
from featureinterp.experiment.paper.questions import (
    SCORE,
    Question,
    Side,
    Trend,
    main_side,
    method_question,
    score_trends,
)

CAPS = (1, 2, 3, 4, 5)
"""Largest numbers of rules."""


def questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions: each rule cap against the next smaller one."""
    return [method_question("score", SCORE, f"cap-{b}", f"cap-{a}") for a, b in pairwise(_caps(variants))]


def trends(variants: Sequence[str]) -> list[Trend]:
    """Return the trends: least rule cap, complexity with the largest cap, and the score with each cap."""
    of_features = [Trend("least rule cap", Side("features", "least_cap"), frame="least_caps")]
    largest = [Trend("complexity", main_side(f"cap-{cap}", "complexity")) for cap in _caps(variants)[-1:]]
    return [*of_features, *largest, *score_trends(variants)]


def _caps(variants: Sequence[str]) -> list[int]:
    return sorted(int(found[1]) for variant in variants if (found := re.fullmatch(r"cap-(\d+)", variant)))


POLYSEMANTICITY = Experiment(
    name="polysemanticity",
    title="Rules that features need",
    question="How many rules does a feature need, and does that change with depth?",
    variants=tuple(Variant(f"cap-{cap}", {"explainer": "tree", "rule_cap": cap}) for cap in CAPS),
    layers="spaced:8",
    latents_per_layer=30,
    questions=questions,
    trends=trends,
    sections=("featureinterp.analysis.sections:rules_needed",),
    figures="featureinterp.report.figures.polysemanticity:draw",
)
