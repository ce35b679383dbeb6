"""Repeated runs over one data folder: records drawn again, proposals sampled again, other simulators.

Every combination is an ordinary run in a folder of its own, over the same features, so it is resumed, shown and
compared like any other:

    OUT/records-0_proposals-0_simulator-0/run.sqlite
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.records.redraw import check_can_redraw
from featureinterp.errors import InputError, check_numbers
from featureinterp.experiment.engines.open import open_engine
from featureinterp.experiment.explain import FeatureChoice, FolderJob, RunSpec, begin_run
from featureinterp.experiment.method.prompt_hashes import hold_prompts
from featureinterp.experiment.method.simulator_check import SimulatorCheck
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.sweep import SweptRun, Unit, sweep

OnRunResult = Callable[[str, FeatureResult, int, int], None]
"""Called with the name of the run, each finished result, the number of finished features, and the total."""

SAMPLES_APART = 1000
"""Numbers of samples between two draws of proposals: more than a search takes of one prompt."""


@dataclass(frozen=True)
class StabilitySpec:
    """What is varied, in every combination."""

    draws: int = 3
    """Number of draws of records; the first is the data folder's own."""
    proposals: int = 1
    """Number of draws of proposals from each draw of records (more than 1: with a language model as proposer)."""
    simulators: tuple[str, ...] = ()
    """Comma-separated simulators, each of which guides and scores a run (default: --simulator alone)."""

    def __post_init__(self) -> None:
        check_numbers(self, draws=(1, math.inf), proposals=(1, math.inf))


@dataclass(frozen=True)
class Repetition:
    """One of the runs: which draw of records and of proposals, and which simulator, each numbered from 0."""

    records: int
    proposals: int
    simulator: int
    spec: RunSpec
    records_seed: int | None
    """Seed of the records; None for those of the folder."""

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"records-{self.records}_proposals-{self.proposals}_simulator-{self.simulator}"


def repetitions(folder: DataFolder, spec: RunSpec, varied: StabilitySpec) -> list[Repetition]:
    """Return the runs of every combination of what is varied.

    Draw r of records has the data folder's seed plus r. Draw p of proposals has the samples from number 1000·p on.

    Raises:
        InputError: if nothing is varied, the proposer draws nothing at random, a simulator is named twice, or records
            cannot be drawn again.
    """
    method = spec.method
    simulators = varied.simulators or (method.simulator,)
    if varied.draws * varied.proposals * len(simulators) == 1:
        raise InputError("one run shows no variation", "give --draws, --proposals or --simulators more than one")
    if len(set(simulators)) < len(simulators):
        raise InputError(f"a simulator is named twice: {', '.join(simulators)}", "name each once")
    if varied.proposals > 1 and not method.asks:
        raise InputError(
            f"the {method.proposer} proposer draws nothing at random", "give --proposals 1, or name a language model"
        )
    if varied.draws > 1:
        check_can_redraw(folder)
        if method.holistic:
            raise InputError("records drawn again hold no activation-causing tokens", "leave --holistic out")
    own_seed = folder.manifest.spec.seed
    found = []
    for r, p, s in product(range(varied.draws), range(varied.proposals), range(len(simulators))):
        of_proposals = {"first_sample": SAMPLES_APART * p} if p else {}
        kept = method.simulator_options if simulators[s] == method.simulator else {}
        varied_method = replace(
            method,
            simulator=simulators[s],
            simulator_options=kept,
            proposer_options={**method.proposer_options, **of_proposals},
        )
        found.append(Repetition(r, p, s, replace(spec, method=varied_method), own_seed + r if r else None))
    return found


def run_repetitions(
    folder: DataFolder,
    out: Path,
    choice: FeatureChoice,
    runs: Sequence[Repetition],
    command: str,
    on_result: OnRunResult,
) -> list[Path]:
    """Run or resume every repetition over the same features.

    Args:
        folder: the records.
        out: folder of the runs, made if missing.
        choice: selection of features, drawn with the seed of the runs.
        runs: as `repetitions` makes them, at least one.
        command: command line, stored with new runs.
        on_result: called after every feature finished by this call; earlier ones only count.

    Returns:
        The folder of each run, in the order of `runs`.

    Raises:
        FeatureInterpError: as `explain_folder`; finished features are kept.
    """
    first = runs[0].spec
    keys = choice.keys(folder, first.seed)
    with ExitStack() as stack:
        swept, jobs = {}, {}
        for run in runs:
            begun = begin_run(folder, out / run.name, run.spec, {"command": command}, run.records_seed)
            store = stack.enter_context(begun)
            hold_prompts(store, run.spec.method, keys)
            swept[run.name] = SweptRun(store, keys, run.spec.seed)
            jobs[run.name] = FolderJob(folder.path, run.spec, run.records_seed)
        done = sum(len(run.store.finished().keys() & set(keys)) for run in swept.values())

        def count(unit: Unit, result: FeatureResult) -> None:
            nonlocal done
            done += 1
            on_result(unit.run, result, done, len(keys) * len(runs))

        async def work() -> None:
            check = SimulatorCheck((run, jobs[name].spec.method) for name, run in swept.items())
            async with open_engine(first.engine, jobs, first.access, check) as engine:
                await sweep(swept, engine, count)

        asyncio.run(work())
    return [out / run.name for run in runs]
