"""A small made-up world: latent k fires on the word `WORDS[k]`; a scripted explainer and simulator for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from featureinterp.core import Attempt, ExplainerResult, Proposal, SequenceSimulation, StructuredExplanation
from featureinterp.experiment.engines.worker import LatentState
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.run import Method
from featureinterp.record import ActivationRecord, ComplementaryRecordSource, SAEIndexId, SAEIndexRecord

WORDS = (" cat", " dog", " fish", " bird", " cow", " hen", " fox", " owl")
FILLER = (" the", " a", " of", " is", " to", " and", " it", " in")
N_TOKENS = 8
MAXIMUM = 2.0


class WordSimulator:
    """Expects level 5 on the very token that the explanation names."""

    def __init__(self, explanation: StructuredExplanation) -> None:
        self.words = {rule.activates_on for rule in explanation.rules}

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        return [
            SequenceSimulation(tuple(tokens), tuple(5.0 if token in self.words else 0.0 for token in tokens))
            for tokens in token_sequences
        ]


@dataclass
class MostActiveWord:
    """An explainer that names the token with the largest activation in train, and notes what it was shown."""

    seen: list[tuple[Sequence[ActivationRecord], Sequence[ActivationRecord]]] = field(default_factory=list)

    async def generate_explanations(self, train_records, valid_records, num_samples=1) -> ExplainerResult:
        self.seen.append((train_records, valid_records))
        pairs = [pair for r in train_records for pair in zip(r.expressions, r.tokens, strict=True)]
        explanation = StructuredExplanation.from_text(max(pairs)[1])
        attempt = Attempt(0, None, 0, Proposal(explanation), train_score=1.0, valid_score=1.0)
        return ExplainerResult((explanation,), (attempt,), (0,))


class NoIdea:
    """An explainer all of whose attempts fail."""

    async def generate_explanations(self, train_records, valid_records, num_samples=1) -> ExplainerResult:
        reasons = ("it was not JSON", "the request was refused", "it was not JSON")
        return ExplainerResult((), tuple(Attempt(i, None, 0, Proposal(None, failure=r)) for i, r in enumerate(reasons)))


class World:
    """Evidence about latents 0..7 of any layer; latent 6 never fires, latent 7 only on one window."""

    dead, rare = 6, 7

    def __init__(self) -> None:
        self.asked: list[FeatureKey] = []

    def key(self, latent: int, layer: int = 1) -> FeatureKey:
        return FeatureKey(f"blocks.{layer}.hook_resid_post", layer, latent)

    def method(self, explainer=None) -> Method:
        return Method("scripted", explainer or MostActiveWord(), WordSimulator)

    def status(self, key: FeatureKey) -> LatentState:
        if key.latent == self.dead:
            return LatentState("dead", "never fires on 1000 windows")
        if key.latent == self.rare:
            return LatentState("rare", "fires on 1 document", density=0.001, max_activation=0.5)
        return LatentState(None, density=0.25, max_activation=MAXIMUM)

    def record(self, key: FeatureKey) -> SAEIndexRecord:
        self.asked.append(key)
        return self.make_record(key.latent, layer=key.layer)

    def make_record(
        self, latent: int, n_positive: int = 9, n_negative: int = 6, layer: int = 1, repeated: bool = False
    ) -> SAEIndexRecord:
        """`repeated`: the windows of SIMILAR_NEGATIVE are those of RANDOM_NEGATIVE."""
        rng = np.random.default_rng([layer, latent])
        sources = ComplementaryRecordSource

        def windows(n, first, source, firing) -> tuple[ActivationRecord, ...]:
            return tuple(self._window(rng, latent, first + i, source, i in firing) for i in range(n))

        random_no_act = windows(n_negative, 200, sources.RANDOM_NEGATIVE, ())
        similar_no_act = windows(n_negative, 400, sources.SIMILAR_NEGATIVE, ())
        if repeated:
            similar_no_act = tuple(
                ActivationRecord(r.tokens, r.expressions, (), r.dataset_index, MAXIMUM, 0.0, sources.SIMILAR_NEGATIVE)
                for r in random_no_act
            )
        return SAEIndexRecord(
            id=SAEIndexId(layer, latent),
            max_expression=MAXIMUM,
            max_holistic_expression=0.0,
            most_act_records=windows(n_positive, 0, None, range(n_positive)),
            random_records=windows(n_negative, 100, sources.RANDOM, (2,)),
            random_no_act_records=random_no_act,
            similar_records=windows(n_negative, 300, sources.SIMILAR, (0, 5)),
            similar_no_act_records=similar_no_act,
            same_token_no_act_records=windows(n_negative, 500, sources.SAME_TOKEN_NEGATIVE, ()),
        )

    @staticmethod
    def _window(rng, latent, index, source, fires) -> ActivationRecord:
        tokens = [str(word) for word in rng.choice(FILLER, N_TOKENS)]
        values = np.zeros(N_TOKENS)
        if fires:
            place = int(rng.integers(N_TOKENS))
            tokens[place], values[place] = WORDS[latent], MAXIMUM * (0.5 + 0.5 * float(rng.random()))
        return ActivationRecord(tuple(tokens), tuple(values.tolist()), (), index, MAXIMUM, 0.0, source)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def no_idea() -> NoIdea:
    return NoIdea()


@pytest.fixture
def most_active_word() -> MostActiveWord:
    return MostActiveWord()
