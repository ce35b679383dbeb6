"""The bench: true and expected activations on a sentence, scores of edited rules.

Everything here runs in the models' thread, one request at a time. The simulator is that of the run; a
language model behind an endpoint answers from its ledger only, unless a limit of spending is set, so that viewing
a page never costs money unexpectedly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featureinterp.codec import whole_characters
from featureinterp.core import Rule, ScoredSequence, SequenceSimulation, StructuredExplanation
from featureinterp.display import visible_token
from featureinterp.errors import (
    BudgetExceededError,
    ChatError,
    EndpointConfigError,
    EndpointUnavailableError,
    FeatureInterpError,
    RequestFailedError,
)
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.llm.api.spending import Meter, RunLimits
from featureinterp.record import MAX_LEVEL, SOURCE_WORDS, ActivationRecord, ComplementaryRecordSource
from featureinterp.report.server import schema
from featureinterp.report.server.limits import RefusalError
from featureinterp.report.server.served_run import Entry
from featureinterp.report.server.subject import RunSubject
from featureinterp.report.views import SentenceView, record_view, sentence_view
from featureinterp.scoring import differences_by_source, score_by_source, simulate_records
from featureinterp.simulator.registry import is_served
from featureinterp.simulator.rules import RuleSimulatorFactory

_REMEMBERED_FEATURES = 4
_REMEMBERED_PAIRS = 20_000
"""Maximum cached pairs of rule and window per feature; about 300 bytes each."""
_REMEMBERED_TEXTS = 50_000

_OF_ENDPOINTS = (BudgetExceededError, EndpointUnavailableError, ChatError, EndpointConfigError, RequestFailedError)


class Bench:
    """Live queries on a run."""

    def __init__(
        self,
        subject: RunSubject,
        configuration: Mapping[str, Any],
        device: str,
        simulation: RunLimits | None = None,
        request_seconds: float = ModelAccess.request_seconds,
    ) -> None:
        """Store the parts; opens nothing.

        Args:
            subject: the run's model and SAEs.
            configuration: configuration of the run.
            device: device of a local simulator model: a torch device, or `auto`.
            simulation: limits of a simulator behind an endpoint; None for cached answers only.
            request_seconds: timeout of one attempt of a request to it.
        """
        self._subject = subject
        self.simulator: str = configuration["method"]["simulator"]
        """Name of the run's simulator."""
        self._offline = simulation is None
        access = ModelAccess(offline=self._offline, device=device, request_seconds=request_seconds)
        self._models = Models(replace(access, limits=simulation or RunLimits()))
        self._factories: OrderedDict[FeatureKey, RuleSimulatorFactory] = OrderedDict()

    async def activations(
        self, result: FeatureResult, text: str, rules: Sequence[schema.Rule] | None
    ) -> schema.Activations:
        """Return a feature's true activations on a sentence, and those expected from its explanation or `rules`.

        Raises:
            RefusalError: 422, if the sentence is empty or too long; 409, if there is no subject.
        """
        ids, tokens = self._subject.tokenize(text)
        key = result.key
        values = self._subject.activations(ids, {key.hook_name: [key.latent]})[key.hook_name][:, 0]
        notes = []
        # Without a scale, bars use the sentence's own.
        maximum = result.max_activation or float(values.max())
        if not result.max_activation:
            notes.append("The feature never fired on the corpus, so its activations have no scale of levels.")
        source = ComplementaryRecordSource.OTHER
        record = ActivationRecord(tokens, tuple(values.tolist()), (), 0, maximum, source=source)
        explanation = _explanation(rules) if rules is not None else result.explanation
        expected = None
        if explanation is None:
            notes.append(f"The feature has no explanation, so nothing is expected: {result.reason or result.status}.")
        elif result.max_activation:
            try:
                [expected] = await self._factory(key)(explanation).simulate([tokens])
            except FeatureInterpError as error:
                refusal = self._cannot_simulate(error)
                notes.append(f"{refusal.problem} ({refusal.hint})")
        return _activations(record, expected, result.max_activation, notes)

    async def score(self, result: FeatureResult, rules: Sequence[schema.Rule]) -> schema.ScoreAnswer:
        """Return the scores of rules on a feature's stored test sentences, beside those of its explanation.

        Raises:
            RefusalError: 409, if the feature has no test sentences; 502, if the simulator fails.
        """
        stored, key = result.test_sequences, result.key
        if not stored:
            told = f"the feature has no test sentences, because it has no explanation: {result.reason or result.status}"
            raise RefusalError(409, told, "use a feature with the status explained")
        explanation = _explanation(rules)
        try:
            simulator = self._factory(key)(explanation)
            edited = await simulate_records(simulator, [pair.record for pair in stored])
        except FeatureInterpError as error:
            raise self._cannot_simulate(error) from error
        ours, theirs = score_by_source(edited), result.scores
        differences = differences_by_source(edited, stored)
        of = schema.ScoreValue.of
        sources = [
            schema.SourceScores(
                source=source,
                words=words,
                edited=of(ours[source].correlation),
                stored=of(theirs[source].correlation),
                difference=of(differences[source]),
                edited_false_positives=of(ours[source].false_positives_per_sentence),
                stored_false_positives=of(theirs[source].false_positives_per_sentence),
                n_sentences=ours[source].n_sentences,
            )
            for source, words in SOURCE_WORDS.items()
            if source in ours and source in theirs
        ]
        return schema.ScoreAnswer(unchanged=explanation == result.explanation, sources=sources)

    async def top(self, entries: Sequence[Entry], text: str, n: int) -> schema.Top:
        """Return the `n` features that fire most strongly on a sentence, each as a share of its own largest.

        Raises:
            RefusalError: as `activations`.
        """
        ids, tokens = self._subject.tokenize(text)
        shown = [visible_token(token) for token in tokens]
        usable = [entry for entry in entries if entry.max_activation > 0]
        latents: dict[str, list[int]] = {}
        for entry in usable:
            latents.setdefault(entry.key.hook_name, []).append(entry.key.latent)
        found = self._subject.activations(ids, latents) if latents else {}
        strongest: dict[FeatureKey, tuple[float, int]] = {}
        for hook, values in found.items():
            at = values.argmax(axis=0)
            pairs = zip(values.max(axis=0).tolist(), at.tolist(), strict=True)
            layer = next(entry.key.layer for entry in usable if entry.key.hook_name == hook)
            keys = (FeatureKey(hook, layer, latent) for latent in latents[hook])
            strongest.update(zip(keys, pairs, strict=True))
        firing = [entry for entry in usable if strongest[entry.key][0] > 0]
        firing.sort(key=lambda entry: -strongest[entry.key][0] / entry.max_activation)
        return schema.Top(
            tokens=shown,
            n_firing=len(firing),
            features=[_firing(entry, *strongest[entry.key], shown) for entry in firing[:n]],
        )

    async def close(self) -> None:
        """Release the simulator's resources."""
        await self._models.__aexit__(None, None, None)

    def _factory(self, key: FeatureKey) -> RuleSimulatorFactory:
        """Return the simulators of a feature, which cache recent levels of rules on its sentences."""
        factory = self._factories.pop(key, None)
        if factory is None or factory.memory.computed > _REMEMBERED_PAIRS:
            factory = self._models.simulators(self.simulator, Meter())
        self._models.embeddings.forget(above=_REMEMBERED_TEXTS)
        self._factories[key] = factory
        if len(self._factories) > _REMEMBERED_FEATURES:
            self._factories.popitem(last=False)
        return factory

    def _cannot_simulate(self, error: FeatureInterpError) -> RefusalError:
        asked = is_served(self.simulator) and isinstance(error, _OF_ENDPOINTS)
        if asked and self._offline:
            told = (
                f"the run's simulator {self.simulator} is a language model behind an endpoint; only its stored "
                f"answers are used here, and none is stored: {error.problem}"
            )
            return RefusalError(502, told, "serve with --max-cost or --max-tokens to allow requests")
        told = f"the run's simulator {self.simulator} failed: {error.problem}"
        return RefusalError(502 if asked else 409, told, error.hint)


