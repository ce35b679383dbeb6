"""Every family of models, tiny and random: streams and deletions equal Hugging Face's own plain forward passes."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn
from transformers import AutoTokenizer

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.families import decoder_blocks
from featureinterp.subject.model import SubjectModel
from tests.models import tiny_families

SIZES = {
    "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
}  # fmt: skip
POINTS = ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]


# Strong soft-capping and windows shorter than the text, so that losing either would show.
WINDOW = {"sliding_window": 4}
GEMMA = {"query_pre_attn_scalar": 1, **WINDOW}
NEOX = {k: v for k, v in SIZES.items() if k not in ("num_key_value_heads", "head_dim")}

MAKE: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=4096, n_positions=64, n_embd=32, n_layer=3, n_head=4)),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**SIZES, **WINDOW)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SIZES)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**SIZES)),
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**SIZES)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**SIZES, **GEMMA, attn_logit_softcapping=0.05)),
    "gemma3_text": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**SIZES, **GEMMA)),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**NEOX)),
}


BY_HAND = list(MAKE)
"""Families whose blocks are computed by hand below; all points of the others are compared in test_points."""

MAKE |= {family: make for family, make in tiny_families.MAKE.items() if family not in MAKE}


@pytest.fixture(scope="module", params=MAKE)
def model(request, golden_data, tmp_path_factory):
    torch.manual_seed(0)
    made = MAKE[request.param]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():  # no bias is 0 and no norm's weight 1, so each shows in what is computed
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    folder = tmp_path_factory.mktemp(request.param)
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(golden_data / "gpt2-tiny").save_pretrained(folder)
    loaded = SubjectModel.load(str(folder), device="cpu")
    assert loaded.language_model.config.model_type == request.param.partition(",")[0]
    return loaded


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(2, 4096, (3, 10), generator=torch.Generator().manual_seed(1))


def test_residual_stream_is_hugging_faces(model, tokens):
    with torch.no_grad():
        states = model.language_model(tokens, output_hidden_states=True).hidden_states
    made = model.streams(tokens, POINTS)
    for point, wanted in zip(POINTS, states, strict=False):
        torch.testing.assert_close(made[point], wanted)


FULL = ["hook_attn_out", "hook_mlp_out", "attn.hook_z"]
SERIAL = ["hook_resid_mid", "hook_mlp_in", "ln2.hook_normalized", "mlp.hook_in"]


PARTS = {
    "gpt2": ("attn.c_proj", "ln_2"),
    "llama": ("self_attn.o_proj", "post_attention_layernorm"),
    "gemma2": ("self_attn.o_proj", "pre_feedforward_layernorm"),
    "gemma3_text": ("self_attn.o_proj", "pre_feedforward_layernorm"),
    "gpt_neox": ("attention.dense", "post_attention_layernorm"),
}
"""The output matrix of attention and the norm before the MLP, where they are not as in Llama."""


def a_block(model, layer) -> Any:
    return decoder_blocks("", model.language_model)[layer]


def at(model, tokens, layer):
    """Our streams of every point of a block, as attributes."""
    kinds = FULL if model.language_model.config.model_type == "gpt_neox" else FULL + SERIAL
    made = model.streams(tokens, [f"blocks.{layer}.{kind}" for kind in kinds])
    return SimpleNamespace(**{name.split("hook_")[-1] + "_" * name.endswith("_in"): s for name, s in made.items()})


def normed(stream, norm):
    """What a norm makes of a stream without its weight, and with it, by its formula; Gemma's weight stands beside 1."""
    epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    if isinstance(norm, nn.LayerNorm):
        return nn.functional.layer_norm(stream, (32,), eps=epsilon), norm(stream)
    normalised = stream / (stream.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()
    return normalised, normalised * (norm.weight + (1 if "Gemma" in type(norm).__name__ else 0))


@torch.no_grad()
@pytest.mark.parametrize("model", BY_HAND, indirect=True)
@pytest.mark.parametrize("layer", [0, 1])
def test_points_inside_a_block_add_up_to_hugging_faces_stream(model, tokens, layer):
    """What the parts of a block compute by hand from our streams is our next stream, and in the end their own."""
    family, block = model.language_model.config.model_type, a_block(model, layer)
    before, after = model.language_model(tokens, output_hidden_states=True).hidden_states[layer : layer + 2]
    ours = at(model, tokens, layer)

    def close(made, wanted):
        torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)

    project, norm = PARTS.get(family, PARTS["llama"])
    projected, norm = block.get_submodule(project)(ours.z), block.get_submodule(norm)
    if family == "gpt_neox":
        assert block.use_parallel_residual
        close(ours.attn_out, projected)
        close(ours.mlp_out, block.mlp(norm(before)))
        close(before + ours.attn_out + ours.mlp_out, after)
        return
    has_post_norms = family in ("gemma2", "gemma3_text")
    close(ours.attn_out, normed(projected, block.post_attention_layernorm)[1] if has_post_norms else projected)
    close(ours.resid_mid, before + ours.attn_out)
    close(ours.mlp_in_, ours.resid_mid)
    close(ours.normalized, normed(ours.resid_mid, norm)[0])
    close(ours.in_, normed(ours.resid_mid, norm)[1])
    computed = block.mlp(ours.in_)
    close(ours.mlp_out, normed(computed, block.post_feedforward_layernorm)[1] if has_post_norms else computed)
    close(ours.resid_mid + ours.mlp_out, after)


