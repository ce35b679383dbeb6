"""Tiny random models of each family with every weight drawn, and TransformerLens's own copy of them."""

from __future__ import annotations

import torch
from sae_lens import HookedSAETransformer
from transformer_lens import HookedTransformerConfig
from transformer_lens.loading_from_pretrained import get_pretrained_state_dict
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY, WIDTH, HEADS, HEAD_WIDTH, LAYERS, LENGTH = 4096, 32, 4, 16, 3, 64
FAMILIES = ("gpt2", "llama", "gemma2")

_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": HEAD_WIDTH, "max_position_embeddings": LENGTH,
}  # fmt: skip


_OFFICIAL_NAMES = {"gpt2": "gpt2", "llama": "meta-llama/Llama-3.1-8B", "gemma2": "google/gemma-2-2b"}
"""By which TransformerLens knows how to convert the weights."""


def make_model(family: str, dtype: torch.dtype = torch.float32):
    """A model in which no weight is 0 or 1, so that each of them shows in what is computed."""
    torch.manual_seed(0)
    if family == "gpt2":
        config = GPT2Config(vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
        model = GPT2LMHeadModel(config)
    elif family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**_SIZES, rms_norm_eps=1e-5))
    else:
        # Strong soft-capping and a window shorter than the text, so that losing either would show.
        config = Gemma2Config(**_SIZES, sliding_window=4, attn_logit_softcapping=0.5, query_pre_attn_scalar=HEAD_WIDTH)
        model = Gemma2ForCausalLM(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.to(dtype).eval()


def transformer_lens(family: str, model, **processing: bool) -> HookedSAETransformer:
    """The model as SAELens's recommended path loads it: TransformerLens's conversion, and the named processing only."""
    common = {
        "d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "n_ctx": LENGTH, "d_vocab": VOCABULARY,
        "device": "cpu", "dtype": model.dtype, "use_hook_mlp_in": True,
    }  # fmt: skip
    gated = {
        "d_head": HEAD_WIDTH, "d_mlp": 48, "n_key_value_heads": 2, "gated_mlp": True, "final_rms": True,
        "positional_embedding_type": "rotary", "rotary_dim": HEAD_WIDTH, "rotary_base": 10000,
        "rotary_adjacent_pairs": False, "normalization_type": "RMS",
    }  # fmt: skip
    own = {
        "gpt2": {
            "original_architecture": "GPT2LMHeadModel", "d_head": WIDTH // HEADS, "d_mlp": 4 * WIDTH,
            "act_fn": "gelu_new", "normalization_type": "LN", "eps": 1e-5,
        },
        "llama": {**gated, "original_architecture": "LlamaForCausalLM", "act_fn": "silu", "eps": 1e-5},
        "gemma2": {
            **gated, "original_architecture": "Gemma2ForCausalLM", "act_fn": "gelu_pytorch_tanh", "eps": 1e-6,
            "use_attn_scale": True, "window_size": 4, "use_local_attn": True,
            "attn_types": ["local", "global", "local"],
            "attn_scores_soft_cap": 0.5, "output_logits_soft_cap": 30.0, "use_normalization_before_and_after": True,
        },
    }[family]  # fmt: skip
    if processing.get("fold_ln"):
        own["normalization_type"] += "Pre"
    config = HookedTransformerConfig.from_dict({**common, **own, "model_name": family})
    state = get_pretrained_state_dict(_OFFICIAL_NAMES[family], config, model, dtype=model.dtype)
    off = dict.fromkeys(("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"), False)
    hooked = HookedSAETransformer(config)
    hooked.load_and_process_state_dict(state, **{**off, "refactor_factored_attn_matrices": False, **processing})
    return hooked.eval()
