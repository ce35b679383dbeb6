"""Pipeline for one feature: from its records to a scored explanation.

    records ─split─▶ train, valid ─explainer─▶ explanation
                     test ─simulator(explanation)─▶ scores per complementary source, beside the floors

Train proposes, valid chooses, test judges; `Splits` cannot be made with a window in two of them
(`SAEIndexRecord.splits`). Each list of records is taken as long as it is, up to the limit; how many there were is in
the scores.

A feature without an explanation is a result with a reason, not an error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from featureinterp.chat import Usage
from featureinterp.complexity import ComplexityAnalyzer
from featureinterp.core import Attempt, Score, ScoredSequence, Scores, StructuredExplanation
from featureinterp.dataset.records.audit import near_duplicates_across
from featureinterp.errors import OF_ONE_FEATURE, check_numbers
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.scores.baselines import floor_scores, score_baselines
from featureinterp.experiment.scores.contributions import RuleContribution, rule_contributions, undefined_contributions
from featureinterp.experiment.scores.corpus import Contest, WholeCorpus, corpus_scores
from featureinterp.explainer.search import OF_ONE_ATTEMPT
from featureinterp.protocols import Explainer, Simulator, SimulatorFactory
from featureinterp.record import (
    MEASURED_SOURCES,
    ActivationRecord,
    ComplementaryRecordSource,
    SAEIndexRecord,
    SplitParams,
    Splits,
    one_per_window,
)
from featureinterp.scoring import best_table, fit_tables, quick_score, simulate_records
from featureinterp.scoring.baselines import SHUFFLED
from featureinterp.scoring.simulation import PooledSequences

LEAST_POSITIVES = 3
"""One window for each split."""


@dataclass(frozen=True)
class FeatureRunParams(SplitParams):
    """Split of a feature's records, and whether every attempt is judged."""

    judge_attempts: bool = False
    """Whether every attempt gets a test score and a complexity, when the search and the choice are over."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, positives_per_split=(1, math.inf))

    def configuration(self) -> dict[str, object]:
        """Return the parameters as JSON values; `test_sources` only where it differs from the default."""
        names = ("train_sources", "valid_sources", "test_sources")
        sources = {name: [source.value for source in getattr(self, name)] for name in names}
        configuration: dict[str, object] = {**asdict(self), **sources}
        if self.test_sources == MEASURED_SOURCES:
            del configuration["test_sources"]  # stored runs have no such setting
        return configuration


class UsageMeter(Protocol):
    """Interface: usage so far."""

    usage: Usage
    """All of it."""

    @property
    def is_refused(self) -> bool:
        """Whether a language model rejected every request."""
        ...


@dataclass(frozen=True)
class Method:
    """Explainer, simulator and scoring settings of a feature."""

    name: str
    """Registered name of the explainer with its proposer, such as `tree/lexical`."""
    explainer: Explainer
    simulator_factory: SimulatorFactory
    meter: UsageMeter | None = None
    """Adds up the usage of language models."""
    complexity: ComplexityAnalyzer = field(default_factory=ComplexityAnalyzer)
    """Measures the complexity of the explanation."""
    simulator: str = ""
    """Name of the simulator."""

    @property
    def usage(self) -> Usage:
        """Usage so far."""
        return Usage() if self.meter is None else self.meter.usage

    @property
    def is_refused(self) -> bool:
        """Whether a language model rejected every request."""
        return self.meter is not None and self.meter.is_refused

    async def complexity_of(self, explanation: StructuredExplanation) -> tuple[float | None, str]:
        """Return an explanation's complexity, or None and the reason why it has none."""
        try:
            return await self.complexity.complexity(explanation), ""
        except OF_ONE_FEATURE as error:
            return None, str(error)


