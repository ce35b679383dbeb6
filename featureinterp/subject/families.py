"""Model families: module paths of decoder blocks, and their hook points.

A family is one row of `_FAMILIES`. Hook points have the names and meanings of
TransformerLens: `hook_attn_out` and `hook_mlp_out` are added to the residual stream, so after Gemma's post-norms;
`attn.hook_z` is before W_O; `hook_normalized` is before the norm's own weight and bias; `mlp.hook_pre` and
`mlp.hook_post` are before and after the activation function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from featureinterp.errors import InputError, SubjectError

_BLOCK_LISTS = (
    "transformer.h",
    "model.layers",
    "model.language_model.layers",
    "gpt_neox.layers",
    "model.decoder.layers",
)
"""Module paths of decoder blocks: GPT-2; Llama and similar; the same with a vision tower; GPT-NeoX; OPT."""


_FINAL_NORMS = ("ln_f", "norm", "final_layer_norm", "final_layernorm")
"""Names of the norm after the last block, next to the list of blocks."""


@dataclass(frozen=True)
class Family:
    """Module paths inside a decoder block; an empty path means no such hook point."""

    attention_out: str = ""
    """Module whose output attention adds to the residual stream."""
    head_outputs: str = ""
    """Projection W_O, whose input is the heads' outputs."""
    attention_norm: str = ""
    """TransformerLens's ln1."""
    mlp_norm: str = ""
    """TransformerLens's ln2."""
    mlp_input: str = ""
    """Module whose input is the residual stream read by the MLP or its norm."""
    middle: str = ""
    """Module whose input is the residual stream between attention and MLP; none if the two are parallel."""
    mlp: str = ""
    """Module whose input is that of the MLP."""
    mlp_first: str = ""
    """Projection before the activation function; in a gated MLP the gate."""
    mlp_linear: str = ""
    """Other first projection of a gated MLP."""
    mlp_last: str = ""
    """Projection to the residual stream, whose input is `mlp.hook_post` in TransformerLens."""
    mlp_out: str = ""
    """Module whose output the MLP adds to the residual stream."""


def _serial(attention: str, heads: str, norms: tuple[str, str], mlp: tuple[str, ...]) -> Family:
    """Return a family with sequential attention and MLP."""
    module, first, linear, last = mlp
    return Family(attention, heads, *norms, norms[1], norms[1], module, first, linear, last, module)


def _parallel(attention: str, heads: str, norms: tuple[str, str], mlp: tuple[str, ...]) -> Family:
    """Return a family with parallel attention and MLP."""
    return replace(_serial(attention, heads, norms, mlp), middle="")


_GATED = ("mlp", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_FC1_FC2 = ("mlp", "mlp.fc1", "", "mlp.fc2")
_WIDEN = ("mlp", "mlp.dense_h_to_4h", "", "mlp.dense_4h_to_h")
_NORMS = ("input_layernorm", "post_attention_layernorm")

_LLAMA = _serial("self_attn", "self_attn.o_proj", _NORMS, _GATED)
_GEMMA_2 = replace(
    _serial("post_attention_layernorm", "self_attn.o_proj", ("input_layernorm", "pre_feedforward_layernorm"), _GATED),
    mlp_out="post_feedforward_layernorm",
)
_OLMO_2 = replace(  # the norms stand behind attention and MLP, in front of the residual stream
    _serial("post_attention_layernorm", "self_attn.o_proj", ("", "post_feedforward_layernorm"), _GATED),
    attention_norm="post_attention_layernorm",
    mlp_input="mlp",
    middle="mlp",
    mlp_out="post_feedforward_layernorm",
)
_GPT_2 = _serial("attn", "attn.c_proj", ("ln_1", "ln_2"), ("mlp", "mlp.c_fc", "", "mlp.c_proj"))
_FAMILIES = {
    "gpt2": _GPT_2,
    "gpt_neo": replace(_GPT_2, head_outputs="attn.attention.out_proj"),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "olmo"), _LLAMA),
    "phi3": replace(_LLAMA, mlp_first="", mlp_linear=""),  # one matrix is both projections
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA_2),
    **dict.fromkeys(("olmo2", "olmo3"), _OLMO_2),
    "apertus": _serial(
        "self_attn",
        "self_attn.o_proj",
        ("attention_layernorm", "feedforward_layernorm"),
        ("mlp", "mlp.up_proj", "", "mlp.down_proj"),
    ),
    "opt": replace(
        _serial("self_attn", "self_attn.out_proj", ("self_attn_layer_norm", "final_layer_norm"), ("", "", "", "")),
        mlp="fc1",
        mlp_first="fc1",
        mlp_last="fc2",
        mlp_out="fc2",
    ),
    "bloom": replace(  # both modules add the residual stream themselves; their last projections do not
        _serial("self_attention.dense", "self_attention.dense", _NORMS, _WIDEN), mlp_out="mlp.dense_4h_to_h"
    ),
    "gpt_neox": _parallel("attention", "attention.dense", _NORMS, _WIDEN),
    "gptj": _parallel("attn", "attn.out_proj", ("ln_1", "ln_1"), ("mlp", "mlp.fc_in", "", "mlp.fc_out")),
    "phi": _parallel("self_attn", "self_attn.dense", ("input_layernorm", "input_layernorm"), _FC1_FC2),
}
"""Families by `model_type` of Hugging Face; other models have only the residual stream before and after each block."""

