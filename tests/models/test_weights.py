"""Every weight comes from the files: a folder with a gap, another shape, or weights of another model is refused."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from featureinterp.complexity import ComplexityAnalyzer
from featureinterp.errors import SubjectError
from featureinterp.llm.embedding import open_embedder
from featureinterp.llm.local.model import LocalModel, LocalModelParams
from featureinterp.pretrained.weights import check_loaded
from featureinterp.simulator import make_simulator_factory
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import load_sae
from tests.models.tiny_llms import language_model, tokenizer

Weights = dict[str, torch.Tensor]
OPENERS = {
    "subject": lambda folder: SubjectModel.load(folder, device="cpu"),
    "simulator": lambda folder: make_simulator_factory(f"hf:{folder}", device="cpu"),
    "judge": lambda folder: ComplexityAnalyzer(f"hf:{folder}", device="cpu"),
    "library": lambda folder: LocalModel.load(folder, LocalModelParams(device="cpu")),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    language_model("llama3").save_pretrained(folder)
    tokenizer("gpt4", "llama3").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A sentence-transformers folder: BERT, mean pooling and a dense layer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

    plain, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=1024, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    hf.BertModel(config).save_pretrained(plain)
    made = tokenizer("gpt4")
    made.pad_token = "<eos>"
    made.save_pretrained(plain)
    SentenceTransformer(
        modules=[Transformer(str(plain)), Pooling(32), Dense(32, 16)], device="cpu", trust_remote_code=False
    ).save(str(folder))
    return folder


def changed(source: Path, folder: Path, change: Callable[[Weights], object]) -> str:
    """Copy a model folder and change its weights."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def without(*names: str) -> Callable[[Weights], object]:
    return lambda weights: [weights.pop(name) for name in names]


def with_one(name: str, *shape: int) -> Callable[[Weights], object]:
    return lambda weights: weights.update({name: torch.ones(shape)})


UP = "model.layers.0.mlp.up_proj.weight"
FAULTS = {
    "one missing": (without(UP), f"lacks 1 weight: {UP} "),
    "a layer missing": (
        lambda weights: [weights.pop(name) for name in list(weights) if ".layers.1." in name],
        r"lacks 9 weights: model.layers.1.input_layernorm.weight, .* and 6 more ",
    ),
    "no head": (without("lm_head.weight"), "lacks 1 weight: lm_head.weight "),
    "another shape": (with_one(UP, 48, 31), rf"1 weight of another shape .*: {UP} is \[48, 31\]; expected \[48, 32\]"),
    "a bias": (with_one("model.layers.0.self_attn.q_proj.bias", 32), "holds 1 weight that its architecture does not"),
    "a layer too many": (with_one("model.layers.2.mlp.up_proj.weight", 48, 32), "model.layers.2.mlp.up_proj.weight"),
    "an adapter's": (with_one("model.layers.0.mlp.up_proj.lora_A.weight", 4, 32), "lora_A"),
    "another name": (
        lambda weights: weights.update({"model.layers.0.mlp.fc1.weight": weights.pop(UP)}),
        f"lacks 1 weight: {UP}",
    ),
    "not a number": (lambda weights: weights[UP][3].fill_(torch.nan), f"NaN or infinity in 1 weight: {UP}"),
    "infinite": (lambda weights: weights[UP][3].fill_(-torch.inf), f"NaN or infinity in 1 weight: {UP}"),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_whose_weights_are_not_whole_is_refused(llama, tmp_path, fault, opener, caplog):
    change, told = FAULTS[fault]
    folder = changed(llama, tmp_path, change)
    with pytest.raises(SubjectError, match=told) as refused:
        OPENERS[opener](folder)
    assert f"model {folder!r}" in refused.value.problem
    assert "\n" not in str(refused.value) and "LOAD REPORT" not in caplog.text


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("vocab_size", 1000, r"model.embed_tokens.weight is \[1024, 32\]; expected \[1000, 32\]"),
        ("num_hidden_layers", 3, "lacks 9 weights: model.layers.2."),
        ("num_hidden_layers", 1, "holds 9 weights that its architecture does not have: model.layers.1."),
        ("intermediate_size", 64, "6 weights of another shape"),
        ("attention_bias", True, r"lacks 8 weights: model.layers.0.self_attn.k_proj.bias"),
    ],
)
def test_a_configuration_of_another_model_is_refused(llama, tmp_path, setting, value, told):
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, setting: value}))
    with pytest.raises(SubjectError, match=told):
        SubjectModel.load(str(tmp_path), device="cpu")


