"""Audit of a run: how far its scores can be trusted.

Every explanation is corrupted in ways that make it worse, and the audit counts the features in which a score notices.
Beside that stands what is wrong with the run itself, see `analysis.audit.checks`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featureinterp.analysis.audit.checks import RunChecks, check_run
from featureinterp.analysis.audit.corrupted_scores import AUDITED_SCORES, CORPUS, Change, SimulatedFeature, changes
from featureinterp.analysis.audit.simulations import simulate_corpus, simulate_sample, simulate_tested
from featureinterp.core import StructuredExplanation
from featureinterp.dataset.folder import DataFolder
from featureinterp.errors import DataFolderError, FeatureInterpError
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.run_folder import check_data_folder, data_folder_of
from featureinterp.experiment.scores.corpus import WholeCorpus
from featureinterp.experiment.store import RunStore
from featureinterp.llm.api.spending import Meter
from featureinterp.protocols import SimulatorFactory
from featureinterp.record import MEASURED_SOURCES
from featureinterp.scoring.corruptions import ANOTHER, CORRUPTIONS

OnFeature = Callable[[int, int], None]
"""Callback(done, total)."""

PLACES = (CORPUS, *(source.value for source in reversed(MEASURED_SOURCES)))
"""Places of scores, the hardest first."""


@dataclass(frozen=True)
class Noticed:
    """How often a score notices a corruption."""

    place: str
    """`corpus`, or the source of the test list."""
    score: str
    corruption: str
    n: int
    """Features in which the score and its interval are defined, and the corrupted score is."""
    n_worse: int
    """Of these, features in which the score falls; in which false positives rise."""
    n_beyond: int
    """Of these, features in which it falls below the lower end of its interval; rises above the upper one."""


@dataclass(frozen=True)
class Audit:
    """Audit of a run."""

    noticed: tuple[Noticed, ...]
    """By place, score and corruption, in reading order; without those of no feature."""
    n_features: int
    """Explained features with stored test windows."""
    n_exact: int
    """Features whose whole corpus was corrupted."""
    n_sampled: int
    """Features whose corpus was corrupted on drawn windows."""
    without_corpus: Mapping[str, int]
    """Why the others were corrupted on their test windows only, with the number of features."""
    checks: RunChecks
    """What is wrong with the run itself."""


def audit_run(run: Path, data: Path | None, device: str, on_feature: OnFeature) -> Audit:
    """Audit the scores of a run.

    Args:
        run: the run's folder.
        data: its data folder; None for the one that the run names.
        device: device of a local simulator model.
        on_feature: called after each feature.

    Raises:
        DataFolderError: if there is no run, or `data` is not its data folder.
    """
    with RunStore.open(run) as store:
        return asyncio.run(_audit(store, data, device, on_feature))


def tally(found: Iterable[Change]) -> tuple[Noticed, ...]:
    """Count the features in which each score notices each corruption.

    Args:
        found: changes of all features.
    """
    n, worse, beyond = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for change in found:
        name = (change.place, change.score, change.corruption)
        n[name] += 1
        worse[name] += change.falls
        beyond[name] += change.beyond
    places = (*PLACES, *dict.fromkeys(place for place, _, _ in n if place not in PLACES))
    names = ((p, s, c) for p in places for s in AUDITED_SCORES for c in (*CORRUPTIONS, ANOTHER))
    return tuple(Noticed(*name, n[name], worse[name], beyond[name]) for name in names if n[name])


class _Simulations:
    """Simulations of a run's features, with what they need opened once."""

    def __init__(self, configuration: Mapping[str, Any], models: Models, folder: DataFolder | None, why: str) -> None:
        self._method: Mapping[str, Any] = configuration.get("method", {})
        self._models = models
        self._folder = folder
        self._why = why
        self._unusable = ""
        """Why the run's simulator cannot be had."""
        is_lexical = self._method.get("simulator", "lexical") == "lexical"
        self._whole = WholeCorpus(folder, models.embeddings) if folder is not None and is_lexical else None
        self.n_exact = 0
        self.n_sampled = 0
        self.without_corpus: Counter[str] = Counter()

    async def of(self, result: FeatureResult, other: StructuredExplanation | None) -> SimulatedFeature:
        """Return the simulation of a feature, with its corpus where that can be had."""
        simulators = self._simulators()
        if self._folder is None or simulators is None:
            self.without_corpus[self._why or self._unusable] += 1
            return await simulate_tested(result, other, simulators)
        try:
            found = None if self._whole is None else simulate_corpus(result, self._whole, other)
            self.n_exact += found is not None
            if found is None:
                found = await simulate_sample(result, self._folder, other, simulators)
                self.n_sampled += 1
        except FeatureInterpError as error:
            self.without_corpus[error.problem] += 1
            return await simulate_tested(result, other, simulators)
        return found

    def _simulators(self) -> SimulatorFactory | None:
        """Return simulators that remember nothing of other features; None where they cannot be had."""
        if self._unusable:
            return None
        name, options = self._method.get("simulator", "lexical"), self._method.get("simulator_options", {})
        try:
            return self._models.simulators(name, Meter(), options)
        except FeatureInterpError as error:
            self._unusable = str(error)
            return None


async def _audit(store: RunStore, data: Path | None, device: str, on_feature: OnFeature) -> Audit:
    about = store.about()
    configuration: Mapping[str, Any] = json.loads(about["configuration"])
    folder, why = _open_folder(store.path.parent, about, configuration, data)
    explained = store.explained()
    async with Models(ModelAccess(offline=True, device=device)) as models:
        simulations = _Simulations(configuration, models, folder, why)
        found: list[Change] = []
        n_features = 0
        for done, (key, partner) in enumerate(sorted(explained.items(), key=lambda item: _place(item[0])), start=1):
            result = store.readable(key)
            if result is not None and result.test_sequences:
                feature = await simulations.of(result, _explanation_of(store, key, partner))
                found += changes(feature, configuration.get("seed", 0), key.hook_name, key.latent)
                n_features += 1
            on_feature(done, len(explained))
    return Audit(
        noticed=tally(found),
        n_features=n_features,
        n_exact=simulations.n_exact,
        n_sampled=simulations.n_sampled,
        without_corpus=dict(simulations.without_corpus),
        checks=check_run(store, None if folder is None else folder.windows().documents),
    )


def _place(key: FeatureKey) -> tuple[int, int, str]:
    return key.layer, key.latent, key.hook_name


def _explanation_of(store: RunStore, key: FeatureKey, partner: int | None) -> StructuredExplanation | None:
    """Return the explanation of the run's shuffled baseline of a feature; None where it has none."""
    if partner is None or partner == key.latent:
        return None
    other = store.readable(replace(key, latent=partner))
    return None if other is None else other.explanation


def _open_folder(
    run: Path, about: Mapping[str, str], configuration: Mapping[str, Any], data: Path | None
) -> tuple[DataFolder | None, str]:
    """Return the run's data folder, or None and the reason why it cannot be used.

    Raises:
        DataFolderError: if `data` was named and cannot be used.
    """
    folder = data or data_folder_of(run, about)
    remedy = "name the data folder of the run: featureinterp audit RUN --data FOLDER"
    try:
        check_data_folder(folder, configuration, remedy)
        assert folder is not None, "it was checked"
        return DataFolder.open(folder), ""
    except DataFolderError as error:
        if data is not None:
            raise
        return None, str(error)
