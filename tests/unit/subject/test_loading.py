"""What cannot be loaded is told in one sentence: the hub, releases, devices, numbers, and SAEs that do not fit."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from sae_lens.loading import pretrained_saes_directory as directory

from featureinterp.errors import InputError, SubjectError
from featureinterp.llm.embedding import open_embedder
from featureinterp.llm.local.model import LocalModel
from featureinterp.pretrained.hub import hub_access
from featureinterp.subject import precision
from featureinterp.subject.loading import read_config
from featureinterp.subject.loading_requirements import LoadingRequirements, loading_requirements
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import HookPoint
from featureinterp.subject.precision import Precision, resolve_device
from featureinterp.subject.sae import load_sae
from featureinterp.subject.subject import open_subject, same_model
from tests.loopback_hub import loopback_hub, point_hub_at

RESIDUAL, Z = HookPoint(1, "hook_resid_post"), HookPoint(1, "attn.hook_z")


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub of which nothing answers: a port on which nobody listens."""
    point_hub_at(monkeypatch, tmp_path, "http://127.0.0.1:9")


@pytest.fixture
def refusing_hub(monkeypatch, tmp_path):
    """A hub that has `owner/gated` for others only, and no `owner/nothing`."""
    with loopback_hub(monkeypatch, tmp_path) as hub:
        hub.gated.add("owner/gated")
        yield hub


def test_a_hub_that_does_not_answer_is_told_at_once_with_the_way_round(no_hub):
    began = time.monotonic()
    with pytest.raises(SubjectError, match=r"model 'gpt2' was not downloaded yet, and the hub at .* cannot be reached"):
        SubjectModel.load("gpt2", device="cpu")
    with pytest.raises(SubjectError, match="hf download gpt2 --local-dir FOLDER"):
        read_config("gpt2")
    with pytest.raises(SubjectError, match=r"cannot be reached \(with access to the hub, SAE.from_pretrained"):
        load_sae("gpt2-small-resid-post-v5-32k", "blocks.{layer}.hook_resid_post", 3)
    assert time.monotonic() - began < 20  # one request of the hub's own client takes longer
    assert constants.HF_HUB_OFFLINE is False


def test_a_gated_model_is_told_and_how_to_get_it(refusing_hub):
    with pytest.raises(SubjectError, match="model 'owner/gated' is gated: .*HF_TOKEN"):
        SubjectModel.load("owner/gated", device="cpu")


def test_a_model_that_is_not_on_the_hub_is_told(refusing_hub):
    with pytest.raises(SubjectError, match="there is no model 'owner/nothing' on the hub, or it is private"):
        read_config("owner/nothing")


def test_other_errors_keep_their_first_line(refusing_hub):
    with (
        pytest.raises(SubjectError, match=r"model 'x' cannot be loaded: first \(hint\)"),
        hub_access("model 'x'", "hint"),
    ):
        raise ValueError("first\nsecond")


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/nowhere", "one/two/three", "my model"])
@pytest.mark.parametrize("load", [read_config, open_embedder, LocalModel.load, SubjectModel.load])
def test_a_model_folder_that_does_not_exist_is_told(load, name):
    with pytest.raises(SubjectError, match=f"there is no folder '{name}', and it cannot be a name on the hub .give "):
        load(name)


def model_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_model_comes_from_the_hub(refusing_hub, golden_data):
    refusing_hub.files["owner/tiny"] = model_files(golden_data / "gpt2-tiny")
    tokens, hook = torch.tensor([[0, 5, 6]]), "blocks.1.hook_resid_post"
    ours, local = (SubjectModel.load(n, device="cpu") for n in ("owner/tiny", str(golden_data / "gpt2-tiny")))
    torch.testing.assert_close(ours.streams(tokens, [hook]), local.streams(tokens, [hook]), atol=0, rtol=0)


