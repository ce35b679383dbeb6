"""Layer sweep: all attempts of the tree also scored on test, to measure overfitting to feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from featureinterp.experiment.paper.declaration import PAPER_RECORDS, Experiment, Variant
from featureinterp.experiment.paper.questions import Question, Side, single_run_questions


def search_questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions about overfitting of each variant's search to its feedback."""
    asked = []
    for variant in variants:
        where = {"variant": variant}
        chosen = Side(f"{variant}, chosen by valid", "test_of_chosen", where)
        train = Side(f"{variant}, the same on train", "train_of_chosen", where)
        by_train = Side(f"{variant}, chosen by train", "test_of_best_train", where)
        on_test = replace(chosen, name=f"{variant} on test")
        asked.append(Question("score on test and on train", on_test, train, frame="selections"))
        asked.append(Question("test score", chosen, by_train, frame="selections"))
    return asked


def questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions of a single run, and those about overfitting of its search."""
    return [*single_run_questions(variants), *search_questions(variants)]


LAYERS = Experiment(
    name="layers",
    title="Layer sweep",
    question="What does the search by revision gain from round to round, and does it hold on test?",
    variants=(Variant("tree", {"explainer": "tree"}, replace(PAPER_RECORDS, judge_attempts=True)),),
    layers="all",
    latents_per_layer=50,
    questions=questions,
    sections=("featureinterp.analysis.sections:search_rounds",),
    figures="featureinterp.report.figures.layers:draw",
)
