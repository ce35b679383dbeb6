"""Running an experiment: one run per variant and data folder, over the same features.

results/{experiment}/{data folder}/{variant}/run.sqlite
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.manifest import Manifest
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import ANY_SEED, InputError, check_numbers
from featureinterp.experiment.engines.open import EngineSpec, open_engine
from featureinterp.experiment.explain import FolderJob, RunSpec, begin_run, check_causes_known
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.prompt_hashes import hold_prompts
from featureinterp.experiment.method.simulator_check import SimulatorCheck
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.paper.declaration import Experiment, Variant
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.sweep import SweptRun, Unit, choose_features, sweep
from featureinterp.subject.names import layer_of, select_layers

if TYPE_CHECKING:
    from featureinterp.dataset.stages import Progress

OnRunResult = Callable[[str, FeatureResult, int, int], None]
"""Called with the name of the run, each finished result, the number of finished features, and the total."""


@dataclass(frozen=True)
class ExperimentOptions:
    """Options of an experiment; only the base method and the seed affect results."""

    base: MethodSpec = field(default_factory=MethodSpec)
    """The method without the settings of a variant."""
    seed: int = 0
    """Random seed."""
    access: ModelAccess = field(default_factory=ModelAccess)
    engine: EngineSpec = field(default_factory=EngineSpec)
    command: str = ""
    """Command line, stored with new runs."""

    def __post_init__(self) -> None:
        check_numbers(self, seed=ANY_SEED)


def run_experiment(
    experiment: Experiment, folders: Sequence[DataFolder], out: Path, how: ExperimentOptions, on_result: OnRunResult
) -> list[Path]:
    """Run or resume an experiment.

    Args:
        experiment: variants, layers and latents.
        folders: the data folder of each subject.
        out: the experiment's folder, made if missing.
        how: base method, seed, engine, and access to language models.
        on_result: called after every feature finished by this call; earlier ones only count.

    Returns:
        The folder of each run.

    Raises:
        InputError: if a folder lacks a layer, latents, sentences or causes of activations that the experiment needs.
        DataFolderError: if a run was made with other settings.
        EndpointConfigError, EndpointUnavailableError, BudgetExceededError: if a language model cannot be used.
        StorageError: if a run cannot be written.
        WorkerError: if workers are lost repeatedly. After any of these, finished features are kept.
    """
    if len({folder.path.name for folder in folders}) < len(folders):
        raise InputError("two data folders have the same name", "runs are kept by that name: rename one")
    keys = {folder.path: features_of(folder, experiment, how) for folder in folders}
    with ExitStack() as stack:
        runs, jobs = {}, {}
        for folder in folders:
            for variant in experiment.variants:
                spec = RunSpec(variant.method(how.base), variant.records, how.seed, how.access)
                name = f"{folder.path.name}/{variant.name}"
                about = _about(experiment, variant, folder, how.command)
                store = stack.enter_context(begin_run(folder, out / name, spec, about))
                hold_prompts(store, spec.method, keys[folder.path])
                runs[name] = SweptRun(store, keys[folder.path], how.seed)
                jobs[name] = FolderJob(folder.path, spec)
        check = SimulatorCheck((run, jobs[name].spec.method) for name, run in runs.items())
        total, done = sum(len(run.keys) for run in runs.values()), sum(map(_n_finished, runs.values()))

        def count(unit: Unit, result: FeatureResult) -> None:
            nonlocal done
            done += 1
            on_result(unit.run, result, done, total)

        async def work() -> None:
            async with open_engine(how.engine, jobs, how.access, check) as engine:
                await sweep(runs, engine, count)

        asyncio.run(work())
    return [out / name for name in runs]


def features_of(folder: DataFolder, experiment: Experiment, how: ExperimentOptions) -> tuple[FeatureKey, ...]:
    """Return an experiment's features of a data folder, including dead and rare ones, layers in turn.

    A random choice of more latents holds every smaller one of the same seed.

    Raises:
        InputError: if the folder lacks a layer, latents or sentences; the hint is the command that makes them.
    """
    layers = select_layers(experiment.layers, folder.n_layers)
    absent = [str(layer) for layer in layers if layer not in folder.layers]
    n = experiment.latents_per_layer
    asked_for = f"`featureinterp records --layers {','.join(map(str, layers))} --max-features {n}`"
    same = f"{asked_for}, with the options that the folder was made with"
    if absent:
        raise InputError(f"{folder.path} has no records of layer {', '.join(absent)}", f"make them: {same}")
    for variant in experiment.variants:
        _check_sentences(folder, variant)
        check_causes_known(folder, variant.method(how.base))
    latents = {folder.hook_of(layer): folder.latents(folder.hook_of(layer)) for layer in layers}
    for hook, known in latents.items():
        if len(known) < n:
            raise InputError(
                f"{folder.path} has records of {len(known)} latents of {hook}, the experiment needs {n}",
                f"make them: {same}",
            )
    return choose_features(latents, layer_of, n * len(layers), how.seed)


def experiment_data(
    spec: DataSpec, root: Path, experiment: Experiment, base: MethodSpec, on_progress: Progress, device: str
) -> DataFolder:
    """Make or complete the data folder of an experiment.

    A new folder holds the causes of activations even if this experiment needs none: they cannot be added to records
    later, and another experiment may need them.

    Args:
        spec: corpus and subject.
        root: parent of data folders.
        experiment: decides, with the base method, whether the causes of activations are needed.
        base: the method without the settings of a variant.
        on_progress: called with the stage, the number done, and the total.
        device: of the subject.

    Raises:
        FeatureInterpError: as `prepare`.
    """
    from featureinterp.dataset.prepare import prepare  # loads torch, which a run over existing records does not need

    folder = root / spec.folder_name
    made = Manifest.load(folder).stages.get("records") if Manifest.exists(folder) else None
    needed = any(variant.method(base).holistic for variant in experiment.variants)
    without = made is not None and made.settings.get("holistic") is not True and not needed
    return prepare(
        spec,
        root,
        stages=("records",) if without else ("holistic_acts", "records"),
        on_progress=on_progress,
        device=device,
    )


def _check_sentences(folder: DataFolder, variant: Variant) -> None:
    made = folder.manifest.stages["records"].settings if "records" in folder.manifest.stages else {}
    wanted = {
        "top_sample_n": 3 * variant.records.positives_per_split,
        "complementary_sample_n": 3 * variant.records.negatives_per_split,
    }
    for name, n in wanted.items():
        has = made.get(name)
        if isinstance(has, int) and has < n:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{folder.path} has at most {has} sentences of each kind a latent ({name}), three splits of {n // 3} "
                "need more",
                f"make records with `featureinterp records {option} {n}`, or use fewer sentences",
            )


def _n_finished(run: SweptRun) -> int:
    return len(run.store.finished().keys() & set(run.keys))


def _about(experiment: Experiment, variant: Variant, folder: DataFolder, command: str) -> dict[str, str]:
    return {
        "command": command,
        "experiment": experiment.name,
        "variant": variant.name,
        "subject": folder.path.name,
        "n_layers": str(folder.n_layers),
    }
