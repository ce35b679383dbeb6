"""The command line on SAEs of other families, points, heads and tokenizers, and what it refuses before it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoTokenizer,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from featureinterp.dataset.corpus.windows import Windows
from tests.cli.tiny import N_LATENTS, WIDTH, Outcome, TinyWorld, run_command, write_sae

SIZES = ["--max-dataset-size", "60", "--max-seq-length", "12", "--layers", "0", "--max-features", str(N_LATENTS)]
SAMPLES = ["--top-sample-n", "10", "--complementary-sample-n", "10"]


def sae(folder: Path, hook: str, width: int = WIDTH, **metadata: Any) -> Path:
    write_sae(folder, 0, width)
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"] |= {"hook_name": f"blocks.0.{hook}", **metadata}
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def model(tiny: TinyWorld, folder: Path, made: Any, **special: str) -> Path:
    """A model with the tiny world's vocabulary, whose tokenizer has only the special tokens named."""
    backend = AutoTokenizer.from_pretrained(tiny.model).backend_tokenizer
    made.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return folder


def neo(tiny: TinyWorld, folder: Path) -> Path:
    kinds = [[["global", "local"], 1]]
    config = GPTNeoConfig(
        vocab_size=600, hidden_size=WIDTH, num_layers=2, attention_types=kinds, num_heads=2, max_position_embeddings=64
    )
    return model(tiny, folder, GPTNeoForCausalLM(config), bos_token="<|endoftext|>")


def records(tiny: TinyWorld, model: Path, sae: Path, out: Path) -> Outcome:
    named = ["--model-name", model, "--sae-name", sae, "--sae-id-layer-format-string", ""]
    return run_command("records", *named, "--dataset-name", tiny.corpus, *SIZES, *SAMPLES, "--out", out)


@pytest.mark.parametrize(
    ("hook", "width", "metadata"),
    [
        ("hook_mlp_out", WIDTH, {}),
        ("mlp.hook_post", 4 * WIDTH, {}),
        ("mlp.hook_pre", 4 * WIDTH, {}),
        ("ln1.hook_normalized", WIDTH, {}),
        ("attn.hook_z", WIDTH // 2, {"hook_head_index": 1}),
    ],
)
def test_records_are_made_of_every_kind_of_point(
    tiny: TinyWorld, tmp_path: Path, hook: str, width: int, metadata: dict
):
    outcome = records(
        tiny, neo(tiny, tmp_path / "neo"), sae(tmp_path / "sae", hook, width, **metadata), tmp_path / "out"
    )
    assert outcome.code == 0, outcome.err
    assert next(tmp_path.glob(f"out/*/sae_acts/blocks.0.{hook}.safetensors")).is_file()


def test_windows_of_a_qwen_model_begin_with_its_end_of_text(tiny: TinyWorld, tmp_path: Path):
    sizes = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    made = Qwen2ForCausalLM(Qwen2Config(vocab_size=600, hidden_size=WIDTH, **sizes, max_position_embeddings=64))
    qwen = model(tiny, tmp_path / "qwen", made, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    outcome = records(tiny, qwen, sae(tmp_path / "sae", "hook_resid_post", prepend_bos=True), tmp_path / "out")
    assert outcome.code == 0, outcome.err
    windows = Windows.load(next(tmp_path.glob("out/*/tokens.safetensors")))
    assert windows.has_bos
    assert set(windows.tokens[:, 0].tolist()) == {AutoTokenizer.from_pretrained(qwen).eos_token_id}


@pytest.mark.parametrize(
    ("hook", "width", "metadata", "told"),
    [
        ("attn.hook_q", WIDTH, {}, "'attn.hook_q' is not a supported point of a block"),
        ("mlp.hook_pre_linear", 4 * WIDTH, {}, "of type 'gpt_neo' has no module whose input or output it is"),
        (
            "attn.hook_z",
            WIDTH // 2,
            {},
            "2 heads of 8: if the SAE reads one of them, its cfg.json needs hook_head_index",
        ),
        ("hook_resid_post", WIDTH, {"hook_head_index": 0}, "only attn.hook_z can be read by heads"),
        ("hook_resid_post", WIDTH, {"prepend_bos": "yes"}, "has prepend_bos 'yes' (give true or false)"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_cause_before_the_corpus_is_cut(
    tiny: TinyWorld, tmp_path: Path, hook: str, width: int, metadata: dict, told: str
):
    outcome = records(
        tiny, neo(tiny, tmp_path / "neo"), sae(tmp_path / "sae", hook, width, **metadata), tmp_path / "out"
    )
    assert outcome.code == 2
    assert told in " ".join(outcome.err.split())
    assert not list(tmp_path.glob("out/*/tokens.safetensors"))
    assert "cutting the corpus" not in outcome.out + outcome.err


def test_a_tokenizer_without_any_token_to_begin_with_is_told_with_a_remedy(tiny: TinyWorld, tmp_path: Path):
    from tokenizers import ByteLevelBPETokenizer

    made = neo(tiny, tmp_path / "neo")
    other = ByteLevelBPETokenizer()
    other.train_from_iterator([tiny.corpus.read_text()], vocab_size=500, show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=other._tokenizer).save_pretrained(made)
    outcome = records(tiny, made, sae(tmp_path / "sae", "hook_resid_post", prepend_bos=True), tmp_path / "out")
    assert outcome.code == 2
    assert "name the token as bos_token in the model's tokenizer_config.json" in " ".join(outcome.err.split())
    assert not list(tmp_path.glob("out/*/tokens.safetensors"))
