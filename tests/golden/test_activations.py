"""The residual stream, activations and holistic activations equal those of the original on the same model and SAE."""

import numpy as np
import pytest
import torch

from featureinterp.dataset.activations.attribution import capture_holistic
from featureinterp.dataset.activations.capture import capture_activations
from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations
from featureinterp.dataset.layout import Layout
from featureinterp.subject.model import SubjectModel

TINY_HOOK = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def residuals(golden_data):
    return dict(np.load(golden_data / "residual_layer1.npz"))


def test_residual_stream_without_centring_is_hugging_faces(golden_data, golden_activations, residuals):
    model = SubjectModel.load(str(golden_data / "gpt2-tiny"), device="cpu")
    made = model.streams(torch.from_numpy(golden_activations["tokens"][:8]), [TINY_HOOK])[TINY_HOOK]
    np.testing.assert_allclose(made.numpy(), residuals["hf_resid_post_1"], atol=2e-5)


def test_centred_residual_stream_is_transformer_lenss(tiny_subject, golden_activations, residuals):
    made = tiny_subject.model.streams(torch.from_numpy(golden_activations["tokens"][:8]), [TINY_HOOK])[TINY_HOOK]
    np.testing.assert_allclose(made.numpy(), residuals["tl_resid_post_1"], atol=2e-5)
    assert np.abs(residuals["tl_resid_post_1"] - residuals["hf_resid_post_1"]).max() > 1e-3


def test_captured_activations_are_the_originals(tiny_subject, golden_activations, tmp_path):
    tokens, wanted = golden_activations["tokens"][:128], golden_activations["sae_acts"][:128, 1:]
    capture_activations(tiny_subject, tokens, True, tmp_path)
    captured = SparseActivations.open(Layout(tmp_path).activations_of(TINY_HOOK))
    made = np.stack([captured.dense(latent, range(len(tokens))) for latent in range(20)], axis=-1)
    assert (wanted > 0).mean() > 0.01
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


def test_holistic_activations_convert_to_the_originals(tiny_subject, golden_activations, tmp_path):
    n, latents = 12, range(20)
    tokens = golden_activations["tokens"][:n]
    capture_holistic(tiny_subject, tokens, True, {TINY_HOOK: {latent: range(n) for latent in latents}}, tmp_path)
    captured = HolisticActivations.open(Layout(tmp_path).holistic_of(TINY_HOOK))
    made = np.stack([captured.dense(latent, range(n)) for latent in latents], axis=-1)

    activations = golden_activations["sae_acts"][:n, 1:].astype(np.float64)
    length = activations.shape[1]
    total = activations.sum(axis=1, keepdims=True)
    originals = made + total / length - (total - activations) / (length - 1)
    wanted = golden_activations["holistic_acts"][:n, 1:].astype(np.float64)
    assert np.abs(made).max() > 1e-2
    np.testing.assert_allclose(originals, wanted, atol=2e-3 * np.abs(wanted).max())
