"""Attributes that other families lack: models without a limit of length, without keys and values, without causality."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from featureinterp.errors import InputError, SubjectError
from featureinterp.llm.local.model import LocalModel, LocalModelParams
from featureinterp.pretrained.facts import length_limit, required_size
from featureinterp.subject.loading import count_layers
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.quality import bits_per_byte
from featureinterp.subject.subject import Subject
from tests.models.tiny_llms import tokenizer

ENDS = {"vocab_size": 1024, "bos_token_id": 0, "eos_token_id": 1}
SIZES = {
    **ENDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "pad_token_id": 0, "max_position_embeddings": 640,
}  # fmt: skip
GPT2 = {**ENDS, "n_positions": 640, "n_embd": 32, "n_layer": 2, "n_head": 4}
FALCON = {**ENDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 640}
LINEAR = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"], "num_experts": 2, "num_experts_per_tok": 1,
    "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8,
}  # fmt: skip
NEO = {"max_position_embeddings": 640, "num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 4}

MAKE: dict[str, tuple[Callable[[], Any], int | None]] = {
    "bloom": (
        lambda: hf.BloomForCausalLM(hf.BloomConfig(**ENDS, hidden_size=32, n_layer=2, n_head=4, pad_token_id=0)),
        None,
    ),
    "falcon": (lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON)), 640),
    "falcon_alibi": (lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON, alibi=True)), 640),
    "gptj": (lambda: hf.GPTJForCausalLM(hf.GPTJConfig(**GPT2, rotary_dim=4)), 640),
    "gpt_neo": (lambda: hf.GPTNeoForCausalLM(hf.GPTNeoConfig(**ENDS, hidden_size=32, **NEO)), 640),
    "gpt_bigcode": (lambda: hf.GPTBigCodeForCausalLM(hf.GPTBigCodeConfig(**GPT2)), 640),
    "openai-gpt": (lambda: hf.OpenAIGPTLMHeadModel(hf.OpenAIGPTConfig(**GPT2)), 640),
    "phi": (lambda: hf.PhiForCausalLM(hf.PhiConfig(**SIZES)), 640),
    "qwen3_next": (
        lambda: hf.Qwen3NextForCausalLM(hf.Qwen3NextConfig(**SIZES, **LINEAR, num_key_value_heads=2, head_dim=8)),
        640,
    ),
}
"""Models whose blocks are where known families have theirs, with the longest sequence that each takes."""

WITHOUT_BLOCKS: dict[str, tuple[Callable[[], Any], int | None]] = {
    "mamba": (
        lambda: hf.MambaForCausalLM(hf.MambaConfig(**ENDS, hidden_size=32, num_hidden_layers=2, state_size=4)),
        None,
    ),
    "mpt": (
        lambda: hf.MptForCausalLM(hf.MptConfig(vocab_size=1024, d_model=32, n_heads=4, n_layers=2, max_seq_len=640)),
        640,
    ),
}
"""Models that can simulate and judge."""

BART = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "t5": (
        lambda: hf.T5ForConditionalGeneration(
            hf.T5Config(vocab_size=1024, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
        ),
        "has an encoder and a decoder",
    ),
    "bart": (
        lambda: hf.BartForConditionalGeneration(
            hf.BartConfig(vocab_size=1024, d_model=32, **BART, encoder_ffn_dim=32, decoder_ffn_dim=32)
        ),
        "has an encoder and a decoder",
    ),
    "bert": (lambda: hf.BertLMHeadModel(hf.BertConfig(**SIZES)), "is not causal"),
    "xlnet": (
        lambda: hf.XLNetLMHeadModel(hf.XLNetConfig(vocab_size=1024, d_model=32, n_layer=2, n_head=4, d_inner=48)),
        "is not causal",
    ),
    "llama_both_ways": (lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, **{"is_causal": False})), "is not causal"),
    "vit": (
        lambda: hf.ViTModel(hf.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=32)),
        "cannot be loaded",
    ),
}


def save(make: Callable[[], Any], folder: Path) -> str:
    torch.manual_seed(0)
    model, generator = make(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    model.save_pretrained(folder)
    tokenizer("gpt4", "llama3").save_pretrained(folder)
    return str(folder)


POINTS = ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]


@pytest.mark.parametrize("family", MAKE)
def test_the_residual_stream_and_deletions_of_other_families_are_hugging_faces(family, tmp_path):
    make, longest = MAKE[family]
    folder = save(make, tmp_path)
    model = SubjectModel.load(folder, device="cpu")
    assert (model.max_length, model.width, model.n_layers, count_layers(folder)) == (longest, 32, 2, 2)
    tokens = torch.randint(2, 1000, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model.language_model(tokens, output_hidden_states=True).hidden_states
    made = model.streams(tokens, POINTS)
    for point, state in zip(POINTS[:2], wanted, strict=False):
        torch.testing.assert_close(made[point], state)
    for column, streams in model.deletion_streams(tokens, POINTS, 0):
        plain = model.streams(torch.cat([tokens[:, :column], tokens[:, column + 1 :]], dim=1), POINTS)
        for point in POINTS:
            torch.testing.assert_close(streams[point], plain[point][:, column:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", [*MAKE, *WITHOUT_BLOCKS])
def test_a_model_that_keeps_no_keys_computes_prompts_whole_to_the_same_numbers(family, tmp_path, caplog):
    make, longest = (MAKE | WITHOUT_BLOCKS)[family]
    model = LocalModel.load(save(make, tmp_path), LocalModelParams(device="cpu"))
    assert model.max_length == longest
    assert model.params.reuse_prefix is ("keeps no keys and values" not in caplog.text)
    assert model.params.reuse_prefix is (family in ("gpt_bigcode", "phi"))
    rows, words = [[5, 6, 7, 8], [9, 10]], list(range(1024))
    made = model.logits(rows, [[0, 3], [1]], words)
    for row, positions, logits in zip(rows, ([0, 3], [1]), made, strict=True):
        with torch.no_grad():
            wanted = model._model(torch.tensor([row]), use_cache=False).logits[0, positions]
        np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_that_is_no_decoder_alone_is_refused(family, tmp_path):
    make, told = REFUSED[family]
    folder = save(make, tmp_path)
    for load in (SubjectModel.load, lambda name, **_: LocalModel.load(name, LocalModelParams(device="cpu"))):
        with pytest.raises(SubjectError, match=told) as refused:
            load(folder, device="cpu")
        assert "\n" not in str(refused.value)


def test_windows_of_a_model_without_a_limit_are_of_any_length(tmp_path):
    model = SubjectModel.load(save(MAKE["bloom"][0], tmp_path), device="cpu")
    subject = Subject(model, {})
    assert subject.most_tokens is None
    subject.check_length(100_000)
    assert bits_per_byte(model, ["some text " * 300]) > 0
    limited = SubjectModel.load(save(MAKE["phi"][0], tmp_path / "phi"), device="cpu")
    with pytest.raises(InputError, match="context of model .*, 640 tokens"):
        Subject(limited, {}).check_length(641)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, None),
        ({"max_position_embeddings": 64}, 64),
        ({"max_position_embeddings": -1}, None),  # XLNet
        ({"max_position_embeddings": None, "n_positions": 32}, 32),
        ({"max_position_embeddings": 0, "max_seq_len": 16}, 16),
        ({"seq_length": 2048}, None),  # BLOOM
        ({"max_position_embeddings": "64"}, None),
    ],
)
def test_the_longest_sequence_is_read_where_it_is_told(config, wanted):
    assert length_limit(SimpleNamespace(**config)) == wanted


@pytest.mark.parametrize("value", [None, 0, -1, "12", 2.5])
def test_a_size_that_is_not_told_is_refused(value):
    for config in (SimpleNamespace(), SimpleNamespace(num_hidden_layers=value, model_type="odd")):
        with pytest.raises(SubjectError, match="model 'x' does not declare its num_hidden_layers"):
            required_size("model 'x'", config, "num_hidden_layers")


def test_a_model_that_tells_no_layers_is_refused_before_anything_large_is_read(tmp_path):
    hf.TimmBackboneConfig(backbone="resnet18").save_pretrained(tmp_path)
    with pytest.raises(SubjectError, match="does not declare its num_hidden_layers"):
        count_layers(str(tmp_path))


DAMAGE = {
    "no type": {"model_type": None},
    "an unknown type": {"model_type": "never heard of"},
    "text for a number": {"hidden_size": "large"},
    "no heads": {"num_attention_heads": 0},
    "negative": {"num_hidden_layers": -1},
    "a list": {"vocab_size": [1]},
    "an odd activation": {"hidden_act": "never heard of"},
    "odd rotary": {"rope_parameters": 7},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_configuration_is_told_in_one_sentence(damage, tmp_path):
    folder = save(MAKE["phi"][0], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **DAMAGE[damage]}))
    with pytest.raises(SubjectError) as refused:
        SubjectModel.load(folder, device="cpu")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "["),
        ("config.json", "[]"),
        ("config.json", "{" * 5000),
        ("config.json", '{"a":' * 5000 + "1" + "}" * 5000),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "nonsense"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}'),
        ("tokenizer_config.json", "[1]"),
        ("tokenizer_config.json", '{"tokenizer_class": 4}'),
        ("model.safetensors", ""),
        ("model.safetensors", "\x08" + "\0" * 7 + "{}      "),
        ("generation_config.json", "{"),
    ],
)
def test_a_damaged_file_is_told_in_one_sentence_or_not_needed(name, text, tmp_path):
    folder = save(MAKE["phi"][0], tmp_path)
    (tmp_path / name).write_text(text)
    for load in (SubjectModel.load, lambda name, **_: LocalModel.load(name, LocalModelParams(device="cpu"))):
        try:
            load(folder, device="cpu")
        except SubjectError as error:
            assert "\n" not in str(error) and "model" in error.problem
        else:
            assert name in ("generation_config.json", "tokenizer_config.json")
