"""Resumable sweep over the features of one or several runs; results do not depend on the order.

A sweep has two passes. The first explains each feature on its own and stores it. The second adds the *shuffled*
floor, the score of another feature's explanation, once all features of a run are explained: which other one is
decided by the seed, the feature and the set of explained features of its hook, so it does not depend on the order
or on interruptions. The store holds which other one it was; where later features widen the choice, the floor is
computed again, so a run extended from 24 to 48 features equals a run of 48.

A request that an endpoint leaves unanswered decides no result: its feature stays unfinished and is tried again later.
Nor does a refusal of the endpoint's own, see `featureinterp.experiment.refusals`.

An engine executes the work, here or on other machines; one writer, here, stores the results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar

from featureinterp.chat import Usage
from featureinterp.core import StructuredExplanation
from featureinterp.errors import DamagedFeatureError, EndpointConfigError, FeatureInterpError, RequestFailedError
from featureinterp.experiment.refusals import Refusals
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.scoring import pick_other
from featureinterp.stats import generator

Item = TypeVar("Item")


@dataclass(frozen=True)
class ShuffledFloor:
    """A finished feature without its `shuffled` baseline."""

    result: FeatureResult
    partner: int
    """The latent whose explanation makes it; the feature's own where there is no other."""
    explanation: StructuredExplanation | None
    """The partner's; None where there is no other."""


@dataclass(frozen=True)
class Unit:
    """Unit of work: a feature of a run, or its shuffled baseline."""

    run: str
    """Name of the run among those of the sweep."""
    key: FeatureKey
    floor: ShuffledFloor | None = None
    """None: the feature is to be explained."""


OnUnit = Callable[[Unit, FeatureResult], None]


class Engine(Protocol):
    """Interface: execute units of work, in any order and place."""

    @property
    def spent(self) -> Usage:
        """Spending on language models so far, without cached answers; it includes `ModelAccess.spent`."""
        ...

    async def run(self, units: Iterator[Unit], on_result: OnUnit) -> None:
        """Execute every unit and pass on each result immediately, in the caller's thread.

        Args:
            units: taken one by one, as there is room for them.
            on_result: what it raises ends the work.

        Raises:
            FeatureInterpError: an error that concerns more than one feature.
        """
        ...


@dataclass(frozen=True)
class SweptRun:
    """A run within a sweep."""

    store: RunStore
    keys: Sequence[FeatureKey]
    """Its features, in order of execution."""
    seed: int = 0
    """Decides the partners of shuffled floors."""


async def sweep(runs: Mapping[str, SweptRun], engine: Engine, on_result: OnUnit | None = None) -> None:
    """Explain all missing features, then compute missing shuffled baselines.

    Runs take turns, feature by feature, so that what is there of an interrupted sweep can be compared.

    Args:
        runs: by name.
        engine: executes the work; it has the runs by the same names.
        on_result: called with every result of the first pass right after it is stored.

    Raises:
        FeatureInterpError: an error that concerns more than one feature; stored results are kept.
        EndpointConfigError: if the first features are all refused in the same words; none of them is stored.
        RequestFailedError: in the end, if an endpoint left requests unanswered; all but their features are finished.
        DamagedFeatureError: in the end, if records of features are damaged; all but these are finished.
    """
    for run in runs.values():
        run.store.ask(run.keys)
    left: defaultdict[str, list[str]] = defaultdict(list)
    refusals = {name: Refusals(answered=bool(run.store.explained())) for name, run in runs.items()}

    def keep(unit: Unit, result: FeatureResult) -> None:
        if result.status in ("unfinished", "damaged"):
            left[result.status].append(result.reason)
        else:
            runs[unit.run].store.put(result, None if unit.floor is None else unit.floor.partner)
        if unit.floor is None and on_result is not None:
            on_result(unit, result)

    def decide(unit: Unit, result: FeatureResult) -> None:
        for decided in refusals[unit.run].take(unit, result):
            keep(*decided)

    await engine.run(round_robin([_waiting(name, run) for name, run in runs.items()]), decide)
    refused = _decide_rest(refusals, keep)
    refusals = {name: Refusals(answered=True) for name in runs}
    await engine.run((unit for name, run in runs.items() for unit in _floors_due(name, run)), decide)
    _decide_rest(refusals, keep)
    of = sum(len(run.keys) for run in runs.values())
    if error := refused or _what_is_left(left["damaged"], left["unfinished"], of):
        raise error


