"""The shipped weights keep what the documentation promises, and go through SAELens and Hugging Face unchanged."""

import asyncio
from itertools import islice

import numpy as np
import pytest
import torch
from sae_lens import SAE
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from featureinterp.core import CorpusTokens, Rule, StructuredExplanation
from featureinterp.dataset.activations.capture import capture_activations
from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.corpus.python_docs import python_documentation
from featureinterp.dataset.corpus.windows import WindowParams, cut_windows
from featureinterp.dataset.layout import Layout
from featureinterp.experiment.doctor import Figure
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.simulator.lexical_corpus import LexicalCorpus
from featureinterp.subject.embedded import is_held_out, model_folder, sae_folder, weights_bytes
from featureinterp.subject.quality import bits_per_byte, sae_quality


@pytest.fixture(scope="module")
def windows(embedded_subject):
    return cut_windows(islice(python_documentation(), 400), embedded_subject.model, WindowParams(prepend_bos=True))[0]


def test_there_is_an_sae_after_every_layer(embedded_subject):
    assert embedded_subject.layers == tuple(range(embedded_subject.model.n_layers)) == tuple(range(6))
    assert all(sae.n_latents >= 1024 and sae.prepend_bos for sae in embedded_subject.saes.values())


def test_weights_are_16_bit_and_small():
    for path in (model_folder() / "model.safetensors", *(sae_folder(n) / "sae_weights.safetensors" for n in range(6))):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    assert weights_bytes() < 40e6


def test_saelens_loads_the_saes_in_32_bit():
    sae = SAE.load_from_disk(sae_folder(2))
    stored = load_file(sae_folder(2) / "sae_weights.safetensors")
    for name, tensor in sae.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, stored[name].float(), atol=0, rtol=0)


def test_a_corpus_is_simulated_as_its_windows_of_strings_are(embedded_subject, windows):
    forms = (
        "the tokens ' the', '.'; or the word 'returns'",
        "words ending in 'ing' but not right after ' the'",
        "any token right after ' a', ' an' with '(' before",
        "line breaks",
        'mentions of "object" or numbers',
    )
    explanation = StructuredExplanation(tuple(Rule(words, 5 - i) for i, words in enumerate(forms)))
    strings = embedded_subject.model.token_strings
    expected, claimed = LexicalCorpus(CorpusTokens.of(windows.text_tokens, strings)).simulate(explanation)
    sequences = [tuple(strings(row)) for row in windows.text_tokens.tolist()]
    simulations = asyncio.run(LexicalSimulatorFactory()(explanation).simulate(sequences))
    assert np.array_equal(expected, np.array([each.expected_activations for each in simulations], dtype=np.float32))
    assert np.array_equal(claimed, [each.claims for each in simulations])
    assert set(np.unique(expected)) == {0, 1, 2, 3, 4, 5}


def test_capture_equals_saelens_on_hugging_faces_hidden_states(embedded_subject, windows, tmp_path):
    tokens = windows.tokens[:16]
    capture_activations(embedded_subject, tokens, True, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.float32)
    with torch.no_grad():
        states = model(torch.from_numpy(tokens).long(), output_hidden_states=True).hidden_states
    for layer in range(5):  # Hugging Face's last hidden state is behind the final norm
        wanted = SAE.load_from_disk(sae_folder(layer)).encode(states[layer + 1][:, 1:]).detach().numpy()
        captured = SparseActivations.open(Layout(tmp_path).activations_of(f"blocks.{layer}.hook_resid_post"))
        made = np.stack([captured.dense(latent, range(16)) for latent in range(captured.n_latents)], axis=-1)
        # A near tie for the last of the k places may go either way; nothing else may differ.
        differs = np.abs(made - wanted) > 1e-3
        assert differs.sum() <= 2e-4 * (wanted > 0).sum()


def test_figures_are_within_the_promised_bounds(embedded_subject, windows):
    for quality in sae_quality(embedded_subject, windows.tokens, True).values():
        assert 8 <= quality.l0 <= 40
        assert quality.variance_explained >= 0.85


def test_sae_quality_equals_a_direct_computation(embedded_subject, windows):
    tokens, hook = windows.tokens[:70], "blocks.4.hook_resid_post"
    stream = embedded_subject.model.streams(torch.from_numpy(tokens), [hook])[hook][:, 1:].double()
    sae = embedded_subject.saes[hook]
    latents = sae.encode(stream.float())
    error = (stream - sae.decode(latents).double()).square().sum()
    variance = (stream - stream.mean(dim=(0, 1))).square().sum()
    quality = sae_quality(embedded_subject, tokens, True)[hook]
    assert quality.variance_explained == pytest.approx(1 - float(error / variance), rel=1e-4)
    assert quality.l0 == pytest.approx(float((latents > 0).sum(-1).float().mean()), rel=1e-4)
    assert quality.dead == pytest.approx(1 - float((latents > 0).any(0).any(0).float().mean()))


def test_bits_per_byte_is_the_mean_loss_of_hugging_face(embedded_subject):
    texts = ["Return the absolute value of the argument.", "def f(x):\n    return x + 1\n"]
    model = embedded_subject.model
    nats = 0.0
    for text in texts:
        ids = torch.tensor([[model.bos_token_id, *model.tokenize([text])[0]]])
        with torch.no_grad():
            nats += float(model.language_model(ids, labels=ids).loss) * (ids.shape[1] - 1)
    wanted = nats / np.log(2) / sum(map(len, texts))
    assert bits_per_byte(model, texts) == pytest.approx(wanted, rel=1e-5)


def test_one_document_in_64_is_held_out():
    held = sum(is_held_out(f"document {number}") for number in range(20_000))
    assert 250 < held < 380


def test_a_figure_knows_whether_it_holds():
    assert Figure("x", 0.9, None, at_least=0.85).holds
    assert not Figure("x", 0.8, None, at_least=0.85).holds
    assert not Figure("x", 41, None, at_least=8, at_most=40).holds
