"""Hook names, hook points and layer selections.

Names are TransformerLens's, as SAELens stores them: `blocks.{layer}.` and one of `KINDS`. An SAE that was trained on a
bare Hugging Face model names a module of it instead, such as `model.layers.3`, and reads that module's output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from featureinterp.errors import InputError

RESIDUAL_POST = "blocks.{layer}.hook_resid_post"

KINDS = (
    "hook_resid_pre",  # the residual stream before the block
    "hook_resid_mid",  # between attention and MLP
    "hook_resid_post",  # after the block
    "hook_attn_out",  # added to the residual stream by attention
    "hook_mlp_out",  # added to it by the MLP
    "ln1.hook_normalized",  # output of the norm before attention, without its weight and bias
    "attn.hook_z",  # the heads' outputs side by side, before W_O
    "hook_mlp_in",  # input of the norm before the MLP
    "ln2.hook_normalized",  # the same, normalised, without the norm's weight and bias
    "mlp.hook_in",  # input of the MLP: normalised, with weight and bias
    "mlp.hook_pre",  # the MLP's neurons before the activation function; of a gated MLP the gate
    "mlp.hook_pre_linear",  # factor of the activated gate in a gated MLP
    "mlp.hook_post",  # the MLP's neurons, before W_out
)
"""Supported hook points of a decoder block."""

RESIDUAL_KINDS = frozenset({
    "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "hook_mlp_in"
})  # fmt: skip
"""Hook points that are the residual stream, or are added to it."""

_LAYER = re.compile(r"\.([0-9]{1,6})(?:\.|$)")
_SPACED = re.compile(r"spaced:([0-9]{1,6})")
_BLOCK_POINT = re.compile(r"blocks\.([0-9]+)\.(.+)")


@dataclass(frozen=True)
class HookPoint:
    """A hook point of the model."""

    layer: int
    kind: str | None
    """One of `KINDS`; None for the output of the module with this path."""


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

    >>> layer_of("blocks.11.hook_resid_pre"), layer_of("model.layers.11")
    (11, 11)
    """
    found = _LAYER.search(name)
    if found is None:
        raise InputError(f"hook name {name!r} holds no layer number", "use a name such as 'blocks.3.hook_resid_post'")
    return int(found.group(1))


def hook_point(name: str) -> HookPoint:
    """Parse a hook name.

    Raises:
        InputError: if it holds no layer, or names an unsupported point of the block.

    >>> hook_point("blocks.4.attn.hook_z")
    HookPoint(layer=4, kind='attn.hook_z')
    """
    layer, found = layer_of(name), _BLOCK_POINT.fullmatch(name)
    if found is None:
        return HookPoint(layer, None)
    if found.group(2) not in KINDS:
        raise InputError(
            f"hook {name!r} cannot be read: {found.group(2)!r} is not a supported point of a block",
            f"the points are {', '.join(KINDS)}",
        )
    return HookPoint(layer, found.group(2))


def select_layers(text: str, n_layers: int) -> tuple[int, ...]:
    """Parse a layer selection: `all`, `even`, `odd`, `spaced:N`, or numbers such as `1,2`; sorted, distinct.

    `spaced:N` selects N evenly spaced layers, including the first and the last; all if there are at most N.

    Raises:
        InputError: if it has another form, names a layer that the model does not have, or selects none.

    >>> select_layers("odd", 6)
    (1, 3, 5)
    >>> select_layers("4, 1", 6)
    (1, 4)
    >>> select_layers("spaced:8", 42)
    (0, 6, 12, 18, 23, 29, 35, 41)
    """
    named = {"all": range(n_layers), "even": range(0, n_layers, 2), "odd": range(1, n_layers, 2)}
    choice = text.strip().lower()
    if choice in named:
        layers = set(named[choice])
    elif (spaced := _SPACED.fullmatch(choice)) and int(spaced.group(1)):
        last = n_layers - 1
        n = min(int(spaced.group(1)), n_layers)
        layers = {round(i * last / (n - 1)) for i in range(n)} if n > 1 else {last // 2}
    else:
        parts = [part.strip() for part in choice.split(",")]
        valid = all(part.isascii() and part.isdigit() and len(part) < 7 and int(part) < n_layers for part in parts)
        layers = {int(part) for part in parts} if valid else set()
    if not layers:
        raise InputError(
            f"layers {text!r} cannot be selected: the model has layers 0 to {n_layers - 1}",
            "give all, even, odd, spaced:8, or numbers such as 1,2",
        )
    return tuple(sorted(layers))