@pytest.mark.parametrize("how", ["cut", "stuck"])
def test_a_connection_lost_while_a_model_is_downloaded_is_told(refusing_hub, golden_data, how):
    refusing_hub.files["owner/tiny"] = model_files(golden_data / "gpt2-tiny")
    if how == "cut":
        refusing_hub.cut["model.safetensors"] = 1000
    else:
        refusing_hub.stuck.add("model.safetensors")
    lost = r"the connection to the hub failed while model 'owner/tiny' was loaded: .*what was downloaded is kept"
    with pytest.raises(SubjectError, match=lost):
        SubjectModel.load("owner/tiny", device="cpu")


def test_an_embedder_or_a_simulator_that_the_hub_does_not_give_is_told(no_hub):
    import sentence_transformers  # noqa: F401 - its import is not timed

    began = time.monotonic()
    with pytest.raises(SubjectError, match="sentence embedder 'all-mpnet-base-v2' was not downloaded yet"):
        open_embedder("all-mpnet-base-v2")
    with pytest.raises(SubjectError, match="language model 'gpt2' was not downloaded yet"):
        LocalModel.load("gpt2")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("release", "sae_id", "told"),
    [
        ("gemma-scope-9b-pt-res-cannonical", "layer_{layer}/width_16k/canonical", "'gemma-scope-9b-pt-res-canonical'"),
        ("gpt2-small-resid-post-v5-32k", "blocks.{layer}.hook_resid_pots", "'blocks.3.hook_resid_post'"),
        ("llama_scope_lxr_8x", "l{layer}m_8x", "'l3r_8x'"),
    ],
)
def test_an_unknown_release_or_id_names_the_nearest(release, sae_id, told, no_hub):
    with pytest.raises(SubjectError, match=rf"(there is no SAELens release|has no SAE) .*near are .*{told}"):
        load_sae(release, sae_id, 3, "cpu")


@pytest.mark.parametrize("sae_id", ["layer_{lay}", "{0}", "{layer", "{layer:x.y}"])
def test_an_id_that_cannot_be_filled_in_is_told(sae_id):
    with pytest.raises(SubjectError, match="cannot be filled in"):
        load_sae("embedded", sae_id, 0, "cpu")


def test_a_release_is_scaled_as_its_entry_says(monkeypatch, golden_data):
    """With `expected_average_only_in`, SAELens folds the release's factor into the weights."""
    source = golden_data / "sae" / "layer_1"
    entry = directory.PretrainedSAELookup("r", "o/r", "m", "local", {"a1": "a"}, {}, {}, {}, {"a1": 0.25}, None)
    monkeypatch.setattr(
        "sae_lens.loading.pretrained_saes_directory.get_pretrained_saes_directory", lambda: {"r": entry}
    )

    def from_folder(repo_id, folder_name, device, force_download, cfg_overrides):
        config, state = sae_lens_disk_loader(source, device, cfg_overrides)
        return {**config, "normalize_activations": "expected_average_only_in"}, state, None

    from sae_lens.loading.pretrained_sae_loaders import sae_lens_disk_loader

    monkeypatch.setattr("sae_lens.saes.sae.get_pretrained_saes_directory", lambda: {"r": entry})
    monkeypatch.setattr("sae_lens.saes.sae.get_conversion_loader_name", lambda _: "local")
    monkeypatch.setitem(__import__("sae_lens").saes.sae.NAMED_PRETRAINED_SAE_LOADERS, "local", from_folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    scaled, plain = load_sae("r", "a{layer}", 1, "cpu"), load_sae(str(source), "", 1, "cpu")
    stream = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    weights: Any = plain._sae
    wanted = ((stream - weights.b_dec / 0.25) @ (weights.W_enc * 0.25) + weights.b_enc).relu()
    torch.testing.assert_close(scaled.encode(stream, [4, 1]), wanted[:, [4, 1]].detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "CUDA", "cuda:-1", ""])
