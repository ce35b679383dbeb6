"""An experiment as one object: what varies, over which features, and the questions its results answer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from featureinterp.errors import InputError, check_numbers
from featureinterp.experiment.method.spec import LEXICAL, MethodSpec
from featureinterp.experiment.paper.questions import Questions, Trends, score_trends, single_run_questions
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.record import ComplementaryRecordSource

SIMILAR_NEGATIVE = ComplementaryRecordSource.SIMILAR_NEGATIVE

PAPER_RECORDS = FeatureRunParams(
    positives_per_split=10, negatives_per_split=10, train_sources=(), valid_sources=(SIMILAR_NEGATIVE,)
)
"""The paper's records: ten per kind and split; positives in train, positives and similar negatives in valid."""

_METHOD_FIELDS = frozenset(each.name for each in fields(MethodSpec))


@dataclass(frozen=True)
class Variant:
    """One method of an experiment, applied to all of its features."""

    name: str
    settings: Mapping[str, Any] = field(hash=False)
    """Fields of `MethodSpec` that this variant sets; the base method has the others.

    A proposer set over a lexical base brings its default simulator, unless this sets one. The lexical proposer set over
    a language model makes the baseline of that model, under the same simulator unless this sets the lexical one."""
    records: FeatureRunParams = PAPER_RECORDS

    def __post_init__(self) -> None:
        if unknown := sorted(self.settings.keys() - _METHOD_FIELDS):
            known = ", ".join(sorted(_METHOD_FIELDS))
            raise InputError(f"variant {self.name} sets {', '.join(unknown)}", f"settings of a method: {known}")

    def method(self, base: MethodSpec) -> MethodSpec:
        """Return the method of this variant over a base method.

        Raises:
            InputError: if the base method cannot have these settings.
        """
        settings = dict(self.settings)
        if (base.proposer, base.simulator) == (LEXICAL, LEXICAL):
            settings.setdefault("simulator", "")
        elif settings.get("proposer") == LEXICAL and base.asks:
            base = base.baseline(own_simulator=settings.get("simulator") == LEXICAL)
        return replace(base.with_explainer(settings.pop("explainer", base.explainer)), **settings)


@dataclass(frozen=True)
class Experiment:
    """An experiment: variants that explain the same features, and what is made of their results."""

    name: str
    """Registered name; also that of its runs and of its folder in `results/`."""
    title: str
    """Heading of its page."""
    question: str
    """What it asks, as a sentence."""
    variants: tuple[Variant, ...]
    layers: str
    """`all`, `even`, `odd`, `spaced:N` for N evenly spaced ones, or numbers."""
    latents_per_layer: int
    on_request: tuple[Variant, ...] = ()
    """Variants that are run only where they are named."""
    questions: Questions = single_run_questions
    """Paired comparisons, from the names of the variants that have runs."""
    trends: Trends = score_trends
    """Trends over layers, likewise; with the comparisons they are one family for the correction of p-values."""
    sections: tuple[str, ...] = ()
    """More sections of its summary: places `module:function`, from a `ReadExperiment` to parts of Markdown."""
    figures: str = ""
    """Its figures: the place of a function from a `ReadExperiment` and a `Width` to `Drawing` objects; empty: none."""
    table: str = ""
    """Its LaTeX table: the place of a function from a `ReadExperiment` to text; empty: none."""

    def __post_init__(self) -> None:
        check_numbers(self, latents_per_layer=(1, math.inf))

    def over(self, layers: str, latents_per_layer: int) -> Experiment:
        """Return the experiment with other layers and latents; empty or 0 keeps the current value.

        Raises:
            InputError: if the number of latents is negative.
        """
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


@dataclass(frozen=True)
class ExperimentChoice:
    """Part of an experiment to run."""

    layers: str = ""
    """Layers: all, even, odd, spaced:8, or numbers (default: the paper's)."""
    latents_per_layer: int = 0
    """Latents per layer (0: the paper's)."""
    variants: tuple[str, ...] = ()
    """Comma-separated variants to run (default: all)."""

    def of(self, experiment: Experiment) -> Experiment:
        """Return that part of an experiment.

        Raises:
            InputError: if there is no such variant, or the number of latents is negative.
        """
        return experiment.over(self.layers, self.latents_per_layer).only(self.variants)
