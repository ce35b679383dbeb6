"""Every architecture that SAELens knows, with every normalisation: its own values, or a refusal with a remedy."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

from featureinterp.errors import SubjectError
from featureinterp.subject.sae import load_sae

HOOK = "blocks.1.hook_resid_post"
WIDTH, LATENTS = 16, 48
NORMALISATIONS = ("none", "expected_average_only_in", "constant_norm_rescale", "layer_norm")
OWN: dict[str, dict[str, Any]] = {
    "topk": {"k": 5},
    "abstopk": {"k": 5},
    "batchtopk": {"k": 5},
    "matryoshka_batchtopk": {"k": 5, "matryoshka_widths": [12, LATENTS]},
    "matching_pursuit": {"max_iterations": 6},
    "temporal": {"n_heads": 2, "bottleneck_factor": 4},
    **{name: {"d_out": 11} for name in SAE_CLASS_REGISTRY if "transcoder" in name},
}
REFUSED = {
    "abstopk": r"'abstopk', whose latents have negative activations .*are supported",
    "temporal": r"'temporal', which looks at the tokens before as well .*are supported",
}
"""Architectures that are not read, and the reason given."""

TRAINED = tuple(name for name in SAE_TRAINING_CLASS_REGISTRY if name not in SAE_CLASS_REGISTRY)
"""Those that SAELens saves as another architecture when they are done."""

STREAM = torch.randn(2, 7, WIDTH, generator=torch.Generator().manual_seed(3))


def saved(folder: Path, registry: dict, architecture: str, subtract: bool = True, **settings: Any) -> Path:
    """An SAE of an architecture with random weights, as SAELens saves it."""
    sae_class, config_class = registry[architecture]
    settings = {**OWN.get(architecture, {}), "apply_b_dec_to_input": subtract, **settings}
    config = config_class(d_in=WIDTH, d_sae=LATENTS, **settings)
    config.metadata.hook_name, config.metadata.prepend_bos = HOOK, True
    sae = sae_class(config)
    generator = torch.Generator().manual_seed(sum(map(ord, architecture)))
    with torch.no_grad():
        for name, tensor in sae.state_dict().items():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
            if "threshold" in name:
                tensor.abs_().add_(0.2)
            if architecture == "matching_pursuit" and name == "W_dec":
                tensor.copy_(torch.nn.functional.normalize(tensor, dim=-1))
    sae.save_model(folder)
    return folder


@torch.no_grad()
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize(("architecture", "normalisation"), list(itertools.product(SAE_CLASS_REGISTRY, NORMALISATIONS)))
def test_values_are_those_of_saelens(architecture: str, normalisation: str, subtract: bool, tmp_path: Path):
    subtract = subtract and "transcoder" not in architecture
    saved(tmp_path, SAE_CLASS_REGISTRY, architecture, subtract, normalize_activations=normalisation)
    if architecture in REFUSED:
        with pytest.raises(SubjectError, match=REFUSED[architecture]):
            load_sae(str(tmp_path), "", 1, "cpu")
        return
    theirs = SAE.load_from_disk(tmp_path)
    wanted = theirs.encode(STREAM)
    sae = load_sae(str(tmp_path), "", 1, "cpu")
    made = sae.encode(STREAM)
    torch.testing.assert_close(made, wanted)
    torch.testing.assert_close(sae.encode(STREAM, [7, 0, 7, 41]), wanted[..., [7, 0, 7, 41]], rtol=1e-4, atol=1e-5)
    assert 0.02 < float((made > 0).float().mean()) < 0.98
    assert float(made.min()) >= 0
    torch.testing.assert_close(sae.decode(made), theirs.decode(wanted))


@torch.no_grad()
@pytest.mark.parametrize("architecture", [name for name in SAE_CLASS_REGISTRY if name not in REFUSED])
def test_a_latents_direction_is_what_it_adds_at_length_1(architecture: str, tmp_path: Path):
    saved(tmp_path, SAE_CLASS_REGISTRY, architecture, "transcoder" not in architecture)
    sae = load_sae(str(tmp_path), "", 1, "cpu")
    with_it, without = torch.zeros(2, 1, LATENTS)
    with_it[0, 5] = 2.0
    added = sae.decode(with_it[None])[0, 0] - sae.decode(without[None])[0, 0]
    torch.testing.assert_close(sae.directions([5])[0], added / added.norm(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_topk_scaled_by_decoder_norms_has_saelens_values(tmp_path: Path):
    saved(tmp_path, SAE_CLASS_REGISTRY, "topk", rescale_acts_by_decoder_norm=True)
    wanted = SAE.load_from_disk(tmp_path).encode(STREAM)
    torch.testing.assert_close(load_sae(str(tmp_path), "", 1, "cpu").encode(STREAM), wanted)
    folded = SAE.load_from_disk(tmp_path, fold_W_dec_norm=True)
    torch.testing.assert_close(folded.encode(STREAM), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", TRAINED)
def test_an_sae_saved_in_the_middle_of_training_is_told_how_to_save(architecture: str, tmp_path: Path):
    saved(tmp_path, SAE_TRAINING_CLASS_REGISTRY, architecture)
    with pytest.raises(SubjectError, match=rf"saved for training \({architecture}\) .*save_inference_model"):
        load_sae(str(tmp_path), "", 1, "cpu")


@pytest.mark.parametrize("architecture", [name for name in SAE_TRAINING_CLASS_REGISTRY if name not in TRAINED])
def test_a_checkpoint_of_another_architecture_is_read_as_saelens_reads_it(architecture: str, tmp_path: Path):
    saved(tmp_path, SAE_TRAINING_CLASS_REGISTRY, architecture)
    if architecture in REFUSED:
        with pytest.raises(SubjectError, match=REFUSED[architecture]):
            load_sae(str(tmp_path), "", 1, "cpu")
        return
    wanted = SAE.load_from_disk(tmp_path).encode(STREAM).detach()
    torch.testing.assert_close(load_sae(str(tmp_path), "", 1, "cpu").encode(STREAM), wanted)


def test_whitening_that_is_not_in_the_weights_is_refused_with_a_remedy(tmp_path: Path):
    saved(tmp_path, SAE_CLASS_REGISTRY, "standard", normalize_activations="covariance_whitening")
    with pytest.raises(SubjectError, match=r"not folded into its weights .*fold_activation_whitening"):
        load_sae(str(tmp_path), "", 1, "cpu")


def test_a_scale_that_is_not_in_the_weights_is_told_and_one_that_is_counts(tmp_path: Path, caplog):
    saved(tmp_path, SAE_CLASS_REGISTRY, "jumprelu", normalize_activations="expected_average_only_in")
    with caplog.at_level(logging.WARNING):
        unscaled = load_sae(str(tmp_path), "", 1, "cpu").encode(STREAM)
    assert "its scale is not known; it is used without one, as in SAELens" in caplog.text
    theirs = SAE.load_from_disk(tmp_path)
    theirs.fold_activation_norm_scaling_factor(0.25)
    theirs.save_model(tmp_path)
    caplog.clear()
    scaled = load_sae(str(tmp_path), "", 1, "cpu").encode(STREAM)
    assert not caplog.text
    torch.testing.assert_close(scaled, theirs.encode(STREAM).detach())
    assert float((scaled - unscaled).abs().max()) > 0.1


def test_an_architecture_from_elsewhere_is_refused(tmp_path: Path):
    saved(tmp_path, SAE_CLASS_REGISTRY, "standard")
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "architecture": "of_my_own"}))
    with pytest.raises(SubjectError, match="of_my_own"):
        load_sae(str(tmp_path), "", 1, "cpu")
