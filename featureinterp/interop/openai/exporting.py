"""Export in the format of OpenAI's public data set: activations and scored explanations.

`collated-activations/{layer}/{latent}.json` and `explanations/{layer}/{latent}.jsonl`. If a layer has several SAEs,
each has a separate folder around the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from featureinterp.core import ScoredSequence, Scores
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.files import atomic_folder
from featureinterp.interop.folder import one_sentence, plain_name, positives_of
from featureinterp.interop.openai.formats import (
    SCALE,
    NeuronId,
    NeuronRecord,
    NeuronSimulationResults,
    ScoredExplanation,
    ScoredSequenceSimulation,
    ScoredSimulation,
    SequenceSimulation,
    activation_records,
    encode,
)
from featureinterp.record import ComplementaryRecordSource
from featureinterp.stats import pearson

ACTIVATIONS, EXPLANATIONS = "collated-activations", "explanations"


def write_openai(store: RunStore, out: Path) -> int:
    """Write a run's finished features in OpenAI's format; equal runs give equal bytes.

    Features without an explanation have only a file of activations.

    Returns:
        Number of features written.

    Raises:
        InputError: if `out` already exists.
        StorageError: if a file cannot be written; no output is left.
    """
    hooks = sorted({(key.layer, key.hook_name) for key in store.finished()})
    layers = [layer for layer, _ in hooks]
    several = len(layers) > len(set(layers))
    parts = {hook: f"{place}-{plain_name(hook, 'hook')}" if several else "" for place, (_, hook) in enumerate(hooks)}
    n = 0
    with atomic_folder(out) as folder:
        for result in store.results():
            layer, latent = str(result.key.layer), result.key.latent
            place = folder / parts[result.key.hook_name]
            _write(place / ACTIVATIONS / layer / f"{latent}.json", encode(neuron_record_of(result)))
            if result.explanation is not None:
                _write(place / EXPLANATIONS / layer / f"{latent}.jsonl", encode(simulation_results(result)))
            n += 1
    return n


def neuron_record_of(result: FeatureResult) -> NeuronRecord:
    """Return a feature's NeuronRecord: positives and random test windows."""
    random = (one.record for one in result.test_sequences if one.record.source is ComplementaryRecordSource.RANDOM)
    return NeuronRecord(
        _id(result),
        random_sample=activation_records(list(random)),
        most_positive_activation_records=activation_records(positives_of(result)),
    )


def simulation_results(result: FeatureResult) -> NeuronSimulationResults:
    """Return a feature's explanation once per complementary source: scored on positives and that source's windows."""
    if result.explanation is None:
        return NeuronSimulationResults(_id(result), [])
    words = one_sentence(result.explanation)
    scored = [
        ScoredExplanation(words, _simulation(list(_tested(result.test_sequences, source)), scores))
        for source, scores in result.scores.items()
    ]
    return NeuronSimulationResults(_id(result), scored)


def _tested(sequences: Sequence[ScoredSequence], source: str) -> Iterator[ScoredSequence]:
    for sequence in sequences:
        if sequence.record.source is None or sequence.record.source.value == source:
            yield sequence


def _simulation(sequences: Sequence[ScoredSequence], scores: Scores) -> ScoredSimulation:
    return ScoredSimulation(
        [_sequence(one) for one in sequences],
        scores.correlation.value,
        scores.r_squared.value,
        scores.absolute_deviation_explained.value,
    )


def _sequence(sequence: ScoredSequence) -> ScoredSequenceSimulation:
    expected, true = sequence.simulation.expected_activations, sequence.record.expressions
    simulation = SequenceSimulation(list(sequence.record.tokens), [SCALE * level for level in expected])
    correlation = pearson(true, expected)
    return ScoredSequenceSimulation(simulation, list(true), correlation if math.isfinite(correlation) else None)


def _id(result: FeatureResult) -> NeuronId:
    return NeuronId(result.key.layer, result.key.latent)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
