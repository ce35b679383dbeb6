"""Hook names and layers: which point of the model an SAE reads, and which layers a user asked for.

Names are TransformerLens's, as SAELens stores them: `blocks.{layer}.hook_resid_post` is the residual stream
after a decoder block, `blocks.{layer}.hook_resid_pre` the one before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from featureinterp.errors import InputError

RESIDUAL_POST = "blocks.{layer}.hook_resid_post"

_LAYER = re.compile(r"\.(\d+)\.")
_RESIDUAL = re.compile(r"blocks\.(\d+)\.hook_resid_(pre|post)")


@dataclass(frozen=True)
class ResidualPoint:
    """A point of the residual stream: just before or just after one decoder block."""

    layer: int
    is_input: bool
    """Whether it is the block's input (`hook_resid_pre`) and not its output."""


def hook_name(layer: int, template: str = RESIDUAL_POST) -> str:
    """Return the hook name of a layer.

    >>> hook_name(3)
    'blocks.3.hook_resid_post'
    """
    return template.format(layer=layer)


def layer_of(name: str) -> int:
    """Return the layer in a hook name.

    Raises:
        InputError: if the name holds no layer number.

    >>> layer_of("blocks.11.hook_resid_pre")
    11
    """
    found = _LAYER.search(name)
    if found is None:
        raise InputError(
            f"hook name {name!r} holds no layer number", "a name such as 'blocks.3.hook_resid_post' is wanted"
        )
    return int(found.group(1))


def residual_point(name: str) -> ResidualPoint:
    """Return the point of the residual stream that a hook name stands for.

    Raises:
        InputError: if the name is of another kind of hook.
    """
    found = _RESIDUAL.fullmatch(name)
    if found is None:
        raise InputError(
            f"hook {name!r} is not on the residual stream",
            "SAEs on 'blocks.{layer}.hook_resid_pre' or '.hook_resid_post' are supported",
        )
    return ResidualPoint(int(found.group(1)), found.group(2) == "pre")


def select_layers(text: str, n_layers: int) -> tuple[int, ...]:
    """Read a user's choice of layers: `all`, `even`, `odd`, or numbers such as `1,2`; sorted, without repeats.

    Raises:
        InputError: if it is none of these, names a layer that the model does not have, or selects none.

    >>> select_layers("odd", 6)
    (1, 3, 5)
    >>> select_layers("4, 1", 6)
    (1, 4)
    """
    named = {"all": range(n_layers), "even": range(0, n_layers, 2), "odd": range(1, n_layers, 2)}
    choice = text.strip().lower()
    if choice in named:
        layers = set(named[choice])
    else:
        parts = [part.strip() for part in choice.split(",")]
        valid = all(part.isascii() and part.isdigit() and int(part) < n_layers for part in parts)
        layers = {int(part) for part in parts} if valid else set()
    if not layers:
        raise InputError(
            f"layers {text!r} cannot be selected: the model has layers 0 to {n_layers - 1}",
            "give all, even, odd, or numbers such as 1,2",
        )
    return tuple(sorted(layers))