def test_a_device_that_is_none_is_told(device):
    with pytest.raises(InputError, match=r"device .* is not known \(give auto, cpu, cuda, cuda:1 or mps\)"):
        resolve_device(device)


def test_a_device_that_is_not_there_is_told_and_which_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=f"device '{device}' is not on this machine: it has no CUDA GPU"):
            resolve_device(device)
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"device 'cuda:2' is not on this machine: it has cuda:0, cuda:1"):
        resolve_device("cuda:2")
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'mps' is not on this machine"):
        resolve_device("mps")


def test_numbers_that_are_none_are_told():
    with pytest.raises(InputError, match=r"dtype 'int8' is not known \(give auto, float32, bfloat16, float16\)"):
        Precision("int8")
    with pytest.raises(InputError, match=r"quantization '2bit' is not known \(give 8bit or 4bit\)"):
        Precision(quantization="2bit")
    with pytest.raises(InputError, match="dtype 'float8' is not known"):
        Precision().resolved("float8")


def test_quantization_without_bitsandbytes_names_the_extra(monkeypatch, golden_data):
    monkeypatch.setattr(precision, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'quantization \'8bit\' needs .*pip install "featureinterp\[quantization\]"'):
        SubjectModel.load(str(golden_data / "gpt2-tiny"), device="cpu", precision=Precision(quantization="8bit"))


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantization_is_asked_of_hugging_face(bits, monkeypatch):
    monkeypatch.setattr(precision, "find_spec", lambda _: SimpleNamespace())
    options = Precision("bfloat16", bits).loading_options("cuda:1")
    config = options["quantization_config"]
    assert (config.load_in_8bit, config.load_in_4bit) == (bits == "8bit", bits == "4bit")
    assert config.bnb_4bit_compute_dtype == options["dtype"] == torch.bfloat16
    assert options["device_map"] == {"": "cuda:1"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_computes_in_the_numbers_asked_for(dtype, golden_data):
    folder = str(golden_data / "gpt2-tiny")
    model = SubjectModel.load(folder, device="cpu", precision=Precision(dtype))
    hook = "blocks.1.hook_resid_post"
    stream = model.streams(torch.tensor([[0, 5, 6]]), [hook])[hook]
    assert model.dtype == dtype and stream.dtype == getattr(torch, dtype) and model.quantization is None
    exact = SubjectModel.load(folder, device="cpu").streams(torch.tensor([[0, 5, 6]]), [hook])[hook]
    assert 0 < float((stream.float() - exact).abs().max()) < 0.1 * float(exact.abs().max())


def test_advice_is_read_from_the_metadata():
    kwargs = {
        "center_writing_weights": True,
        "fold_ln": False,
        "dtype": "bfloat16",
        "revision": "step3000",
        "n_devices": 2,
    }
    assert loading_requirements(kwargs, RESIDUAL, "x") == LoadingRequirements(True, "bfloat16", "step3000")
    assert loading_requirements({"torch_dtype": "torch.float16", "dtype": None}, RESIDUAL, "x") == LoadingRequirements(
        dtype="float16"
    )
    assert loading_requirements({}, RESIDUAL, "x") == LoadingRequirements()


@pytest.mark.parametrize(
    ("kwargs", "point"),
    [
        ({"fold_value_biases": True}, Z),
        ({"refactor_factored_attn_matrices": True}, Z),
        ({"fold_ln": True}, HookPoint(1, "mlp.hook_in")),
        ({"checkpoint_index": 3}, RESIDUAL),
        ({"trust_remote_code": True}, RESIDUAL),
        ({"load_in_8bit": True}, RESIDUAL),
    ],
)
def test_a_kwarg_that_cannot_be_followed_is_an_error(kwargs, point):
    (key,) = kwargs
    with pytest.raises(SubjectError, match=f"SAE 'x' on {point.kind} was trained on a model loaded with {key}="):
        loading_requirements(kwargs, point, "x")


@pytest.fixture
def sae_with(golden_data, tmp_path):
    def write(**metadata):
        shutil.copytree(golden_data / "sae" / "layer_1", tmp_path / "sae", dirs_exist_ok=True)
        config = json.loads((tmp_path / "sae" / "cfg.json").read_text())
        config["metadata"] |= metadata
        (tmp_path / "sae" / "cfg.json").write_text(json.dumps(config))
        return str(tmp_path / "sae")

    return write


def test_an_sae_of_a_model_of_another_name_is_told_and_loaded(sae_with, golden_data, caplog):
    open_subject(str(golden_data / "gpt2-tiny"), sae_with(), "", "1", "cpu")
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        open_subject(str(golden_data / "gpt2-tiny"), sae_with(model_name="pythia-70m"), "", "1", "cpu")
    assert "was trained on model 'pythia-70m', and the model given is" in caplog.text


def test_an_sae_says_in_which_numbers_its_model_computed(sae_with, golden_data):
    sae = sae_with(model_from_pretrained_kwargs={"dtype": "bfloat16"})
    folder = str(golden_data / "gpt2-tiny")
    assert open_subject(folder, sae, "", "1", "cpu").model.dtype == "bfloat16"
    assert open_subject(folder, sae, "", "1", "cpu", Precision("float32")).model.dtype == "float32"


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("blocks.1.attn.hook_q", "'attn.hook_q' is not a supported point of a block"),
        ("hook_embed", "holds no layer number"),
        ("model.layers.1", "no module of that name"),
    ],
)
def test_a_hook_that_cannot_be_read_is_told(hook, told, sae_with, golden_data):
    with pytest.raises(InputError, match=told):
        open_subject(str(golden_data / "gpt2-tiny"), sae_with(hook_name=hook), "", "1", "cpu")