def feature_of(entry: Entry) -> schema.Feature:
    """Return a feature in the form of the API's lists."""
    row, key = entry.row, entry.key
    return schema.Feature(
        name=entry.name, layer=key.layer, latent=key.latent, hook=key.hook_name,
        status=row.status, words=[whole_characters(words) for words in row.words], score=row.score().value,
    )  # fmt: skip


def _explanation(rules: Sequence[schema.Rule]) -> StructuredExplanation:
    return StructuredExplanation(tuple(Rule(rule.activates_on, rule.strength) for rule in rules))


def _activations(
    record: ActivationRecord, expected: SequenceSimulation | None, scale: float, notes: list[str]
) -> schema.Activations:
    disagreement = None
    if expected is None:
        view = record_view(record)
    else:
        pair = ScoredSequence(record, expected)
        view = sentence_view(pair)
        errors = np.abs(np.asarray(expected.expected_activations) - record.scaled_activations())
        disagreement = schema.Disagreement(
            squared_error=pair.squared_error(), mean_absolute_error=float(errors.mean()), words=list(view.errors)
        )
    return schema.Activations(
        tokens=_tokens(view, record, has_levels=scale > 0),
        max_activation=scale,
        disagreement=disagreement,
        notes=[whole_characters(note) for note in notes],
    )


def _tokens(view: SentenceView, record: ActivationRecord, has_levels: bool) -> list[schema.Token]:
    return [
        schema.Token(
            text=text,
            lead=token.lead,
            shown=token.text,
            activation=activation,
            level=token.truth if has_levels else None,
            expected=None if token.expected is None else min(max(token.expected, 0.0), float(MAX_LEVEL)),
            error=None if token.expected is None else token.expected - token.truth,
            mark=token.mark,
            true_bar=token.true_level,
            expected_bar=token.expected_level,
        )
        for token, text, activation in zip(view.tokens, record.tokens, record.expressions, strict=True)
    ]


def _firing(entry: Entry, activation: float, position: int, shown: Sequence[str]) -> schema.Firing:
    level = min(MAX_LEVEL * activation / entry.max_activation, float(MAX_LEVEL))
    return schema.Firing(
        feature=feature_of(entry), activation=activation, level=level, position=position, token=shown[position]
    )