def _what_is_left(damaged: list[str], unanswered: list[str], of: int) -> FeatureInterpError | None:
    """Return the error for unfinished features, by reason; None if all are finished."""
    if damaged:
        return DamagedFeatureError(
            f"{len(damaged)} of {of} features are not explained, their records are damaged: {damaged[0]}",
            "recreate them: `featureinterp records` with the options of the folder; then repeat the command",
        )
    if unanswered:
        return RequestFailedError(
            f"{len(unanswered)} of {of} features are unfinished, their requests failed: {unanswered[0]}",
            "repeat the command: cached answers are reused",
        )
    return None


def _decide_rest(refusals: Mapping[str, Refusals], keep: OnUnit) -> EndpointConfigError | None:
    """Store what is decided when a pass is over, and return the error of a run whose endpoint refused everything."""
    found = None
    for each in refusals.values():
        try:
            for decided in each.rest():
                keep(*decided)
        except EndpointConfigError as error:
            found = error
    return found


def _waiting(name: str, run: SweptRun) -> list[Unit]:
    finished = run.store.finished()
    return [Unit(name, key) for key in dict.fromkeys(run.keys) if key not in finished]


def _floors_due(name: str, run: SweptRun) -> Iterator[Unit]:
    """Yield every explained feature whose shuffled baseline is missing or has another partner."""
    explained = run.store.explained()
    by_hook: defaultdict[str, list[int]] = defaultdict(list)
    for key in sorted(explained, key=lambda key: key.latent):
        by_hook[key.hook_name].append(key.latent)
    for key, made_with in explained.items():
        partner = shuffled_partner(key, by_hook[key.hook_name], run.seed)
        result = None if made_with == partner else run.store.get(key)
        if result is not None:
            other = run.store.get(replace(key, latent=partner)) if partner != key.latent else None
            yield Unit(name, key, ShuffledFloor(result, partner, None if other is None else other.explanation))


def shuffled_partner(key: FeatureKey, latents: Sequence[int], seed: int) -> int:
    """Return the partner latent of a feature's shuffled baseline; itself if there is no other.

    Args:
        key: key of the feature.
        latents: all explained latents of its hook in ascending order.
        seed: the run's seed.
    """
    if len(latents) < 2:
        return key.latent
    return pick_other(latents, key.latent, generator(seed, key.hook_name, key.latent, "shuffled"))


def choose_features(
    latents: Mapping[str, Sequence[int]], layer_of: Callable[[str], int], n: int | None, seed: int
) -> tuple[FeatureKey, ...]:
    """Sample features evenly over hooks, in an order that takes each hook in turn.

    A larger `n` adds features and keeps the first ones. Hooks with too few latents give what they have.

    Args:
        latents: the latents to choose from, by hook name.
        layer_of: layer of a hook.
        n: total number of features; None for every latent.
        seed: decides the sample.
    """
    ordered = sorted(latents, key=lambda hook: (layer_of(hook), hook))
    shuffled = [
        [FeatureKey(hook, layer_of(hook), int(latent)) for latent in _permuted(latents[hook], hook, seed)]
        for hook in ordered
    ]
    return tuple(islice(round_robin(shuffled), n))


def round_robin(lists: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """Yield the first of every list, then the second of every list, and so on.

    >>> list(round_robin([[1, 2, 3], [10], [20, 30]]))
    [1, 10, 20, 2, 30, 3]
    """
    for position in range(max(map(len, lists), default=0)):
        yield from (items[position] for items in lists if position < len(items))


def _permuted(latents: Sequence[int], hook: str, seed: int) -> Sequence[int]:
    return generator(seed, hook, "features").permutation(sorted(latents)).tolist()
