"""OpenAI's neuron files: `NeuronRecord` and `NeuronSimulationResults`.

The classes have OpenAI's names, and every object in a file holds its class name (`dataclass_name`). Expected
activations are on a scale from 0 to 10, here from 0 to 5: conversion doubles or halves. An undefined score is null in
OpenAI's files, and "nan" in delphi's, which have the same format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from featureinterp import core, record
from featureinterp.errors import DataFolderError, ExplanationError
from featureinterp.interop.folder import json_line
from featureinterp.interop.reading import read_json

SCALE = 2
"""OpenAI's levels (0..10) per level here (0..5)."""

Index = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Value = float | Literal["nan"] | None
"""A score; null or "nan" if undefined."""


class Tagged(msgspec.Struct, frozen=True, tag_field="dataclass_name", tag=True):
    """An object with its class name."""


class ActivationRecord(Tagged, frozen=True):
    """A window with a neuron's activations."""

    tokens: list[str]
    activations: list[float]
    """Activations in the neuron's units; some activation functions are below 0 at rest."""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.activations):
            raise ValueError(f"{len(self.tokens)} tokens and {len(self.activations)} activations")


class NeuronId(Tagged, frozen=True):
    """Id of a neuron or latent."""

    layer_index: Index
    neuron_index: Index


class NeuronRecord(Tagged, frozen=True):
    """A neuron's most active and random windows."""

    neuron_id: NeuronId
    random_sample: list[ActivationRecord] = []
    random_sample_by_quantile: list[list[ActivationRecord]] | None = None
    quantile_boundaries: list[float] | None = None
    mean: Value = None
    variance: Value = None
    skewness: Value = None
    kurtosis: Value = None
    most_positive_activation_records: list[ActivationRecord] = []


class SequenceSimulation(Tagged, frozen=True):
    """Expected activations of a neuron on one window."""

    tokens: list[str]
    expected_activations: list[float]
    activation_scale: str | None = "simulated_normalized_activations"
    distribution_values: list[list[float]] | None = []
    distribution_probabilities: list[list[float]] | None = []
    uncalibrated_simulation: SequenceSimulation | None = None


class ScoredSequenceSimulation(Tagged, frozen=True):
    """A window's simulation and true activations."""

    simulation: SequenceSimulation
    true_activations: list[float]
    ev_correlation_score: Value = None
    rsquared_score: Value = None
    absolute_dev_explained_score: Value = None

    def __post_init__(self) -> None:
        sizes = {len(self.simulation.tokens), len(self.simulation.expected_activations), len(self.true_activations)}
        if len(sizes) > 1:
            raise ValueError("the numbers of tokens, expected and true activations differ")


class ScoredSimulation(Tagged, frozen=True):
    """An explanation's simulation on several windows, with scores."""

    scored_sequence_simulations: list[ScoredSequenceSimulation]
    ev_correlation_score: Value = None
    rsquared_score: Value = None
    absolute_dev_explained_score: Value = None


class ScoredExplanation(Tagged, frozen=True):
    """An explanation with its scored simulation."""

    explanation: str
    scored_simulation: ScoredSimulation


class NeuronSimulationResults(Tagged, frozen=True):
    """A neuron's explanations."""

    neuron_id: NeuronId
    scored_explanations: list[ScoredExplanation]


def encode(noun: Tagged) -> bytes:
    """Return an object as one line of JSON, the same bytes for equal ones."""
    return json_line(msgspec.to_builtins(noun))


def read_neuron_record(path: Path) -> NeuronRecord:
    """Read `collated-activations/{layer}/{neuron}.json`.

    Raises:
        DataFolderError: if it cannot be read, or is not a NeuronRecord.
    """
    return read_json(path, NeuronRecord)


def read_simulation_results(path: Path) -> NeuronSimulationResults:
    """Read `explanations/{layer}/{neuron}.jsonl`, which holds one line.

    Raises:
        DataFolderError: if it cannot be read, or is not a NeuronSimulationResults.
    """
    return read_json(path, NeuronSimulationResults)


