"""Llama and Gemma 2, tiny and random: the residual stream and deletions equal Hugging Face's plain forward passes."""

import pytest
import torch
from transformers import (
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.model import SubjectModel

SIZES = {
    "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
}  # fmt: skip
POINTS = ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]


def make(family):
    torch.manual_seed(0)
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZES))
    # Strong soft-capping and a window shorter than the text, so that losing either would show.
    config = Gemma2Config(**SIZES, sliding_window=4, attn_logit_softcapping=0.05, query_pre_attn_scalar=1)
    return Gemma2ForCausalLM(config)


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request, golden_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make(request.param).save_pretrained(folder)
    AutoTokenizer.from_pretrained(golden_data / "gpt2-tiny").save_pretrained(folder)
    return SubjectModel.load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(2, 4096, (3, 10), generator=torch.Generator().manual_seed(1))


def test_residual_stream_is_hugging_faces(model, tokens):
    with torch.no_grad():
        states = model.language_model(tokens, output_hidden_states=True).hidden_states
    made = model.streams(tokens, POINTS)
    for point, wanted in zip(POINTS, states, strict=False):
        torch.testing.assert_close(made[point], wanted)


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


def test_models_with_rms_norm_are_not_centred(model, tokens):
    plain = model.streams(tokens, POINTS[-1:])[POINTS[-1]]
    centred = SubjectModel("centred", model.language_model, None, centre_residual=True).streams(tokens, POINTS[-1:])
    torch.testing.assert_close(plain, centred[POINTS[-1]])


def test_blocks_after_the_last_point_are_not_run(model, tokens):
    ran = []
    handle = model.language_model.model.layers[2].register_forward_pre_hook(lambda *_: ran.append(2))
    model.streams(tokens, POINTS)
    handle.remove()
    assert ran == []


def test_facts_about_the_model(model):
    assert (model.n_layers, model.width, model.max_length, model.bos_token_id) == (3, 32, 64, 0)
    assert model.tokenize([]) == []
    with pytest.raises(InputError, match="layers 0 to 2"):
        model.streams(torch.tensor([[1]]), ["blocks.3.hook_resid_post"])


def test_an_unknown_family_is_told():
    config = T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    with pytest.raises(SubjectError, match="T5ForConditionalGeneration, whose decoder blocks are not known"):
        SubjectModel("t5", T5ForConditionalGeneration(config), None)
