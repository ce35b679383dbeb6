"""Options that name a method and set its knobs, and how they are read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from featureinterp.cli.options import HOW
from featureinterp.errors import InputError

ExplainerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-E",
        "--explainer-option",
        metavar="KEY=VALUE",
        help="Knob of the explainer, such as -E root_nodes=5; repeatable.",
        rich_help_panel=HOW,
        show_default=False,
    ),
]
ProposerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-P",
        "--proposer-option",
        metavar="KEY=VALUE",
        help="Knob of the proposer, such as -P mining.rule_cost=8; repeatable.",
        rich_help_panel=HOW,
        show_default=False,
    ),
]
SimulatorOptions = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        "--simulator-option",
        metavar="KEY=VALUE",
        help="Knob of the simulator, such as -S batch_tokens=4096 (hf); repeatable.",
        rich_help_panel=HOW,
        show_default=False,
    ),
]


def search_and_proposer(explainer: str, proposer: str) -> tuple[str, str]:
    """Return the search and the proposer that two options ask for; a language model may stand in the first.

    Raises:
        InputError: if both name a proposer.
    """
    from featureinterp.explainer import EXPLAINERS
    from featureinterp.explainer.registry import is_model_name

    if EXPLAINERS.has(explainer):
        return explainer, proposer
    if not is_model_name(explainer):
        error = EXPLAINERS.unknown(explainer)
        raise InputError(error.problem, f"{error.hint}, or a language model, as provider:model")
    if proposer != "lexical":
        raise InputError(f"--explainer {explainer} and --proposer {proposer} both name a proposer", "name one")
    return "tree", explainer


def knobs(explainer: list[str] | None, proposer: list[str] | None, simulator: list[str] | None) -> dict[str, Any]:
    """Return the options behind -E, -P and -S by the names of `MethodSpec`'s fields.

    Raises:
        InputError: if one is no `key=value`, or a key is given twice.
    """
    from featureinterp.knobs import read_pairs

    return {
        "explainer_options": read_pairs(explainer or (), "-E"),
        "proposer_options": read_pairs(proposer or (), "-P"),
        "simulator_options": read_pairs(simulator or (), "-S"),
    }


def temperatures(text: str) -> tuple[float | None, ...]:
    """Read temperatures such as `0.7,1.0`; None for `none`.

    Raises:
        InputError: if it is something else.
    """
    try:
        return tuple(None if each.strip().lower() == "none" else float(each) for each in text.split(","))
    except ValueError as error:
        raise InputError(f"temperatures {text!r} cannot be read", "give numbers such as 0.7,1.0, or none") from error
