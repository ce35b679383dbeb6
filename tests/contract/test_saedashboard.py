"""What SAEDashboard, and with it Neuronpedia, shows of an SAE, computed by running it, against our numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import FeatureDataGeneratorFactory
from sae_lens import SAE

from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import load_sae
from featureinterp.subject.unembedding import Unembedding
from tests.models.tiny_models import WIDTH, make_model, transformer_lens
from tests.models.tiny_saes import TRANSCODERS, save_sae

HOOK = "blocks.1.hook_resid_post"
LATENTS = [3, 0, 17]
TOKENS = torch.randint(2, 4096, (3, 12), generator=torch.Generator().manual_seed(1))
UNKNOWN = "jumprelu_skip_transcoder"
"""A kind that SAEDashboard does not show."""

SAVED_AT_LENGTH_1 = ("batchtopk", "matryoshka")
FOLDED = ("standard", "gated", "jumprelu", *SAVED_AT_LENGTH_1, *(kind for kind in TRANSCODERS if kind != UNKNOWN))
"""Kinds of SAE whose decoder norms SAEDashboard folds into the activations; SAELens saves some folded."""

PROCESSING = dict.fromkeys(("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"), True)
"""As TransformerLens loads a model for SAEDashboard, whatever the SAE says of its own."""


class Tokenizer:
    """As much of a tokenizer as a model without text asks for."""

    backend_tokenizer = None


def theirs(family: str, folder: Path):
    """SAEDashboard's activations and logits of some latents."""
    processing = PROCESSING if family == "gpt2" else {**PROCESSING, "center_writing_weights": False}
    model = transformer_lens(family, make_model(family), **processing)
    sae = SAE.load_from_disk(folder)
    sae.fold_W_dec_norm()  # the first thing that SaeVisRunner and NeuronpediaRunner do with it
    config = SaeVisConfig(hook_point=HOOK, features=LATENTS)
    found = FeatureDataGeneratorFactory.create(config, model, sae, TOKENS).get_feature_data(LATENTS)
    return found[0], found[2] @ model.W_U


def ours(family: str, folder: Path):
    """Our activations and logits of the same latents, and the norms of their decoder rows."""
    sae = load_sae(str(folder), "", 1, "cpu")
    model = SubjectModel(family, make_model(family), Tokenizer(), centre_residual=sae.requirements.centred)
    activations = sae.encode(model.streams(TOKENS, [HOOK])[HOOK], LATENTS)
    logits = Unembedding(model).logits(sae.directions(LATENTS))
    return activations, logits, SAE.load_from_disk(folder).W_dec[LATENTS].norm(dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", FOLDED)
def test_its_activations_are_ours_times_the_norm_and_its_logits_are_ours(kind: str, family: str, tmp_path: Path):
    asked = {"model_from_pretrained_kwargs": {"center_writing_weights": family == "gpt2"}}
    settings = {"d_out": WIDTH} if kind in TRANSCODERS else {}
    folder = save_sae(tmp_path, kind, HOOK, WIDTH, asked, **settings)
    activations, logits = theirs(family, folder)
    made, lens, norms = ours(family, folder)
    assert (float((norms - 1).abs().max()) < 1e-5) == (kind in SAVED_AT_LENGTH_1)
    assert 0.05 < float((made > 0).float().mean()) < 0.95
    torch.testing.assert_close(activations, made * norms, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(logits, lens, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_topk_that_ranks_by_scaled_latents_has_the_norms_in_its_activations_already(tmp_path: Path):
    folder = save_sae(tmp_path, "topk", HOOK, WIDTH, rescale_acts_by_decoder_norm=True, k=20)
    activations, logits = theirs("llama", folder)
    made, lens, _ = ours("llama", folder)
    torch.testing.assert_close(activations, made, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(logits, lens, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_stream_that_is_not_centred_is_read_as_the_sae_was_trained_and_not_as_saedashboard_does(tmp_path: Path):
    folder = save_sae(tmp_path, "standard", HOOK, WIDTH)
    activations, _ = theirs("gpt2", folder)
    made, _, norms = ours("gpt2", folder)
    plain = transformer_lens("gpt2", make_model("gpt2")).run_with_cache(TOKENS)[1][HOOK]
    torch.testing.assert_close(made, SAE.load_from_disk(folder).encode(plain)[..., LATENTS], rtol=1e-4, atol=1e-5)
    assert float((activations - made * norms).abs().max()) > 0.1


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("topk", {"rescale_acts_by_decoder_norm": False}, "Folding W_dec_norm is not safe"),
        ("matching_pursuit", {}, "Folding W_dec_norm is not safe"),
        (UNKNOWN, {"d_out": WIDTH}, "Invalid architecture"),
    ],
)
def test_some_saes_are_read_here_and_refused_by_saedashboard(kind: str, settings: dict, told: str, tmp_path: Path):
    folder = save_sae(tmp_path, kind, HOOK, WIDTH, **settings)
    with pytest.raises((NotImplementedError, ValueError), match=told):
        theirs("llama", folder)
    assert load_sae(str(folder), "", 1, "cpu").n_latents == 48
