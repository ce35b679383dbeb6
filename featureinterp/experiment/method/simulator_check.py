"""Calibration check of the simulators of runs, made once for each run that simulates with a language model."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from featureinterp.core import Score
from featureinterp.errors import EndpointConfigError, RequestFailedError
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.result import SIMULATOR_WARNING
from featureinterp.experiment.store import RunStore
from featureinterp.experiment.sweep import SweptRun
from featureinterp.llm.api.spending import Meter
from featureinterp.simulator.calibration import separation, tells_apart
from featureinterp.simulator.registry import PROMPTED, is_served

SEPARATION = "simulator separation"
"""Name of the separation in a run's metadata: the figure with its interval."""

logger = logging.getLogger(__name__)


class SimulatorCheck:
    """The check of the simulators of one or several runs; a simulator of several is checked once."""

    def __init__(self, runs: Iterable[tuple[SweptRun, MethodSpec]]) -> None:
        """Select the runs that simulate with a language model and have unfinished features."""
        self._runs = [
            (run.store, method)
            for run, method in runs
            if method.simulator.partition(":")[0] in PROMPTED and set(run.keys) - run.store.finished().keys()
        ]

    async def make(self, models: Models, *, local: bool) -> None:
        """Measure and store missing separations; warn of simulators that do not distinguish right from wrong words.

        One that cannot be measured now is left to the next command.

        Args:
            models: open the simulators and count what they spend.
            local: whether models may be loaded here; if not, only those behind endpoints are measured.

        Raises:
            SubjectError: if a local model cannot be loaded, or does not fit the task.
            EndpointConfigError, EndpointUnavailableError, BudgetExceededError: if an endpoint cannot be used.
            StorageError: if a run cannot be written.
        """
        measured: dict[str, Score] = {}
        warnings: dict[str, None] = {}
        for store, method in self._runs:
            if SEPARATION not in store.about() and (local or is_served(method.simulator)):
                name = repr((method.simulator, sorted(method.simulator_options.items())))
                if name not in measured:
                    measured[name] = await _measured(method, models)
                _note(store, measured[name])
            if warning := store.about().get(SIMULATOR_WARNING):
                warnings[f"{method.simulator_name}: {warning}"] = None
        for warning in warnings:
            logger.warning("%s", warning)


async def _measured(method: MethodSpec, models: Models) -> Score:
    simulators = models.simulators(method.simulator, Meter(), method.simulator_options)
    try:
        found = await separation(simulators)
    except RequestFailedError as error:
        found = Score.undefined(error.problem)
    except EndpointConfigError as error:
        if not models.access.offline:
            raise
        found = Score.undefined(error.problem)
    if found.value is None:
        logger.warning("the simulator %s was not checked: %s", method.simulator_name, found.reason)
    return found


def _note(store: RunStore, found: Score) -> None:
    if found.value is None:
        return
    if not tells_apart(found):
        warning = f"this simulator cannot tell right from wrong words (separation {found})"
        store.note(SIMULATOR_WARNING, warning)
    store.note(SEPARATION, str(found))
