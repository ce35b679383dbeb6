"""A run over a data folder: latents, method and store."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from featureinterp.chat import Usage
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import ANY_SEED, DataFolderError, InputError, check_numbers
from featureinterp.experiment.engines.open import EngineSpec, open_engine
from featureinterp.experiment.engines.worker import LatentState, OpenRun, explain_key
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Methods, Models
from featureinterp.experiment.method.prompt_hashes import hold_prompts
from featureinterp.experiment.method.simulator_check import SimulatorCheck
from featureinterp.experiment.method.spec import LEXICAL, MethodSpec
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.experiment.scores.corpus import WholeCorpus
from featureinterp.experiment.store import RunStore
from featureinterp.experiment.sweep import SweptRun, Unit, choose_features, sweep
from featureinterp.explainer.llm.prompts import prompt_fingerprint
from featureinterp.files import real_path
from featureinterp.record import SAEIndexRecord
from featureinterp.subject.names import layer_of, select_layers

OnResult = Callable[[FeatureResult, int, int], None]
"""Callback(result, finished, total), called with each result as it is finished."""

RUN = "run"
"""The name of the only run of a sweep."""

DATA_FOLDER = "data folder"
"""Key of the path of the records in a run's metadata; the path is relative to the run's own folder."""


@dataclass(frozen=True)
class RunSpec:
    """Settings that determine a run's results, besides the data folder."""

    method: MethodSpec = field(default_factory=MethodSpec)
    records: FeatureRunParams = field(default_factory=FeatureRunParams)
    seed: int = 0
    """Random seed."""
    access: ModelAccess = field(default_factory=ModelAccess)
    """Language model access; not part of the configuration."""
    engine: EngineSpec = field(default_factory=lambda: EngineSpec(workers=1))
    """Engine that executes the work; not part of the configuration."""

    def __post_init__(self) -> None:
        check_numbers(self, seed=ANY_SEED)

    def configuration(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the settings as JSON values, with those of the data folder's records."""
        return {
            "data": dict(data),
            "method": self.method.configuration(),
            "records": self.records.configuration(),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class FeatureChoice:
    """Selection of a data folder's latents."""

    layers: str = "all"
    """Layers: all, even, odd, spaced:8, or numbers such as 1,2."""
    latents: tuple[int, ...] | None = None
    """Latents of each layer, such as 3,17 (default: all). Dead and rare ones are included."""
    features: int | None = None
    """Number of features to explain, sampled evenly across layers (0: all). In Python, None for all.

    A sample is drawn with the run's seed from the latents with status ok.
    """

    def __post_init__(self) -> None:
        check_numbers(self, features=(1, math.inf))

    def keys(self, folder: DataFolder, seed: int) -> tuple[FeatureKey, ...]:
        """Return the selected features, layers in turn.

        Raises:
            InputError: if the folder does not hold a selected layer or latent.
        """
        latents = {hook: self._latents_of(folder, hook) for hook in self._hooks(folder)}
        return choose_features(latents, layer_of, self.features, seed)

    def _hooks(self, folder: DataFolder) -> list[str]:
        chosen = select_layers(self.layers, folder.n_layers)
        if self.layers.strip().lower() in ("all", "even", "odd"):
            chosen = tuple(layer for layer in chosen if layer in folder.layers)
        return [folder.hook_of(layer) for layer in chosen]

    def _latents_of(self, folder: DataFolder, hook: str) -> tuple[int, ...]:
        reports = folder.latent_report(hook)
        unknown = [latent for latent in self.latents or () if latent not in reports]
        if unknown:
            raise InputError(
                f"{folder.path} has no records of latent {unknown[0]} of {hook}, but of {len(reports)} others",
                "`featureinterp records --latents` makes them",
            )
        wanted = reports.keys() if self.latents is None else self.latents
        return tuple(latent for latent in wanted if self.features is None or reports[latent].status == "ok")


class FolderSource:
    """Data folder as the records source of a sweep."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._reports = {hook: folder.latent_report(hook) for hook in folder.hook_names}
        self._profiles = {hook: folder.profiles(hook) for hook in folder.hook_names}

    def status(self, key: FeatureKey) -> LatentState:
        """Return whether the latent can be explained."""
        report = self._reports[key.hook_name][key.latent]
        status = None if report.status == "ok" else report.status
        profile = self._profiles[key.hook_name].get(key.latent)
        return LatentState(status, report.reason, report.density, report.max_activation, profile)

    def record(self, key: FeatureKey) -> SAEIndexRecord:
        """Return the records of a live latent."""
        return self._folder.index_record(key.hook_name, key.latent)


class RedrawnSource(FolderSource):
    """Data folder whose records are drawn again with another seed."""

    def __init__(self, folder: DataFolder, seed: int) -> None:
        from featureinterp.dataset.records.redraw import RedrawnRecords  # loads torch, which other runs do not need

        super().__init__(folder)
        self._redrawn = RedrawnRecords(folder, seed)

    def record(self, key: FeatureKey) -> SAEIndexRecord:
        """Return other records of a live latent."""
        return self._redrawn.record(key.hook_name, key.latent)


@dataclass(frozen=True)
class FolderJob:
    """Job of a run over a data folder, opened by a worker."""

    folder: Path
    spec: RunSpec
    records_seed: int | None = None
    """Seed to draw the records again with; None for those that the folder holds."""

    @property
    def light(self) -> bool:
        """Whether it uses no large model and no endpoint."""
        method = self.spec.method
        return not method.asks and (method.simulator, method.complexity) == (LEXICAL, LEXICAL)

    def open(self, models: Models) -> OpenRun:
        """Open records and method, over shared models."""
        methods = Methods(self.spec.method, models)
        folder = DataFolder.open(self.folder)
        corpus = WholeCorpus(folder, models.embeddings) if self.spec.method.simulator == LEXICAL else None
        seed = self.records_seed
        source = FolderSource(folder) if seed is None else RedrawnSource(folder, seed)
        return OpenRun(source, methods.make, self.spec.records, corpus, methods.at_once)


def explain_folder(
    folder: DataFolder,
    run: Path,
    choice: FeatureChoice,
    spec: RunSpec,
    command: str,
    on_result: OnResult,
) -> Usage:
    """Explain features of a data folder in a new or resumed run.

    Args:
        folder: the records.
        run: the run's folder, made if missing.
        choice: selection of features.
        spec: settings of the run.
        command: command line, stored with a new run.
        on_result: called with every feature that is finished now; those finished earlier only count.

    Returns:
        Usage paid for by this command and by earlier runs of it.

    Raises:
        DataFolderError: if the run was made with other settings, or a local model's prompt has changed.
        SubjectError: if a local model's tokenizer cannot be loaded, or does not fit the task.
        InputError: if the folder lacks a selected feature, or activation-causing tokens that the method needs.
        EndpointConfigError, EndpointUnavailableError, BudgetExceededError:
            if the language model is unusable; finished features are kept.
        StorageError: if the run cannot be written; finished features are kept.
        WorkerError: if workers are lost repeatedly; finished features are kept.
    """
    keys = choice.keys(folder, spec.seed)
    with begin_run(folder, run, spec, {"command": command}) as store:
        hold_prompts(store, spec.method, keys)
        done = len(store.finished().keys() & set(keys))

        def count(_unit: Unit, result: FeatureResult) -> None:
            nonlocal done
            done += 1
            on_result(result, done, len(keys))

        async def work() -> Usage:
            jobs, swept = {RUN: FolderJob(folder.path, spec)}, SweptRun(store, keys, spec.seed)
            check = SimulatorCheck([(swept, spec.method)])
            async with open_engine(spec.engine, jobs, spec.access, check) as opened:
                await sweep({RUN: swept}, opened, count)
                return opened.spent

        return asyncio.run(work())


def begin_run(
    folder: DataFolder, run: Path, spec: RunSpec, about: Mapping[str, str], records_seed: int | None = None
) -> RunStore:
    """Open or create the store of a run over a data folder.

    Args:
        folder: the records.
        run: the run's folder, made if missing.
        spec: settings of the run.
        about: more metadata of a new run, such as the command.
        records_seed: seed to draw the records again with; None for those that the folder holds.

    Raises:
        DataFolderError: if the run was made with other settings, or the folder has no records.
        InputError: if activation-causing tokens are needed and the folder holds none.
        StorageError: if the run cannot be written.
    """
    check_causes_known(folder, spec.method)
    place = {DATA_FOLDER: os.path.relpath(real_path(folder.path), real_path(run))}
    drawn = {} if records_seed is None else {"seed": records_seed}
    return RunStore.create(
        run, spec.configuration({**_settings(folder), **drawn}), {**about, **_about(folder), **place}
    )


def check_causes_known(folder: DataFolder, method: MethodSpec) -> None:
    """Check that a data folder has holistic activations if the method needs them.

    Raises:
        InputError: if it does not.
    """
    if method.holistic and not folder.has_holistic:
        raise InputError(
            f"activation-causing tokens are needed, but {folder.path} has none",
            "make it with `featureinterp records --write-sae-acts --write-holistic-acts --write-records`",
        )


def explain_one(data: DataSpec, root: Path, spec: RunSpec | None = None) -> FeatureResult:
    """Explain one feature without a run: the first live one of the given latents.

    If no latent is live, the result is that of the first, with its reason. There is no shuffled baseline.

    Args:
        data: corpus, subject and latents; missing stages of the data folder are made.
        root: parent of data folders.
        spec: settings of the run.
    """
    from featureinterp.dataset.prepare import prepare  # loads torch, which a run over existing records does not need

    folder, spec = prepare(data, root, stages=["records"]), spec or RunSpec()
    keys = FeatureChoice(features=1).keys(folder, spec.seed) or FeatureChoice().keys(folder, spec.seed)
    return asyncio.run(_explain_key(keys[0], folder, spec))


async def _explain_key(key: FeatureKey, folder: DataFolder, spec: RunSpec) -> FeatureResult:
    async with Models(spec.access) as models:
        result = await explain_key(key, FolderJob(folder.path, spec).open(models))
        return replace(result, status="failed") if result.status == "refused" else result


def _settings(folder: DataFolder) -> Mapping[str, object]:
    """Return the settings of a data folder's records."""
    if "records" not in folder.manifest.stages:
        raise DataFolderError(f"{folder.path} has no records yet", "`featureinterp records` makes them")
    return folder.manifest.stages["records"].settings


def _about(folder: DataFolder) -> dict[str, str]:
    """Return informative names, versions and hashes (the fingerprints are among the settings)."""
    spec, manifest = folder.manifest.spec, folder.manifest
    return {
        "model": spec.model_name,
        "SAE": spec.sae_name,
        **({"SAE id": spec.sae_id_layer_format_string} if spec.sae_id_layer_format_string else {}),
        "corpus": spec.dataset_name,
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
        "SAE hashes": ", ".join(f"{hook} {entry.fingerprint}" for hook, entry in manifest.hooks.items()),
        "prompts hash": prompt_fingerprint(),
    }
