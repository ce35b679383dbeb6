"""Requests and answers of the API as pydantic models: they validate requests and define the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from featureinterp.core import Score
from featureinterp.record import MAX_LEVEL
from featureinterp.report.server.limits import MOST_RULES, MOST_TOP, RULE_CHARACTERS, TEXT_CHARACTERS

_LARGEST = 2**31 - 1

_FEATURE: dict[str, JsonValue] = {"layer": 2, "latent": 7}
_SENTENCE = "for i in range(10):"
_RULE: dict[str, JsonValue] = {"activates_on": 'the token "for"', "strength": 5}

Layer = Annotated[int, Field(ge=0, le=_LARGEST, description="Layer whose SAE has the feature.")]
Latent = Annotated[int, Field(ge=0, le=_LARGEST, description="Index of the feature in its SAE.")]
Hook = Annotated[
    str | None, Field(max_length=200, description="Point of the model that the SAE reads, where a layer has several.")
]
Text = Annotated[
    str, Field(min_length=1, max_length=TEXT_CHARACTERS, description="The sentence; the model's own BOS is put before.")
]
Level = Annotated[float, Field(ge=0, le=MAX_LEVEL)]


class Model(BaseModel):
    """Base of all models: undeclared fields are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Model):
    """One line of an explanation."""

    activates_on: Annotated[
        str,
        Field(min_length=1, max_length=RULE_CHARACTERS, pattern=r"\S", description="What the feature activates on."),
    ]
    strength: Annotated[
        int, Field(ge=0, le=MAX_LEVEL, description="0 (not at all) to 5 (as strongly as it ever does).")
    ]


Rules = Annotated[
    list[Rule],
    Field(min_length=1, max_length=MOST_RULES, description="The strongest rule that applies is what is expected."),
]


class Address(Model):
    """Address of a feature of the run."""

    layer: Layer
    latent: Latent
    hook: Hook = None


class ActivationsRequest(Address):
    """A sentence and a feature."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_FEATURE, "text": _SENTENCE}]})

    text: Text
    rules: Annotated[
        Rules | None, Field(description="Expect by these rules; by the feature's own explanation unless given.")
    ] = None


class ScoreRequest(Model):
    """Rules to score on a feature's test sentences."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"feature": _FEATURE, "rules": [_RULE]}]})

    feature: Annotated[Address, Field(description="Feature to score.")]
    rules: Rules


class TopRequest(Model):
    """A sentence, and the number of features to return."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": _SENTENCE}]})

    text: Text
    n: Annotated[int, Field(ge=1, le=MOST_TOP, description="Features at most.")] = 10


class Feature(Model):
    """A feature of the run."""

    name: Annotated[str, Field(description="Of its page and JSON: features/NAME.html, features/NAME.json.")]
    layer: int
    latent: int
    hook: str
    status: str
    words: Annotated[list[str], Field(description="Its rules, or the reason why there are none.")]
    score: Annotated[
        float | None, Field(description="Test correlation against similar sentences on which the feature is silent.")
    ]


class Features(Model):
    """Some of the run's features, in the order of its pages."""

    total: Annotated[int, Field(description="How many there are, of the layer that was asked for.")]
    features: list[Feature]


class Run(Model):
    """The served run."""

    title: str
    finished: Annotated[bool, Field(description="Whether every feature that was asked for is done.")]
    counts: Annotated[dict[str, int], Field(description="Features by what became of them.")]
    settings: dict[str, str]
    simulator: Annotated[str, Field(description="What turns explanations into expected activations.")]


class Token(Model):
    """One token of a typed sentence."""

    text: Annotated[str, Field(description="Exactly, with its leading space.")]
    lead: Annotated[str, Field(description="Spaces before what is shown.")]
    shown: Annotated[str, Field(description="Made safe to show: every character can be seen and none does anything.")]
    activation: Annotated[float, Field(description="True activation, in the SAE's units.")]
    level: Annotated[
        Level | None, Field(description="The same on the scale 0..5; null where the feature never fired on the corpus.")
    ]
    expected: Annotated[Level | None, Field(description="What the explanation expects, 0..5; null without one.")]
    error: Annotated[float | None, Field(description="Expected minus true level.")]
    mark: Annotated[Literal["", "miss", "alarm"], Field(description="miss: active and not expected; alarm: silent.")]
    true_bar: Annotated[int, Field(ge=0, le=MAX_LEVEL, description="Height to draw.")]
    expected_bar: Annotated[int, Field(ge=0, le=MAX_LEVEL, description="Height to draw.")]


class Disagreement(Model):
    """Error of the expected activations over all tokens, in levels 0..5."""

    squared_error: Annotated[float, Field(description="Sum over tokens of (expected − true)².")]
    mean_absolute_error: Annotated[float, Field(description="Mean over tokens of |expected − true|.")]
    words: Annotated[list[str], Field(description="The largest errors of at least one level, the largest first.")]


class Activations(Model):
    """True and expected activations of a feature on a sentence."""

    tokens: list[Token]
    max_activation: Annotated[float, Field(description="Largest activation over the corpus: level 5.")]
    disagreement: Disagreement | None
    notes: Annotated[list[str], Field(description="Why something is missing.")]


class ScoreValue(Model):
    """A number with its 95% interval, or the reason why it is undefined."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    reason: str

    @classmethod
    def of(cls, score: Score) -> ScoreValue:
        """Convert a score."""
        return cls(value=score.value, ci_low=score.ci_low, ci_high=score.ci_high, reason=score.reason)


class SourceScores(Model):
    """Scores of both explanations against one source of negatives."""

    source: str
    words: Annotated[str, Field(description="The source's name for readers.")]
    edited: Annotated[ScoreValue, Field(description="Test correlation of the rules that were sent.")]
    stored: Annotated[ScoreValue, Field(description="Test correlation of the run's explanation.")]
    difference: Annotated[ScoreValue, Field(description="Edited minus stored, on the same sentences.")]
    edited_false_positives: Annotated[ScoreValue, Field(description="Per sentence of the source.")]
    stored_false_positives: ScoreValue
    n_sentences: int


class ScoreAnswer(Model):
    """Scores of the rules on the run's test sentences, next to those of the stored explanation."""

    unchanged: Annotated[bool, Field(description="Whether the rules are those of the stored explanation.")]
    sources: Annotated[list[SourceScores], Field(description="The source a feature is judged by first comes first.")]


class Firing(Model):
    """A feature that fires on a sentence, and where."""

    feature: Feature
    activation: Annotated[float, Field(description="Its largest on the sentence, in the SAE's units.")]
    level: Annotated[Level, Field(description="The same on the scale 0..5.")]
    position: Annotated[int, Field(ge=0, description="Index of the token.")]
    token: Annotated[str, Field(description="The token, made safe to show.")]


class Top(Model):
    """The features that fire most strongly, by their activation as a share of their largest on the corpus."""

    tokens: Annotated[list[str], Field(description="Of the sentence, made safe to show.")]
    n_firing: Annotated[int, Field(description="Features of the run that fire on it at all.")]
    features: list[Firing]


class Refusal(Model):
    """Reason of a rejected request."""

    problem: Annotated[str, Field(description="What is wrong, in a sentence.")]
    hint: Annotated[str, Field(description="What to do.")]