def records_of(neuron: NeuronRecord) -> record.SAEIndexRecord:
    """Convert a NeuronRecord to records: equal windows share a number, activations below 0 become 0.

    Positives are the most positive windows, random records the random sample, and random negatives those of
    all samples on which it is silent. There are no similar windows.

    Raises:
        DataFolderError: if it never fires.
    """
    known: dict[tuple[str, ...], int] = {}
    quantiles = [one for sample in neuron.random_sample_by_quantile or [] for one in sample]
    groups = neuron.most_positive_activation_records, neuron.random_sample, [*neuron.random_sample, *quantiles]
    largest = max((value for group in groups for one in group for value in one.activations), default=0.0)
    if largest <= 0:
        told = f"{neuron.neuron_id.neuron_index} of layer {neuron.neuron_id.layer_index}"
        raise DataFolderError(f"neuron {told} fires in none of its records", "there is nothing to explain")

    def ours(group: Sequence[ActivationRecord], source: record.ComplementaryRecordSource | None) -> Iterator:
        for one in group:
            tokens = tuple(one.tokens)
            values = tuple(max(value, 0.0) for value in one.activations)
            number = known.setdefault(tokens, len(known))
            yield record.ActivationRecord(tokens, values, (), number, largest, source=source)

    sources = record.ComplementaryRecordSource
    positives, random = (tuple(ours(g, s)) for g, s in zip(groups, (None, sources.RANDOM), strict=False))
    return record.SAEIndexRecord(
        id=record.SAEIndexId(neuron.neuron_id.layer_index, neuron.neuron_id.neuron_index),
        max_expression=largest,
        max_holistic_expression=0.0,
        most_act_records=tuple(one for one in positives if one.is_active),
        random_records=random,
        random_no_act_records=tuple(one for one in ours(groups[2], sources.RANDOM_NEGATIVE) if not one.is_active),
        similar_records=(),
        similar_no_act_records=(),
    )


def neuron_record(found: record.SAEIndexRecord) -> NeuronRecord:
    """Return a latent's records as a NeuronRecord: positives, the most active first, and the random windows."""
    positives = sorted(found.most_act_records, key=lambda one: (-max(one.expressions), one.dataset_index))
    identity = NeuronId(found.id.layer_index, found.id.latent_index)
    return NeuronRecord(
        identity,
        random_sample=activation_records(found.random_records),
        most_positive_activation_records=activation_records(positives),
    )


def activation_records(records: Sequence[record.ActivationRecord]) -> list[ActivationRecord]:
    """Convert records to OpenAI's activation records."""
    return [ActivationRecord(list(one.tokens), list(one.expressions)) for one in records]


def explanations_of(
    results: NeuronSimulationResults,
) -> tuple[tuple[core.StructuredExplanation, core.ScoredSimulation], ...]:
    """Return a neuron's explanations, each as one rule of full strength, with their simulations and scores.

    Raises:
        DataFolderError: if an explanation is empty.
    """
    made = []
    for position, scored in enumerate(results.scored_explanations):
        try:
            explanation = core.StructuredExplanation.from_text(scored.explanation)
        except ExplanationError as error:
            raise DataFolderError(
                f"explanation {position} of the neuron is empty", "there is nothing to score"
            ) from error
        made.append((explanation, scored_simulation(scored.scored_simulation)))
    return tuple(made)


def scored_simulation(theirs: ScoredSimulation) -> core.ScoredSimulation:
    """Convert a scored simulation; missing scores are undefined."""
    known: dict[tuple[str, ...], int] = {}
    parts = theirs.scored_sequence_simulations
    largest = max((value for part in parts for value in part.true_activations), default=0.0)
    sequences = []
    for part in parts:
        tokens = tuple(part.simulation.tokens)
        true = tuple(max(value, 0.0) for value in part.true_activations)
        window = record.ActivationRecord(tokens, true, (), known.setdefault(tokens, len(known)), max(largest, 0.0))
        expected = tuple(value / SCALE for value in part.simulation.expected_activations)
        sequences.append(core.ScoredSequence(window, core.SequenceSimulation(tokens, expected)))
    unknown = core.Score.undefined("not stated in the file")
    scores = core.Scores(
        score_of(theirs.ev_correlation_score),
        score_of(theirs.rsquared_score),
        score_of(theirs.absolute_dev_explained_score),
        *[unknown] * 5,
        n_sentences=len(sequences),
        n_complementary=sum(not sequence.record.is_active for sequence in sequences),
    )
    return core.ScoredSimulation(tuple(sequences), scores)


def score_of(value: Value) -> core.Score:
    """Convert a score, with a reason if undefined."""
    return core.Score.undefined("undefined in the file") if value is None or value == "nan" else core.Score(value)
