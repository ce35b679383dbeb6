"""The table of experiments: the paper's four, those of other packages, and those named `module:NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featureinterp.errors import InputError
from featureinterp.registry import Registry

if TYPE_CHECKING:
    from featureinterp.experiment.paper.declaration import Experiment

EXPERIMENTS = Registry(
    "experiment",
    {
        "complementary": "featureinterp.experiment.paper.complementary:COMPLEMENTARY",
        "explainers": "featureinterp.experiment.paper.explainers:EXPLAINERS",
        "polysemanticity": "featureinterp.experiment.paper.polysemanticity:POLYSEMANTICITY",
        "layers": "featureinterp.experiment.paper.layers:LAYERS",
    },
    group="featureinterp.experiments",
)
"""Experiments: objects of the class `Experiment`."""


def load_experiment(name: str) -> Experiment:
    """Return an experiment by its registered name, or by its place `module:NAME`.

    Raises:
        InputError: if there is no such experiment, or what has that name is none, or is registered by another name.
    """
    from featureinterp.experiment.paper.declaration import Experiment

    found = EXPERIMENTS.load_object(name)
    if not isinstance(found, Experiment):
        raise InputError(f"the experiment {name!r} is {type(found).__name__}", "name an object of the class Experiment")
    if found.name != name and name in EXPERIMENTS.choices():
        raise InputError(f"the experiment registered as {name!r} has the name {found.name!r}", "give it one name")
    return found


def experiment_of_runs(name: str) -> Experiment:
    """Return the experiment that finished runs name; one with that name alone if it is not registered.

    Runs are files that others may have made, so a place `module:NAME` is not imported.

    Args:
        name: as the runs hold it; empty for runs of no experiment.

    Raises:
        InputError: if an experiment of another package cannot be imported.
    """
    from featureinterp.experiment.paper.declaration import Experiment

    if name in EXPERIMENTS.choices():
        return load_experiment(name)
    return Experiment(name, title=name, question="", variants=(), layers="all", latents_per_layer=1)
