"""Tiny GGUF files, written from random Llama models with the `gguf` package."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ Ġ", "t h", "th e", "Ġ the"]
TOKENS = [*SPECIAL, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)

ROPE_THETA = 1000.0

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """Return a random model whose rows are whole blocks of 32 weights."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"rope_theta": ROPE_THETA, "attn_implementation": "eager"}
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, **settings,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(torch.rand_like(weight) + 0.5 if "norm" in name else torch.randn_like(weight) / 4)
    return model


def write_gguf(
    path: Path, model: LlamaForCausalLM, kind: str = "F32", *, cut: str | None = "smollm", family: str = "llama",
    without: str = "", more: dict[str, np.ndarray] | None = None, settings: dict[str, float | str] | None = None,
) -> Path:  # fmt: skip
    """Write a model as a GGUF file; its matrices in the format `kind`, and are then what the file holds.

    The model's own weights are replaced by what the file holds, so both must compute the same.
    """
    writer = gguf.GGUFWriter(path, family)
    config = model.config
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    for key, value in (settings or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_float32)(key, value)
    _add_tokenizer(writer, cut)
    for name, weight in model.named_parameters():
        if not (without and without in name):
            _add_weight(writer, config, name, weight, kind)
    for name, array in (more or {}).items():
        writer.add_tensor(name, array)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, cut: str | None) -> None:
    writer.add_tokenizer_model("gpt2")
    if cut is not None:
        writer.add_tokenizer_pre(cut)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _add_weight(writer: gguf.GGUFWriter, config: LlamaConfig, name: str, weight: torch.Tensor, kind: str) -> None:
    kinds = gguf.GGMLQuantizationType
    chosen = kinds[kind] if weight.ndim == 2 else kinds.F32
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2], 0)
    # llama.cpp rotates neighbouring dimensions of a head, Hugging Face those half a head apart.
    order = torch.arange(len(weight))
    if heads:
        order = order.reshape(heads, 2, -1).transpose(1, 2).reshape(-1)
    packed = gguf.quants.quantize(weight.detach()[order].numpy().copy(), chosen)
    with torch.no_grad():
        weight[order] = torch.from_numpy(gguf.quants.dequantize(packed, chosen).reshape(weight.shape).copy())
    raw = None if chosen in (kinds.F32, kinds.F16) else chosen
    writer.add_tensor(_gguf_name(name), packed, raw_dtype=raw)


def _gguf_name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, block, inner = name.split(".", 3)
    return f"blk.{block}.{NAMES[inner.removesuffix('.weight')]}.weight"