_READ_AT = {
    "hook_resid_mid": ("middle", "input"),
    "hook_attn_out": ("attention_out", "output"),
    "hook_mlp_out": ("mlp_out", "output"),
    "ln1.hook_normalized": ("attention_norm", "input"),
    "attn.hook_z": ("head_outputs", "input"),
    "hook_mlp_in": ("mlp_input", "input"),
    "ln2.hook_normalized": ("mlp_norm", "input"),
    "mlp.hook_in": ("mlp", "input"),
    "mlp.hook_pre": ("mlp_first", "output"),
    "mlp.hook_pre_linear": ("mlp_linear", "output"),
    "mlp.hook_post": ("mlp_last", "input"),
}
"""Module and side (input or output) of each hook point; the residual stream is that of the block itself."""

_CENTRED = frozenset({"hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out"})
_CENTRED |= {"hook_mlp_in"}
"""Hook points that lose their mean over the width if the weights that write to the residual stream are centred."""

_NORMALISED_EMBEDDINGS = frozenset({"bloom"})
"""Families whose residual stream begins after a norm, whose weights TransformerLens does not centre."""

_OTHER_WIDTHS = frozenset({"attn.hook_z", "mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post"})
"""Hook points of another width than the residual stream."""


@dataclass(frozen=True)
class Tap:
    """Module to hook, and the transformation of its tensor."""

    module: nn.Module
    is_input: bool
    """Whether the module's input is read instead of its output."""
    finish: Callable[[Tensor], Tensor] | None = None


def decoder_blocks(name: str, model: nn.Module) -> nn.ModuleList:
    """Return a model's decoder blocks.

    Raises:
        SubjectError: if they are not at the path of a known family.
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
    """Return the final norm before the unembedding; None if unknown."""
    for path in _BLOCK_LISTS:
        for name in _FINAL_NORMS:
            try:
                return model.get_submodule(f"{path.rpartition('.')[0]}.{name}")
            except AttributeError:
                continue
    return None


def tap(block: nn.Module, model_type: str, kind: str, centre: bool) -> Tap:
    """Return the tap of a hook point in a block.

    Args:
        block: the decoder block.
        model_type: name of the family in Hugging Face.
        kind: one of `names.KINDS`.
        centre: whether to emulate a model with centred writing weights.

    Raises:
        InputError: if the family has no such hook point.
    """
    finish = _centred if centre and kind in _CENTRED else None
    if finish is not None and model_type in _NORMALISED_EMBEDDINGS and kind not in ("hook_attn_out", "hook_mlp_out"):
        raise InputError(
            f"{kind} with center_writing_weights cannot be read: a model of type {model_type!r} normalises its "
            "embeddings, which stay as they are",
            "use an SAE that was trained without weight processing",
        )
    if kind in ("hook_resid_pre", "hook_resid_post"):
        return Tap(block, kind == "hook_resid_pre", finish)
    part, side = _READ_AT[kind]
    family = _family_of(block, model_type)
    path = getattr(family, part)
    if not path:
        raise InputError(
            f"{kind} cannot be read: {_why_not(kind, family, model_type)}",
            f"models with this point: {', '.join(name for name, each in _FAMILIES.items() if getattr(each, part))}",
        )
    module = block.get_submodule(path)
    return Tap(module, side == "input", _normaliser(module) if kind.endswith("hook_normalized") else finish)


def width_at(place: Tap, kind: str | None, hidden_size: int) -> int:
    """Return the tensor width at a hook point.

    Args:
        place: tap of the hook point.
        kind: one of `names.KINDS`; None for the output of any module.
        hidden_size: width of the residual stream, and of most hook points.
    """
    if kind is not None and kind not in _OTHER_WIDTHS:
        return hidden_size
    sides = ("nx", "in_features") if place.is_input else ("nf", "out_features")  # of GPT-2's Conv1D, of a Linear
    return next((getattr(place.module, side) for side in sides if hasattr(place.module, side)), hidden_size)


def is_layer_norm(module: nn.Module) -> bool:
    """Return whether a norm subtracts the mean (including OLMo's weightless norm)."""
    return isinstance(module, nn.LayerNorm) or type(module).__name__ == "OlmoLayerNorm"


def _family_of(block: Any, model_type: str) -> Family:
    """Return a block's family; the generic one if the configuration changes the block's order."""
    family = _FAMILIES.get(model_type, Family())
    if not getattr(block, "use_parallel_residual", True):  # some GPT-NeoX
        return replace(family, middle=family.mlp_norm)
    if getattr(block, "apply_residual_connection_post_layernorm", False) or not getattr(
        block, "do_layer_norm_before", True
    ):
        return Family()
    return family


def _why_not(kind: str, family: Family, model_type: str) -> str:
    if model_type not in _FAMILIES:
        return f"the parts of a block of a model of type {model_type!r} are not known, only its input and output"
    if family == Family():
        return f"this {model_type!r} model normalises the residual stream itself, unlike others of its type"
    if kind == "hook_resid_mid":
        return f"a model of type {model_type!r} computes attention and MLP side by side, with no stream between them"
    return f"a model of type {model_type!r} has no module whose input or output it is"


def _centred(stream: Tensor) -> Tensor:
    return stream - stream.mean(dim=-1, keepdim=True)


def _normaliser(norm: Any) -> Callable[[Tensor], Tensor]:
    """Return a LayerNorm's or RMSNorm's normalisation without weight and bias, in float32."""
    has_mean = is_layer_norm(norm)
    epsilon = next((getattr(norm, name) for name in ("eps", "variance_epsilon") if hasattr(norm, name)), 1e-5)

    def normalise(stream: Tensor) -> Tensor:
        stream = _centred(stream.float()) if has_mean else stream.float()
        return stream * torch.rsqrt(stream.square().mean(dim=-1, keepdim=True) + epsilon)

    return normalise
