"""Declarations of the paper's experiments: variants, layers and records."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product

from featureinterp.errors import InputError, check_numbers
from featureinterp.experiment.methods import MethodSpec
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.record import ComplementaryRecordSource

SIMILAR_NEGATIVE = ComplementaryRecordSource.SIMILAR_NEGATIVE

PAPER_RECORDS = FeatureRunParams(
    positives_per_split=10, negatives_per_split=10, train_sources=(), valid_sources=(SIMILAR_NEGATIVE,)
)
"""Ten sentences of each kind a split: explained from those that fire, chosen beside similar ones that do not."""

MOST_RULES = 5


@dataclass(frozen=True)
class Variant:
    """One method of an experiment, applied to all of its features."""

    name: str
    method: MethodSpec
    records: FeatureRunParams = PAPER_RECORDS


@dataclass(frozen=True)
class Experiment:
    """An experiment: variants that explain the same features."""

    name: str
    question: str
    variants: tuple[Variant, ...]
    layers: str
    """`all`, `even`, `odd`, `spaced:N` for N evenly spaced ones, or numbers."""
    latents_per_layer: int
    on_request: tuple[Variant, ...] = ()
    """Variants that are run only where they are named."""

    def __post_init__(self) -> None:
        check_numbers(self, latents_per_layer=(1, math.inf))

    def over(self, layers: str, latents_per_layer: int) -> Experiment:
        """Return the experiment with other layers and latents; empty or 0 keeps the current value."""
        n = latents_per_layer or self.latents_per_layer
        return replace(self, layers=layers or self.layers, latents_per_layer=n)

    def only(self, names: Collection[str]) -> Experiment:
        """Return the experiment restricted to the named variants; all if none are named.

        Raises:
            InputError: if there is no such variant.
        """
        if not names:
            return self
        known = {variant.name: variant for variant in (*self.variants, *self.on_request)}
        names = [name.strip() for name in names]
        for name in names:
            if name not in known:
                raise InputError(f"{self.name} has no variant {name!r}", f"its variants: {', '.join(known)}")
        return replace(self, variants=tuple(variant for name, variant in known.items() if name in names))


def complementary(base: MethodSpec) -> Experiment:
    """Figure 3: scores by complementary source; one-shot against tree."""
    variants = tuple(Variant(search, base.with_explainer(search)) for search in ("one-shot", "tree"))
    question = "Which sentences falsify an explanation, and does the search by revision help?"
    return Experiment("complementary", question, variants, layers="even", latents_per_layer=50)


def explainers(base: MethodSpec) -> Experiment:
    """Figure 4: one-shot and tree, with sentences, rules, negatives, and holistic activations.

    The other combinations of these are run on request.
    """
    every = [
        explainer_variant(base, search, structured, negatives, holistic)
        for search in ("one-shot", "tree")
        for structured, negatives, holistic in product((False, True), repeat=3)
    ]
    drawn = ("unstructured", "structured", "structured-negatives", "structured-holistic")
    variants = tuple(each for each in every if each.name.removeprefix(f"{each.method.explainer}-") in drawn)
    question = "Do rules, negative examples, the causes of activations and the search by revision help?"
    others = tuple(each for each in every if each not in variants)
    return Experiment("explainers", question, variants, "spaced:8", latents_per_layer=30, on_request=others)


def explainer_variant(base: MethodSpec, search: str, structured: bool, negatives: bool, holistic: bool) -> Variant:
    """Return one bar of Figure 4, named by its options, such as `tree-structured-negatives`.

    Args:
        base: all that does not vary.
        search: `one-shot` or `tree`.
        structured: rules with strengths, or one sentence.
        negatives: whether train holds similar sentences on which the feature is silent.
        holistic: whether the proposer learns what causes activations.
    """
    name = f"{search}-{'structured' if structured else 'unstructured'}"
    name += ("-negatives" if negatives else "") + ("-holistic" if holistic else "")
    method = replace(base.with_explainer(search), structured=structured, holistic=holistic)
    records = replace(PAPER_RECORDS, train_sources=(SIMILAR_NEGATIVE,)) if negatives else PAPER_RECORDS
    return Variant(name, method, records)


def polysemanticity(base: MethodSpec) -> Experiment:
    """Figure 5: number of rules needed per feature, by layer."""
    caps = range(1, MOST_RULES + 1)
    variants = tuple(Variant(f"cap-{cap}", replace(base.with_explainer("tree"), rule_cap=cap)) for cap in caps)
    question = "How many rules does a feature need, and does that change with depth?"
    return Experiment("polysemanticity", question, variants, layers="spaced:8", latents_per_layer=30)


def layers(base: MethodSpec) -> Experiment:
    """Layer sweep: all attempts of the tree also scored on test, to measure overfitting to feedback."""
    records = replace(PAPER_RECORDS, judge_attempts=True)
    question = "What does the search by revision gain from round to round, and does it hold on test?"
    return Experiment(
        "layers", question, (Variant("tree", base.with_explainer("tree"), records),), "all", latents_per_layer=50
    )


EXPERIMENTS: Mapping[str, Callable[[MethodSpec], Experiment]] = {
    "complementary": complementary,
    "explainers": explainers,
    "polysemanticity": polysemanticity,
    "layers": layers,
}
"""Name to a function from all that does not vary to the experiment."""
