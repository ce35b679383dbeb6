import json
import shutil

import pytest
import torch
from sae_lens import SAE, TopKSAE, TopKSAEConfig

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.sae import SparseAutoencoder, load_sae
from featureinterp.subject.subject import Subject, open_subject

HOOK = "blocks.1.hook_resid_post"


@pytest.fixture
def sae_copy(golden_data, tmp_path):
    shutil.copytree(golden_data / "sae" / "layer_1", tmp_path / "layer_1")
    return tmp_path / "layer_1"


def change_config(folder, **changes):
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | changes))


def test_asked_latents_are_those_of_saelens(tiny_subject, golden_data):
    stream = torch.randn(3, 7, 128, generator=torch.Generator().manual_seed(0))
    reference = SAE.load_from_disk(golden_data / "sae" / "layer_1").encode(stream).detach()
    sae, latents = tiny_subject.saes[HOOK], [2000, 5, 5, 0]
    torch.testing.assert_close(sae.encode(stream), reference)
    torch.testing.assert_close(sae.encode(stream, latents), reference[..., latents], atol=1e-5, rtol=1e-5)


def test_latents_of_topk_compete_with_those_not_asked_for():
    sae = TopKSAE(TopKSAEConfig(d_in=4, d_sae=4, k=1, apply_b_dec_to_input=False))
    sae.cfg.metadata.hook_name = HOOK
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(4))
        sae.W_dec.copy_(torch.eye(4))
    stream = torch.tensor([[3.0, 2.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0]])
    assert SparseAutoencoder(sae, "test").encode(stream, [1]).tolist() == [[0.0], [2.0]]


def test_latent_that_does_not_exist_is_named(tiny_subject):
    with pytest.raises(SubjectError, match="latent 2048 does not exist.*0 to 2047"):
        tiny_subject.saes[HOOK].encode(torch.zeros(1, 128), [0, 2048])


def test_centring_and_bos_follow_the_metadata(sae_copy):
    assert not load_sae(str(sae_copy), "", 1).requirements.centred
    metadata = json.loads((sae_copy / "cfg.json").read_text())["metadata"]
    centred = {"model_from_pretrained_kwargs": {"center_writing_weights": True}, "prepend_bos": False}
    change_config(sae_copy, metadata=metadata | centred)
    sae = load_sae(str(sae_copy), "", 1)
    assert sae.requirements.centred
    assert not sae.prepend_bos


def test_an_sae_that_asks_for_it_gets_the_centred_stream(golden_data, sae_copy):
    metadata = json.loads((sae_copy / "cfg.json").read_text())["metadata"]
    change_config(sae_copy, metadata=metadata | {"model_from_pretrained_kwargs": {"center_writing_weights": True}})
    tokens = torch.tensor([[0, 5, 6]])
    centred = open_subject(str(golden_data / "gpt2-tiny"), str(sae_copy), "", "1", "cpu").model
    plain = open_subject(str(golden_data / "gpt2-tiny"), str(golden_data / "sae"), "layer_{layer}", "1", "cpu").model
    streams = [model.streams(tokens, [HOOK])[HOOK] for model in (centred, plain)]
    torch.testing.assert_close(streams[0], streams[1] - streams[1].mean(-1, keepdim=True))
    assert float(streams[1].mean(-1).abs().max()) > 1e-3
    assert centred.fingerprint() != plain.fingerprint()


def test_width_that_does_not_match_is_told(embedded_subject, tiny_subject):
    with pytest.raises(SubjectError, match="has width 128 and model 'embedded' has 256"):
        Subject(embedded_subject.model, tiny_subject.saes)


def test_sae_of_another_layer_is_told(golden_data):
    folder = golden_data / "sae" / "layer_1"
    with pytest.raises(SubjectError, match="loaded for layer 0 reads layer 1"):
        open_subject(str(golden_data / "gpt2-tiny"), str(folder), "", "0", "cpu")


def test_layer_beyond_the_model_is_told(golden_data):
    with pytest.raises(InputError, match="layers 0 to 3"):
        open_subject(str(golden_data / "gpt2-tiny"), "embedded", "", "4", "cpu")


@pytest.mark.parametrize("missing", ["cfg.json", "sae_weights.safetensors"])
def test_folder_that_is_no_sae_is_told(sae_copy, missing):
    (sae_copy / missing).unlink()
    with pytest.raises(SubjectError, match=f"not a SAELens SAE: it holds no {missing}"):
        load_sae(str(sae_copy), "", 1)


def test_damaged_sae_is_told(sae_copy):
    (sae_copy / "sae_weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0notjson!")
    with pytest.raises(SubjectError, match="cannot be read"):
        load_sae(str(sae_copy), "", 1)


def test_missing_folder_and_unknown_release_are_told():
    with pytest.raises(SubjectError, match="SAE folder './nowhere' does not exist"):
        load_sae("./nowhere", "", 1)


def test_missing_model_is_told(tmp_path):
    with pytest.raises(SubjectError, match="cannot be loaded"):
        open_subject(str(tmp_path), "embedded", "", "0", "cpu")


def test_sae_by_layer(tiny_subject):
    assert tiny_subject.layers == (1,)
    assert tiny_subject.sae(1).hook_name == HOOK
    with pytest.raises(InputError, match="no SAE on layer 2"):
        tiny_subject.sae(2)


def test_fingerprint_changes_with_a_weight(tiny_subject, sae_copy):
    same = load_sae(str(sae_copy), "", 1)
    assert same.fingerprint() == tiny_subject.saes[HOOK].fingerprint()
    with torch.no_grad():
        same._sae.state_dict()["b_enc"].add_(1e-3)
    assert same.fingerprint() != tiny_subject.saes[HOOK].fingerprint()