@torch.no_grad()
@pytest.mark.parametrize("model", BY_HAND, indirect=True)
def test_head_outputs_are_the_heads_own(model, tokens):
    """Attention by hand: the heads' outputs are their patterns times their values."""
    family = model.language_model.config.model_type
    block = a_block(model, 1)
    found = model.language_model(tokens, output_attentions=True, output_hidden_states=True)
    n, length, width = *tokens.shape, 32
    before = (block.ln_1 if family == "gpt2" else block.input_layernorm)(found.hidden_states[1])
    if family == "gpt2":
        value = block.attn.c_attn(before)[..., 2 * width :].view(n, length, 4, width // 4)
    elif family == "gpt_neox":
        value = block.attention.query_key_value(before).view(n, length, 4, 3, width // 4)[..., 2, :]
    else:
        value = block.self_attn.v_proj(before).view(n, length, 2, 8).repeat_interleave(2, dim=2)
    wanted = torch.einsum("nhqk,nkhd->nqhd", found.attentions[1], value).flatten(2)
    made = model.streams(tokens, ["blocks.1.attn.hook_z"])["blocks.1.attn.hook_z"]
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


def test_deleting_equals_a_plain_pass_without_the_token(model, tokens):
    columns = []
    for column, streams in model.deletion_streams(tokens, POINTS, 0):
        columns.append(column)
        rest = torch.cat([tokens[:, :column], tokens[:, column + 1 :]], dim=1)
        plain = model.streams(rest, POINTS)
        for point in POINTS:
            torch.testing.assert_close(streams[point], plain[point][:, column:], atol=1e-5, rtol=1e-5)
    assert columns == list(range(9))


def test_a_row_does_not_depend_on_its_batch(model, tokens):
    together = model.streams(tokens, POINTS[-1:])[POINTS[-1]]
    alone = model.streams(tokens[1:2], POINTS[-1:])[POINTS[-1]]
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model", BY_HAND, indirect=True)
def test_models_with_layer_norm_are_centred_and_others_not(model, tokens):
    has_layer_norm = model.language_model.config.model_type in ("gpt2", "gpt_neox")
    plain = model.streams(tokens, POINTS[-1:])[POINTS[-1]]
    plain = plain - plain.mean(dim=-1, keepdim=True) if has_layer_norm else plain
    centred = SubjectModel("centred", model.language_model, None, centre_residual=True).streams(tokens, POINTS[-1:])
    torch.testing.assert_close(plain, centred[POINTS[-1]])


def test_blocks_after_the_last_point_are_not_run(model, tokens):
    ran = []
    handle = decoder_blocks("", model.language_model)[2].register_forward_pre_hook(lambda *_: ran.append(2))
    model.streams(tokens, POINTS)
    handle.remove()
    assert ran == []


@pytest.mark.parametrize("model", BY_HAND, indirect=True)
def test_facts_about_the_model(model):
    assert (model.n_layers, model.width, model.max_length, model.bos_token_id) == (3, 32, 64, 0)
    assert model.tokenize([]) == []
    with pytest.raises(InputError, match="layers 0 to 2"):
        model.streams(torch.tensor([[1]]), ["blocks.3.hook_resid_post"])


def test_an_unknown_family_is_told():
    config = hf.T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    with pytest.raises(SubjectError, match="T5ForConditionalGeneration, whose decoder blocks are not known"):
        SubjectModel("t5", hf.T5ForConditionalGeneration(config), None)
