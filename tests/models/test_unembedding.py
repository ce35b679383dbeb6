"""The logit lens against TransformerLens's processed unembedding, and against the models' own norm and head."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from featureinterp.subject.families import final_norm
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import SparseAutoencoder, load_sae
from featureinterp.subject.subject import Subject
from featureinterp.subject.unembedding import Unembedding, why_no_outputs
from tests.models.test_families import MAKE
from tests.models.tiny_models import FAMILIES, WIDTH, make_model, transformer_lens
from tests.models.tiny_saes import save_sae

TOKENIZER = SimpleNamespace(backend_tokenizer=None)


def subject_model(model: Any) -> SubjectModel:
    return SubjectModel("tiny", model, TOKENIZER)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_direction_through_the_unembedding_that_saedashboard_uses(family: str):
    model = make_model(family)
    processed = transformer_lens(
        family, model, fold_ln=True, center_writing_weights=family == "gpt2", center_unembed=family != "gemma2"
    )
    direction = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
    wanted = (direction @ processed.W_U).detach()
    [found] = Unembedding(subject_model(model)).logits(direction[None])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", MAKE)
def test_every_familys_own_norm_and_head_say_the_same(family: str):
    torch.manual_seed(1)
    model = MAKE[family]()
    norm = final_norm(model)
    assert norm is not None
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
        direction = torch.randn(32)
        # What a norm makes of a vector, times the scale that it took away, less what it adds to any vector.
        has_mean = isinstance(norm, nn.LayerNorm) or family == "olmo"
        centred = direction - direction.mean() if has_mean else direction
        read = norm(1e4 * direction) * centred.square().mean().sqrt()
        if isinstance(norm, nn.LayerNorm):
            read -= norm.bias * centred.square().mean().sqrt()
        wanted = model.get_output_embeddings()(read)
    [found] = Unembedding(subject_model(model)).logits(direction[None])
    torch.testing.assert_close(found - found.mean(), wanted - wanted.mean(), rtol=1e-4, atol=1e-4)


def test_the_extremes_are_those_of_the_whole_vocabulary(embedded_subject: Subject):
    sae = embedded_subject.sae(1)
    lens = Unembedding(embedded_subject.model)
    [logits] = lens.logits(sae.directions([5]))
    assert len(logits) == embedded_subject.model.vocabulary_size
    [(promoted, suppressed)] = lens.extremes(sae.directions([5]), 10)
    ordered = sorted(logits.tolist())
    assert [value for _, value in promoted] == pytest.approx(ordered[:-11:-1], abs=1e-4)
    assert [value for _, value in suppressed] == pytest.approx(ordered[:10], abs=1e-4)
    assert promoted[0][0] == embedded_subject.model.token_strings([int(logits.argmax())])[0]


def test_a_direction_has_the_same_numbers_whatever_others_are_asked_with_it(embedded_subject: Subject):
    sae, lens = embedded_subject.sae(1), Unembedding(embedded_subject.model)
    together = lens.logits(sae.directions(range(70)))
    for latent in (0, 5, 63, 64, 69):
        torch.testing.assert_close(lens.logits(sae.directions([latent]))[0], together[latent], rtol=0, atol=0)


def test_equal_logits_are_ordered_as_a_stable_sort_orders_them():
    lens, ids = Unembedding(subject_model(make_model("gpt2"))), torch.arange(12)
    logits = torch.tensor([1.0, 3, 3, 0, 0, 0, 3, 2, 2, 0, 3, 1])
    lens.logits = lambda directions: logits[None]
    lens._named = lambda row, chosen: chosen
    lens._model = SimpleNamespace(n_token_strings=12)
    order = ids[logits.argsort(descending=True, stable=True)].tolist()
    for most in (1, 2, 5, 6, 12, 20):
        assert lens.extremes(torch.zeros(1, WIDTH), most) == [(order[:most], order[::-1][:most])]


def hooked(folder: Path, hook: str, width: int = WIDTH, kind: str = "standard") -> SparseAutoencoder:
    return load_sae(str(save_sae(folder, kind, hook, width)), "", 1, device="cpu")


@pytest.mark.parametrize(
    ("hook", "width", "told"),
    [
        ("blocks.1.hook_resid_mid", WIDTH, ""),
        ("blocks.1.hook_mlp_out", WIDTH, ""),
        ("model.layers.1", WIDTH, ""),
        ("blocks.1.attn.hook_z", WIDTH, "its SAE does not write to the residual stream"),
        ("blocks.1.ln2.hook_normalized", WIDTH, "its SAE does not write to the residual stream"),
        ("model.layers.1.mlp.up_proj", 48, "its SAE writes 48 wide, the unembedding of model 'tiny' reads 32"),
    ],
)
def test_directions_elsewhere_than_in_the_residual_stream_have_no_output_tokens(
    tmp_path: Path, hook: str, width: int, told: str
):
    reason = why_no_outputs(subject_model(make_model("llama")), hooked(tmp_path, hook, width))
    assert reason.startswith(told)
    assert bool(reason) == bool(told)


def test_a_transcoder_writes_to_the_residual_stream_wherever_it_reads(tmp_path: Path):
    transcoder = hooked(tmp_path, "blocks.1.ln2.hook_normalized", WIDTH + 1, "transcoder")  # it writes one less
    assert why_no_outputs(subject_model(make_model("llama")), transcoder) == ""


def test_a_model_whose_head_is_not_known_gives_a_reason(tmp_path: Path):
    model = make_model("llama")
    cast(Any, model).model.norm = None
    told = why_no_outputs(subject_model(model), hooked(tmp_path, "blocks.1.hook_resid_post"))
    assert told == "it is not known where model 'tiny' keeps its final norm and its unembedding"
