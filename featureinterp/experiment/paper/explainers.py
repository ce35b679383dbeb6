"""Figure 4: one-shot, best-of-n and tree, with sentences, rules, negatives, and holistic activations.

The other combinations of these are run on request, and so are the baselines of a language model: the same search with
the lexical proposer, under the same simulator and under its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from featureinterp.experiment.method.spec import LEXICAL
from featureinterp.experiment.paper.declaration import PAPER_RECORDS, SIMILAR_NEGATIVE, Experiment, Variant
from featureinterp.experiment.paper.questions import SCORE, Direction, Question, method_question

_SEARCHES = ("one-shot", "best-of-n", "tree")
_TREE, _ONE_SHOT, _BEST_OF_N = "tree-", "one-shot-", "best-of-n-"
_BASELINE = "one-shot-structured"
_STRUCTURED_TREE = "tree-structured"
_DRAWN = ("unstructured", "structured", "structured-negatives", "structured-holistic")


def explainer_variant(search: str, structured: bool, negatives: bool, holistic: bool) -> Variant:
    """Return one bar of Figure 4, named by its options, such as `tree-structured-negatives`.

    Args:
        search: `one-shot`, `best-of-n` or `tree`.
        structured: rules with strengths (True) or one sentence (False).
        negatives: whether train has similar negatives.
        holistic: whether the proposer gets the tokens that cause activations.
    """
    name = f"{search}-{'structured' if structured else 'unstructured'}"
    name += ("-negatives" if negatives else "") + ("-holistic" if holistic else "")
    settings = {"explainer": search, "structured": structured, "holistic": holistic}
    records = replace(PAPER_RECORDS, train_sources=(SIMILAR_NEGATIVE,)) if negatives else PAPER_RECORDS
    return Variant(name, settings, records)


def questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions: variants against one-shot rules, trees against their one-shot, best-of-n and lexical."""
    trees = [variant for variant in variants if variant.startswith(_TREE)]
    searches = [(tree, _ONE_SHOT + tree.removeprefix(_TREE)) for tree in trees]
    revisions = [(tree, _BEST_OF_N + tree.removeprefix(_TREE)) for tree in trees]
    baseline = [(name, _BASELINE) for name in variants if name != _BASELINE and not name.startswith(_BEST_OF_N)]
    lexical = [(_STRUCTURED_TREE, variant.name) for variant in LEXICAL_BASELINES]
    pairs = dict.fromkeys([*baseline, *searches, *revisions, *lexical])
    asked = [(a, b) for a, b in pairs if {a, b} <= set(variants)]
    return [method_question("score", SCORE, a, b, _claim(a, (a, b) in searches)) for a, b in asked]


def _claim(a: str, is_search: bool) -> Direction:
    if is_search:
        return "higher"
    return "lower" if a == "one-shot-unstructured" else ""


LEXICAL_BASELINES = (
    Variant("tree-lexical-same-simulator", {"explainer": "tree", "proposer": LEXICAL}),
    Variant("tree-lexical-own-simulator", {"explainer": "tree", "proposer": LEXICAL, "simulator": LEXICAL}),
)
"""What a language model as proposer is measured against."""

_EVERY = {
    variant.name: variant
    for search in _SEARCHES
    for options in product((False, True), repeat=3)
    for variant in [explainer_variant(search, *options)]
}
_BARS = tuple(f"{search}-{configuration}" for search in _SEARCHES for configuration in _DRAWN)

EXPLAINERS = Experiment(
    name="explainers",
    title="Explainer comparison",
    question="Do rules, negative examples, the causes of activations and the search by revision help?",
    variants=tuple(_EVERY[name] for name in _BARS),
    layers="spaced:8",
    latents_per_layer=30,
    on_request=(*(variant for name, variant in _EVERY.items() if name not in _BARS), *LEXICAL_BASELINES),
    questions=questions,
    figures="featureinterp.report.figures.explainers:draw",
    table="featureinterp.report.figures.explainers:table",
)
