"""Names of simulators, and how a name becomes a factory.

A name is a kind, or `kind:what` where the kind needs a model: `lexical`, `hf:google/gemma-2-9b-it`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from featureinterp.errors import InputError
from featureinterp.simulator.rules import RuleSimulatorFactory

SIMULATORS = {"lexical": "featureinterp.simulator.lexical:make_lexical_simulator_factory"}
"""Kind to the place of a function from what stands behind the colon, and a device, to a factory."""


def load(place: str) -> Callable[..., Any]:
    """Import what stands at a `module:name` place."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def check_simulator_name(name: str) -> None:
    """Check a name without loading anything.

    Raises:
        InputError: if no simulator of that kind is registered.
    """
    if name.partition(":")[0] not in SIMULATORS:
        raise InputError(f"there is no simulator {name!r}", f"use one of: {', '.join(sorted(SIMULATORS))}")


def make_simulator_factory(name: str, *, device: str = "auto") -> RuleSimulatorFactory:
    """Make the simulator factory of that name; its `fresh()` shares the model and remembers nothing.

    Args:
        name: a registered kind, with what it needs behind a colon.
        device: where a local model computes: a torch device, or `auto` for the GPU where there is one.

    Raises:
        InputError: if no simulator of that kind is registered, or it does not know what stands behind the colon.
    """
    check_simulator_name(name)
    kind, _, what = name.partition(":")
    return load(SIMULATORS[kind])(what, device)