@pytest.fixture
def shards(tmp_path) -> Path:
    language_model("llama3").save_pretrained(tmp_path, max_shard_size="40KB")
    tokenizer("gpt4", "llama3").save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    return tmp_path


def test_sharded_weights_load_and_a_lost_shard_is_told(shards):
    whole = SubjectModel.load(str(shards), device="cpu").language_model.state_dict()
    for name, weight in language_model("llama3").state_dict().items():
        torch.testing.assert_close(whole[name], weight, rtol=0, atol=0)
    lost = sorted(shards.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(SubjectError, match=f"cannot be loaded: .*{lost.name}"):
        SubjectModel.load(str(shards), device="cpu")


def test_an_index_that_is_cut_short_is_told(shards):
    index = shards / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    one = sorted(set(listed["weight_map"].values()))[0]
    kept = {name: file for name, file in listed["weight_map"].items() if file != one}
    index.write_text(json.dumps({**listed, "weight_map": kept}))
    with pytest.raises(SubjectError, match="lacks [0-9]+ weight"):
        SubjectModel.load(str(shards), device="cpu")
    for text in (index.read_text()[:200], "{}", "[]", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(SubjectError, match="cannot be loaded"):
            SubjectModel.load(str(shards), device="cpu")


HARMLESS = {
    "classifier": with_one("score.weight", 2, 32),
    "value head": with_one("v_head.summary.weight", 1, 32),
    "vision tower": with_one("vision_tower.encoder.layers.0.weight", 4, 4),
    "vision tower inside": with_one("model.vision_tower.encoder.weight", 4, 4),
    "mask": with_one("model.layers.0.self_attn.rotary_emb.inv_freq", 4),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_heads_and_towers_that_no_text_goes_through_are_let_pass(llama, tmp_path, name):
    folder = changed(llama, tmp_path, HARMLESS[name])
    ids = torch.tensor([[5, 6, 7]])
    made, wanted = (
        SubjectModel.load(each, device="cpu").streams(ids, ["blocks.1.hook_resid_post"])
        for each in (folder, str(llama))
    )
    torch.testing.assert_close(made, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_old_checkpoints_of_gpt2_open(golden_data, tmp_path, prefix):
    """They hold causal masks, may lack the prefix, and never hold the tied head."""

    def age(weights):
        for name in list(weights):
            weights[prefix + name.removeprefix("transformer.")] = weights.pop(name)
        weights.pop("lm_head.weight", None)
        for layer in (0, 1):
            weights[f"{prefix}h.{layer}.attn.bias"] = torch.ones(1, 1, 8, 8)
            weights[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-1e9)

    folder = changed(golden_data / "gpt2-tiny", tmp_path, age)
    ids, point = torch.tensor([[5, 6, 7]]), ["blocks.1.hook_resid_post"]
    made, wanted = (
        SubjectModel.load(each, device="cpu").streams(ids, point) for each in (folder, str(golden_data / "gpt2-tiny"))
    )
    torch.testing.assert_close(made, wanted, rtol=0, atol=0)


ENCODER_FAULTS = {
    "one missing": (without("encoder.layer.0.output.dense.weight"), "lacks 1 weight: encoder.layer.0.output.dense"),
    "another shape": (with_one("embeddings.word_embeddings.weight", 9, 32), r"is \[9, 32\]; expected \[1024, 32\]"),
    "unknown": (with_one("encoder.layer.2.output.dense.weight", 32, 48), "encoder.layer.2.output.dense.weight"),
    "not a number": (
        lambda weights: weights["embeddings.LayerNorm.weight"].fill_(torch.nan),
        "NaN or infinity in 1 weight: .*embeddings.LayerNorm.weight",
    ),
}


@pytest.mark.parametrize("fault", ENCODER_FAULTS)
def test_a_sentence_embedder_whose_weights_are_not_whole_is_refused(encoder, tmp_path, fault):
    change, told = ENCODER_FAULTS[fault]
    with pytest.raises(SubjectError, match=told) as refused:
        open_embedder(changed(encoder, tmp_path, change), device="cpu")
    assert "sentence embedder" in refused.value.problem and "\n" not in str(refused.value)


def test_a_dense_layer_of_an_embedder_without_its_weights_is_refused(encoder, tmp_path):
    shutil.copytree(encoder, tmp_path, dirs_exist_ok=True)
    save_file({"linear.bias": torch.zeros(16)}, tmp_path / "2_Dense" / "model.safetensors")
    with pytest.raises(SubjectError, match="sentence embedder .* cannot be loaded: .*Dense: .*linear.weight"):
        open_embedder(str(tmp_path), device="cpu")


def test_an_embedder_may_lack_a_pooler_that_it_does_not_use_and_hold_heads(encoder, tmp_path):
    def reshape(weights):
        without("pooler.dense.weight", "pooler.dense.bias")(weights)
        weights["cls.predictions.bias"] = torch.zeros(1024)

    made, wanted = (
        open_embedder(each, device="cpu").embed(["a text", "another"])
        for each in (changed(encoder, tmp_path, reshape), str(encoder))
    )
    np.testing.assert_array_equal(made, wanted)


def test_loading_models_elsewhere_is_as_before(encoder, llama):
    from_pretrained = hf.PreTrainedModel.__dict__["from_pretrained"]
    with pytest.raises(SubjectError):
        open_embedder(str(llama / "nothing here"), device="cpu")
    open_embedder(str(encoder), device="cpu")
    assert hf.PreTrainedModel.__dict__["from_pretrained"] is from_pretrained
    assert not logging.getLogger("transformers.modeling_utils").filters


def test_a_model_beside_an_adapter_is_refused(llama, tmp_path):
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/other", "peft_type": "LORA"}')
    for opener in OPENERS.values():
        with pytest.raises(SubjectError, match=r"is an adapter, or a model with one beside it .*merge_and_unload"):
            opener(str(tmp_path))


def test_a_tokenizer_of_another_model_is_refused(llama, tmp_path):
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    language_model("llama3", vocabulary=300).save_pretrained(tmp_path)
    told = "the tokenizer of .* has token ids up to [0-9]{3}, the model has embeddings of 0 to 299"
    for opener in OPENERS.values():
        with pytest.raises(SubjectError, match=told):
            opener(str(tmp_path))


def test_a_token_that_was_added_beyond_the_embeddings_is_told_where_a_text_spells_it(llama, tmp_path):
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    made = tokenizer("gpt4", "llama3")
    size = len(made)
    made.add_tokens("<far>")
    made.save_pretrained(tmp_path)
    language_model("llama3", vocabulary=size).save_pretrained(tmp_path)
    model = SubjectModel.load(str(tmp_path), device="cpu")
    assert model.tokenize(["plain text"])[0]
    with pytest.raises(SubjectError, match=f"spells the added token '<far>' of id {size}, .* embeddings of 0 to"):
        model.tokenize(["plain text", "a <far> token"])


def test_the_report_of_a_library_is_taken_at_its_word():
    whole = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}
    check_loaded("model 'x'", whole)
    with pytest.raises(SubjectError, match="model 'x' cannot be loaded: first"):
        check_loaded("model 'x'", {**whole, "error_msgs": ["first", "second"]})


@pytest.mark.parametrize("name", ["W_dec", "W_enc", "b_enc", "b_dec"])
def test_an_sae_that_lacks_a_weight_or_has_one_of_another_shape_is_refused(tmp_path, name):
    from featureinterp.subject.embedded import sae_folder

    shutil.copytree(sae_folder(1), tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "sae_weights.safetensors")
    for change in (lambda: weights.pop(name), lambda: weights.update({name: torch.zeros(3)})):
        change()
        save_file(weights, tmp_path / "sae_weights.safetensors")
        with pytest.raises(SubjectError, match=rf"the SAE in .* cannot be read: .*{name}") as refused:
            load_sae(str(tmp_path), "", 1, "cpu")
        assert "\n" not in str(refused.value)