def test_the_path_of_a_module_is_read_at_its_output(sae_with, golden_data):
    tokens = torch.tensor([[0, 5, 6]])
    model = str(golden_data / "gpt2-tiny")
    subject = open_subject(
        model, sae_with(hook_name="transformer.h.1", model_class_name="AutoModelForCausalLM"), "", "1"
    )
    named = subject.model.streams(tokens, ["transformer.h.1", "blocks.1.hook_resid_post"])
    torch.testing.assert_close(named["transformer.h.1"], named["blocks.1.hook_resid_post"], atol=0, rtol=0)


def test_gemma_scope_2_transcoders_read_the_norms_output(sae_with):
    name = "model.layers.1.pre_feedforward_layernorm.output"
    sae = load_sae(sae_with(hook_name="blocks.1.hook_mlp_in", hf_hook_name=name), "", 1, "cpu")
    assert sae.hook_name == "blocks.1.mlp.hook_in"
    plain = sae_with(hook_name="blocks.1.hook_mlp_in", hf_hook_name=None)
    assert load_sae(plain, "", 1, "cpu").hook_name == "blocks.1.hook_mlp_in"


def test_an_architecture_that_is_not_supported_is_told(sae_with, tmp_path):
    path = Path(sae_with()) / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": "abstopk", "k": 5}))
    with pytest.raises(SubjectError, match="has the architecture 'abstopk'"):
        load_sae(str(path.parent), "", 1, "cpu")


def test_windows_longer_than_the_model_takes_are_told(tiny_subject):
    longest = tiny_subject.model.max_length - 1  # BOS stands in front
    tiny_subject.check_length(longest)
    with pytest.raises(InputError, match=f"windows of {longest + 1} tokens .* {longest} tokens"):
        tiny_subject.check_length(longest + 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B", True),
        ("gpt2", "gpt2-small", True),
        ("/models/gemma-2-9b/", "gemma-2-9b", True),
        ("gpt2-medium", "gpt2", False),
    ],
)
def test_names_of_one_model(one, other, same):
    assert same_model(one, other) is same