async def explain_feature(
    record: SAEIndexRecord,
    key: FeatureKey,
    method: Method,
    params: FeatureRunParams,
    corpus: WholeCorpus | None = None,
) -> FeatureResult:
    """Explain one latent and score the explanation on held-out windows and on the corpus.

    Args:
        record: records of the latent.
        key: which latent it is.
        method: how to explain and simulate.
        params: how many records each split takes.
        corpus: every window, where the simulator costs nothing; None to score on windows drawn from the corpus.

    Returns:
        The result: `explained`; or `rare` or `failed` with the reason. Its tables are fitted on train and valid; the
        `shuffled` baseline needs another feature's explanation, see `shuffled_floor`.

    Raises:
        InputError: if two splits share a window.
        ActivationError: if an activation is NaN or infinite.
    """
    started = time.perf_counter()
    result = FeatureResult(
        key, "explained", explainer=method.name, simulator=method.simulator, max_activation=record.max_expression
    )
    if len(record.most_act_records) < LEAST_POSITIVES:
        reason = f"fires on {len(record.most_act_records)} usable windows, at least {LEAST_POSITIVES} are needed"
        return replace(result, status="rare", reason=reason)
    params = _with_own_source(params, record)
    splits = record.splits(params)
    result = replace(result, near_duplicates=near_duplicates_across(splits))
    found = await method.explainer.generate_explanations(splits.train, splits.valid)
    result = replace(result, attempts=found.trace, train_positives=tuple(r for r in splits.train if r.source is None))
    if params.judge_attempts:
        result = replace(result, attempts=await judged(found.trace, method, one_per_window(splits.test)))
    if not found.explanations:
        return replace(result, status="failed", reason=why_none(found.trace), seconds=time.perf_counter() - started)
    scored = await _scored(result, found.explanations[0], record, splits, method, corpus)
    chosen = found.chosen[0] if found.chosen else None
    return replace(
        scored,
        reason=why_not_by_valid(found.trace, chosen),
        chosen=chosen,
        scores={**scored.scores, **_scores_of_none(record, splits.test, params)},
        seconds=time.perf_counter() - started,
    )


def _with_own_source(params: FeatureRunParams, record: SAEIndexRecord) -> FeatureRunParams:
    """Return the parameters with windows of a source of another package in test, where the records have them."""
    other = ComplementaryRecordSource.OTHER
    if not record.other_records or other in params.test_sources:
        return params
    return replace(params, test_sources=(*params.test_sources, other))


async def _scored(
    result: FeatureResult,
    explanation: StructuredExplanation,
    record: SAEIndexRecord,
    splits: Splits,
    method: Method,
    corpus: WholeCorpus | None,
) -> FeatureResult:
    """Return the result with an explanation and its measures: complexity, contributions, scores and baselines."""
    simulator = method.simulator_factory(explanation)
    sequences = await simulate_records(simulator, splits.test)
    complexity, complexity_reason = await method.complexity_of(explanation)
    contest = await _contest(explanation, simulator, splits)
    pooled = PooledSequences.of(sequences)
    baselines = await score_baselines(sequences, pooled, contest.tables, contest.best)
    return replace(
        result,
        explanation=explanation,
        complexity=complexity,
        complexity_reason=complexity_reason,
        contributions=await _contributions(explanation, method, sequences, pooled),
        test_sequences=sequences,
        scores=pooled.scores_by_source(),
        corpus=await corpus_scores(record, result.key, contest, corpus),
        best_table=contest.best,
        margins=baselines.margins,
        floors=baselines.floors,
    )


async def _contest(explanation: StructuredExplanation, simulator: Simulator, splits: Splits) -> Contest:
    tables = fit_tables(one_per_window([*splits.train, *splits.valid]), explanation)
    return Contest(explanation, simulator, tables, await best_table(splits.train, splits.valid, explanation))


