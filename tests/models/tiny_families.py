"""Tiny random models of more families, and TransformerLens's own copy of each, by its conversion of their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from sae_lens import HookedSAETransformer
from transformer_lens import HookedTransformerConfig
from transformer_lens.loading_from_pretrained import get_pretrained_model_config, get_pretrained_state_dict

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH = 4096, 32, 4, 3, 64

_ALIKE = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "max_position_embeddings": LENGTH}
_MANY = {**_ALIKE, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
_GROUPED = {**_MANY, "num_key_value_heads": 2}
_OLD = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": LENGTH}
_LOCAL = {"num_layers": LAYERS, "num_heads": HEADS, "attention_types": [[["global", "local", "local"], 1]]}
_GEMMA_3 = {**_GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}

_HALF_ROTARY = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

MAKE: dict[str, Callable[[], Any]] = {
    "gpt_neo": lambda: hf.GPTNeoForCausalLM(hf.GPTNeoConfig(**_ALIKE, **_LOCAL, window_size=4)),
    "gptj": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(**_OLD, rotary_dim=4)),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**_MANY)),
    "gpt_neox, one after the other": lambda: hf.GPTNeoXForCausalLM(
        hf.GPTNeoXConfig(**_MANY, use_parallel_residual=False)
    ),
    "opt": lambda: hf.OPTForCausalLM(
        hf.OPTConfig(
            **_ALIKE, ffn_dim=48, num_hidden_layers=LAYERS, num_attention_heads=HEADS, word_embed_proj_dim=WIDTH
        )
    ),
    "bloom": lambda: hf.BloomForCausalLM(
        hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS)
    ),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**_GROUPED, sliding_window=4)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**_GROUPED)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**_GROUPED, head_dim=16)),
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**_GROUPED, head_dim=8)),
    "gemma3_text": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(**_GEMMA_3, layer_types=["sliding_attention", "full_attention", "sliding_attention"])
    ),
    "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**_MANY, rope_parameters=_HALF_ROTARY)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**_GROUPED, pad_token_id=0)),
    "olmo": lambda: hf.OlmoForCausalLM(hf.OlmoConfig(**_MANY)),
    "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**_MANY)),
    "olmo3": lambda: hf.Olmo3ForCausalLM(hf.Olmo3Config(**_GROUPED, sliding_window=4)),
    "apertus": lambda: hf.ApertusForCausalLM(hf.ApertusConfig(**_GROUPED)),
}


def make_model(family: str):
    """A model in which no weight is 0 or 1, so that each of them shows in what is computed."""
    torch.manual_seed(0)
    model = MAKE[family]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.eval()


_COMMON = {
    "d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "n_ctx": LENGTH, "d_vocab": VOCABULARY, "d_mlp": 48,
    "d_head": WIDTH // HEADS, "positional_embedding_type": "rotary", "rotary_adjacent_pairs": False,
    "rotary_base": 10000, "rotary_dim": WIDTH // HEADS, "use_attn_scale": True,
}  # fmt: skip
_RMS = {"normalization_type": "RMS", "gated_mlp": True, "act_fn": "silu", "eps": 1e-6, "final_rms": True}

_BY_HAND: dict[str, dict[str, Any]] = {
    "gemma": {
        **_RMS, "original_architecture": "GemmaForCausalLM", "act_fn": "gelu_pytorch_tanh", "n_key_value_heads": 2,
    },
    "gemma3_text": {
        **_RMS, "original_architecture": "Gemma3ForCausalLM", "act_fn": "gelu_pytorch_tanh", "n_key_value_heads": 2,
        "use_qk_norm": True, "use_normalization_before_and_after": True, "window_size": 4, "use_local_attn": True,
        "attn_types": ["local", "global", "local"], "rotary_base": 1000000, "rotary_base_local": 10000,
    },
    "phi": {
        "original_architecture": "PhiForCausalLM", "act_fn": "gelu_new", "eps": 1e-5, "normalization_type": "LN",
        "parallel_attn_mlp": True, "rotary_dim": WIDTH // HEADS // 2,
    },
    "olmo": {**_RMS, "original_architecture": "OlmoForCausalLM", "normalization_type": "LN", "eps": 1e-5,
             "final_rms": False},
    "olmo2": {**_RMS, "original_architecture": "Olmo2ForCausalLM", "eps": 1e-5, "rotary_base": 10000},
}  # fmt: skip
"""Where TransformerLens takes a family's sizes from the names of its models and not from their configurations."""


def transformer_lens(family: str, model, folder: Path, **processing: bool) -> HookedSAETransformer:
    """The model as TransformerLens loads it, with the named processing only; `folder` is written to."""
    folder /= "model"  # TransformerLens reads families out of paths too
    model.save_pretrained(folder)
    if family in _BY_HAND:
        config = HookedTransformerConfig.from_dict({**_COMMON, **_BY_HAND[family], "model_name": family})
    else:
        config = get_pretrained_model_config(str(folder), device="cpu", fold_ln=False)
    config.use_hook_mlp_in, config.device, config.tokenizer_name = True, "cpu", None
    state = get_pretrained_state_dict(str(folder), config, model)
    hooked = HookedSAETransformer(config)
    off = dict.fromkeys(("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"), False)
    hooked.load_and_process_state_dict(state, **{**off, "refactor_factored_attn_matrices": False, **processing})
    return hooked.eval()
