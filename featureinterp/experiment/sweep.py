"""Many features, resumably: a finished one is never done again, and the order of the work changes nothing.

A sweep has two passes. The first explains each feature on its own and stores it. The second adds the *shuffled*
floor, the score of another feature's explanation, once all features of the sweep are explained: which other one is
decided by the seed, the feature and the set of explained features of its hook, so it does not depend on the order
or on interruptions. The store keeps which other one it was; where later features widen the choice, the floor is
made again, and a run that grew from 24 to 48 features equals one that was asked for 48 at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar

from featureinterp.errors import OF_ONE_FEATURE
from featureinterp.experiment.result import FeatureKey, FeatureResult, FeatureStatus
from featureinterp.experiment.run import FeatureRunParams, Method, explain_feature, shuffled_floor
from featureinterp.experiment.store import RunStore
from featureinterp.record import SAEIndexRecord
from featureinterp.scoring import pick_other
from featureinterp.stats import generator

Item = TypeVar("Item")


@dataclass(frozen=True)
class LatentStatus:
    """What is known of a latent before it is explained."""

    status: FeatureStatus | None
    """`dead` or `rare` where it cannot be explained; None where it can."""
    reason: str = ""
    density: float = 0.0
    """Share of the corpus's windows on which it fires, 0..1."""
    max_activation: float = 0.0


class RecordSource(Protocol):
    """Where a sweep gets its evidence."""

    def status(self, key: FeatureKey) -> LatentStatus:
        """Say whether the latent can be explained."""
        ...

    def record(self, key: FeatureKey) -> SAEIndexRecord:
        """Return all evidence about a latent that can be explained."""
        ...


@dataclass(frozen=True)
class SweepParams:
    """What a sweep does with every feature."""

    feature: FeatureRunParams = FeatureRunParams()
    seed: int = 0
    at_once: int = 1
    """Features that are worked on at the same time; the results are the same, finished in another order."""


async def sweep(
    keys: Sequence[FeatureKey],
    source: RecordSource,
    store: RunStore,
    make_method: Callable[[], Method],
    params: SweepParams,
    on_result: Callable[[FeatureResult], None] | None = None,
) -> None:
    """Explain every feature that the store does not hold yet, then make the shuffled floors that are due.

    Args:
        keys: the features, in the order of the work.
        source: their evidence.
        store: where results go, each in one transaction as soon as it is known.
        make_method: called once per feature, so that what a simulator remembers is let go of.
        params: records per split, and the seed.
        on_result: called with every result of the first pass right after it is stored.

    Raises:
        FeatureInterpError: an error that concerns more than one feature; what is stored stays.
    """
    store.ask(keys)
    finished = store.finished()
    waiting = iter([key for key in dict.fromkeys(keys) if key not in finished])

    async def work() -> None:
        for key in waiting:
            result = await explain_key(key, source, make_method(), params)
            store.put(result)
            if on_result is not None:
                on_result(result)

    await _all_or_none([work] * params.at_once)
    await add_shuffled_floors(store, make_method, params.seed)


async def _all_or_none(works: Sequence[Callable[[], Coroutine[None, None, None]]]) -> None:
    """Do all at the same time; an error of one ends the others where they wait, and goes up."""
    if len(works) == 1:
        return await works[0]()
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def explain_key(key: FeatureKey, source: RecordSource, method: Method, params: SweepParams) -> FeatureResult:
    """Explain one feature; one that cannot be explained becomes a result that says why."""
    known = source.status(key)
    result = FeatureResult(key, known.status or "failed", known.reason, method.name)
    if known.status is None:
        try:
            result = await explain_feature(source.record(key), key, method, params.feature, params.seed)
        except OF_ONE_FEATURE as error:
            result = replace(result, reason=str(error))
    maximum = max(result.max_activation, known.max_activation)
    return replace(result, density=known.density, max_activation=maximum, usage=method.usage)


async def add_shuffled_floors(store: RunStore, make_method: Callable[[], Method], seed: int) -> None:
    """Make the `shuffled` floor of every explained feature whose partner is not yet the one it should be.

    Args:
        store: the run.
        make_method: gives the simulator that partners' explanations are simulated with.
        seed: with the feature's name and the set of explained features of its hook, decides the partner.
    """
    explained = store.explained()
    by_hook: defaultdict[str, list[int]] = defaultdict(list)
    for key in sorted(explained, key=lambda key: key.latent):
        by_hook[key.hook_name].append(key.latent)
    for key, made_with in explained.items():
        partner = shuffled_partner(key, by_hook[key.hook_name], seed)
        if made_with == partner:
            continue
        result, other = store.get(key), store.get(replace(key, latent=partner)) if partner != key.latent else None
        if result is not None:
            explanation = None if other is None else other.explanation
            result = await shuffled_floor(result, explanation, make_method(), seed)
            store.put(result, shuffled_with=partner)


def shuffled_partner(key: FeatureKey, latents: Sequence[int], seed: int) -> int:
    """Return the latent whose explanation makes a feature's shuffled floor; itself where there is no other.

    Args:
        key: the feature.
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
        layer_of: gives the layer of a hook.
        n: how many features in all; None for every latent.
        seed: decides the sample.
    """
    ordered = sorted(latents, key=lambda hook: (layer_of(hook), hook))
    shuffled = [
        [FeatureKey(hook, layer_of(hook), int(latent)) for latent in _permuted(latents[hook], hook, seed)]
        for hook in ordered
    ]
    return tuple(islice(interleave(shuffled), n))


def interleave(lists: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """Yield the first of every list, then the second of every list, and so on.

    >>> list(interleave([[1, 2, 3], [10], [20, 30]]))
    [1, 10, 20, 2, 30, 3]
    """
    for position in range(max(map(len, lists), default=0)):
        yield from (items[position] for items in lists if position < len(items))


def _permuted(latents: Sequence[int], hook: str, seed: int) -> Sequence[int]:
    return generator(seed, hook, "features").permutation(sorted(latents)).tolist()