async def _contributions(
    explanation: StructuredExplanation, method: Method, sequences: Sequence[ScoredSequence], pooled: PooledSequences
) -> tuple[RuleContribution, ...]:
    """Return the contribution of each rule; undefined with a reason if a rule cannot be simulated."""
    try:
        return await rule_contributions(explanation, method.simulator_factory, sequences, pooled)
    except OF_ONE_ATTEMPT as error:
        return undefined_contributions(explanation, sequences, str(error))


def _scores_of_none(
    record: SAEIndexRecord, test: Sequence[ActivationRecord], params: FeatureRunParams
) -> dict[str, Scores]:
    """Return undefined scores for the sources without test records; records of older folders lack whole sources."""
    if not record.strata or params.negatives_per_split == 0:
        return {}
    there = {one.source for one in test}
    missing = [source for source in params.test_sources if source not in there]
    return {source.value: Scores.undefined(record.why_empty(source)) for source in missing}


async def judged(
    attempts: Sequence[Attempt], method: Method, test_records: Sequence[ActivationRecord]
) -> tuple[Attempt, ...]:
    """Return the attempts of a finished search with test scores and complexities.

    Args:
        attempts: the trace; those without an explanation stay as they are.
        method: simulator and complexity analyzer.
        test_records: each window once; the score is the correlation on all of them, pooled. An attempt that cannot
            be simulated there has none.
    """

    async def score(explanation: StructuredExplanation) -> float:
        try:
            sequences = await simulate_records(method.simulator_factory(explanation), test_records)
            return quick_score(test_records, [pair.simulation for pair in sequences])
        except OF_ONE_ATTEMPT:
            return math.nan

    distinct = list(dict.fromkeys(each.explanation for each in attempts if each.explanation is not None))
    scores = dict(zip(distinct, await asyncio.gather(*map(score, distinct)), strict=True))
    complexities = dict(zip(distinct, await asyncio.gather(*map(method.complexity_of, distinct)), strict=True))

    def of_one(attempt: Attempt) -> Attempt:
        if attempt.explanation is None:
            return attempt
        value = scores[attempt.explanation]
        test_score = None if math.isnan(value) else value
        return replace(attempt, test_score=test_score, complexity=complexities[attempt.explanation][0])

    return tuple(map(of_one, attempts))


async def shuffled_floor(result: FeatureResult, other: StructuredExplanation | None, method: Method) -> FeatureResult:
    """Return the result with its `shuffled` baseline: the score of another feature's explanation on its test windows.

    It is undefined with its reason where that explanation cannot be simulated.

    Args:
        result: an explained feature.
        other: the explanation of another feature of the same hook; None where there is no other.
        method: made for this floor alone: what it uses is the floor's usage.
    """
    if other is None:
        absent = Score.undefined("no other feature of this hook has an explanation")
        floor: Mapping[str, Score] = dict.fromkeys(result.scores, absent)
    else:
        try:
            simulator = method.simulator_factory(other)
            floor = await floor_scores(simulator, result.test_sequences)
        except OF_ONE_ATTEMPT as error:
            floor = dict.fromkeys(result.scores, Score.undefined(str(error)))
    return replace(result, floors={**result.floors, SHUFFLED: floor}, floor_usage=method.usage)


def why_not_by_valid(trace: Sequence[Attempt], chosen: int | None) -> str:
    """Return why an explanation was chosen without a valid score; empty if it has one."""
    unscored = next((attempt.unscored for attempt in trace if attempt.number == chosen), "")
    return f"not chosen by valid, where its score is undefined: {unscored}" if unscored else ""


def why_none(trace: Sequence[Attempt]) -> str:
    """Return the reasons why no attempt succeeded, most frequent first."""
    reasons = [each.proposal.failure or each.proposal.converged or "its score is undefined" for each in trace]
    ordered = sorted(dict.fromkeys(reasons), key=lambda reason: -reasons.count(reason))
    told = "; ".join(f"{reasons.count(reason)}x {reason}" for reason in ordered[:3])
    return f"none of {len(trace)} attempts could be scored: {told}" if reasons else "the explainer made no attempt"
