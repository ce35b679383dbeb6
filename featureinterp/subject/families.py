"""Where each family of models keeps the parts of its decoder blocks, and how a hook point is read off them.

One row of `_FAMILIES` is all there is to a family. The points mean what they mean in TransformerLens, whose names they
have: `hook_attn_out` and `hook_mlp_out` are what is added to the residual stream, so behind Gemma's post-norms;
`attn.hook_z` is in front of W_O; `ln2.hook_normalized` is in front of the norm's own weight and bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from featureinterp.errors import InputError, SubjectError

_BLOCK_LISTS = ("transformer.h", "model.layers", "model.language_model.layers", "gpt_neox.layers")
"""Where a family keeps its decoder blocks: GPT-2; Llama and its kin; the same beside a vision tower; GPT-NeoX."""


_FINAL_NORMS = ("ln_f", "norm", "final_layer_norm")
"""What the norm after the last block is called, beside the list of blocks."""


@dataclass(frozen=True)
class Family:
    """Paths of modules inside a decoder block; an empty one means that there is no such point."""

    attention_out: str = ""
    """Its output is what attention adds to the residual stream."""
    head_outputs: str = ""
    """The projection W_O, whose input is the heads' outputs."""
    mlp_norm: str = ""
    """The norm between the residual stream and the MLP."""
    mlp: str = ""
    mlp_out: str = ""
    """Its output is what the MLP adds to the residual stream."""


_LLAMA = Family("self_attn", "self_attn.o_proj", "post_attention_layernorm", "mlp", "mlp")
_POST_NORMS = Family(
    "post_attention_layernorm", "self_attn.o_proj", "pre_feedforward_layernorm", "mlp", "post_feedforward_layernorm"
)
_FAMILIES = {
    "gpt2": Family("attn", "attn.c_proj", "ln_2", "mlp", "mlp"),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma"), _LLAMA),
    **dict.fromkeys(("gemma2", "gemma3_text"), _POST_NORMS),
    "gpt_neox": Family("attention", "attention.dense", mlp="mlp", mlp_out="mlp"),  # attention and MLP side by side
}
"""By Hugging Face's `model_type`; of any other model the residual stream before and after each block can be read."""

_READ_AT = {
    "hook_resid_mid": ("mlp_norm", "input"),
    "hook_attn_out": ("attention_out", "output"),
    "hook_mlp_out": ("mlp_out", "output"),
    "attn.hook_z": ("head_outputs", "input"),
    "hook_mlp_in": ("mlp_norm", "input"),
    "ln2.hook_normalized": ("mlp_norm", "input"),
    "mlp.hook_in": ("mlp", "input"),
}
"""The part of the block and its side where a point is; the residual stream's ends are the block's own sides."""

_CENTRED = frozenset({"hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out"})
_CENTRED |= {"hook_mlp_in"}
"""Points that lose their mean over the width when all weights that write to the residual stream are centred."""


@dataclass(frozen=True)
class Tap:
    """Where to hook and what to make of the tensor that is found there."""

    module: nn.Module
    is_input: bool
    """Whether the module's input is read and not its output."""
    finish: Callable[[Tensor], Tensor] | None = None


def decoder_blocks(name: str, model: nn.Module) -> nn.ModuleList:
    """Return a model's decoder blocks.

    Raises:
        SubjectError: if it keeps them where no known family does.
    """
    for path in _BLOCK_LISTS:
        try:
            blocks = model.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise SubjectError(
        f"model {name!r} is a {type(model).__name__}, whose decoder blocks are not known",
        f"models that keep them at one of {', '.join(_BLOCK_LISTS)} are supported",
    )


def final_norm(model: nn.Module) -> nn.Module | None:
    """Return the norm between the last decoder block and the unembedding; None where it is not known."""
    for path in _BLOCK_LISTS:
        for name in _FINAL_NORMS:
            try:
                return model.get_submodule(f"{path.rpartition('.')[0]}.{name}")
            except AttributeError:
                continue
    return None


def tap(block: nn.Module, model_type: str, kind: str, centre: bool) -> Tap:
    """Return where a point of a block is read.

    Args:
        block: The decoder block.
        model_type: Hugging Face's name of the family.
        kind: One of `names.KINDS`.
        centre: Whether the model stands for one with centred writing weights.

    Raises:
        InputError: if the family has no such point.
    """
    finish = _centred if centre and kind in _CENTRED else None
    if kind in ("hook_resid_pre", "hook_resid_post"):
        return Tap(block, kind == "hook_resid_pre", finish)
    part, side = _READ_AT[kind]
    path = getattr(_FAMILIES.get(model_type, Family()), part)
    if not path:
        raise InputError(
            f"{kind} cannot be read: it is not known where a model of type {model_type!r} has it",
            f"it is known of {', '.join(name for name, family in _FAMILIES.items() if getattr(family, part))}",
        )
    module = block.get_submodule(path)
    return Tap(module, side == "input", _normaliser(module) if kind == "ln2.hook_normalized" else finish)


def width_at(place: Tap, kind: str | None, hidden_size: int) -> int:
    """Return the width of the tensor at a point.

    Args:
        place: Where the point is.
        kind: One of `names.KINDS`; None for the output of any module.
        hidden_size: Width of the residual stream, at most points.
    """
    module: Any = place.module
    if kind == "attn.hook_z":
        return module.nx if hasattr(module, "nx") else module.in_features
    return getattr(module, "out_features", hidden_size) if kind is None else hidden_size


def _centred(stream: Tensor) -> Tensor:
    return stream - stream.mean(dim=-1, keepdim=True)


def _normaliser(norm: Any) -> Callable[[Tensor], Tensor]:
    """Return what a LayerNorm or RMSNorm does before it multiplies by its weight, computed in float32."""
    has_mean = isinstance(norm, nn.LayerNorm)
    epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon

    def normalise(stream: Tensor) -> Tensor:
        stream = _centred(stream.float()) if has_mean else stream.float()
        return stream * torch.rsqrt(stream.square().mean(dim=-1, keepdim=True) + epsilon)

    return normalise
