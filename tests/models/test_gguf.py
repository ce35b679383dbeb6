"""GGUF files as models: the numbers of the file, once converted; and what is refused."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from featureinterp.errors import StorageError, SubjectError
from featureinterp.llm.local.encoding import Turn, open_encoder
from featureinterp.llm.local.model import LocalModel, LocalModelParams
from featureinterp.pretrained import gguf_models
from featureinterp.pretrained.gguf_models import cache_folder, converted
from featureinterp.subject.loading import count_layers, open_tokenizer
from featureinterp.subject.model import SubjectModel
from tests.models.tiny_gguf import SPECIAL, TOKENS, tiny_llama, write_gguf

HOOKS = [f"blocks.{layer}.hook_resid_post" for layer in range(3)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def hidden(model: LlamaForCausalLM, tokens: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(model(tokens, output_hidden_states=True).hidden_states)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_a_file_gives_the_hidden_states_of_its_own_weights(tmp_path: Path, kind: str) -> None:
    model = tiny_llama()
    path = write_gguf(tmp_path / "model.gguf", model, kind)
    subject = SubjectModel.load(str(path), device="cpu")
    tokens = torch.randint(3, len(TOKENS), (4, 12), generator=torch.Generator().manual_seed(1))
    streams, expected = subject.streams(tokens, HOOKS), hidden(model, tokens)
    for layer, hook in enumerate(HOOKS[:-1]):  # the last of transformers' is normalised
        assert (streams[hook] - expected[layer + 1]).abs().max() < 1e-5
    last = model.model.norm(streams[HOOKS[-1]])
    assert (last - expected[-1]).abs().max() < 1e-5
    for name, weight in subject.language_model.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    assert subject.dtype == "float32"


def test_a_file_is_converted_once_and_its_folder_opens_the_same_model(tmp_path: Path, cache: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny_llama())
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "other name.GGUF").symlink_to(path)
    folder = converted(path)
    made = {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}
    names = (path, tmp_path / "alone", tmp_path / "alone" / "other name.GGUF", folder)
    prints = {SubjectModel.load(str(name), device="cpu").fingerprint() for name in names}
    assert len(prints) == 1
    assert made == {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}
    assert [each.name for each in cache.rglob("*") if each.is_dir()] == [folder.parent.name, folder.name]
    write_gguf(path, tiny_llama(seed=1))
    os.utime(path, (1, 1))
    assert converted(path) != folder


def test_text_is_cut_as_the_pre_tokenizer_says(tmp_path: Path) -> None:
    words = {}
    for cut in ("smollm", "gpt-2"):
        tokenizer = open_tokenizer(str(write_gguf(tmp_path / f"{cut}.gguf", tiny_llama(), cut=cut)))
        words[cut] = tokenizer.tokenize("the  1 the")
        assert tokenizer.bos_token, tokenizer.eos_token == SPECIAL[1:]
        ids = tokenizer("the  1<|im_end|>")["input_ids"]
        assert tokenizer.decode(ids) == "the  1<|im_end|>"
    assert words["smollm"] == ["the", "ĠĠ", "1", "Ġthe"]
    assert words["gpt-2"] == ["the", "Ġ", "Ġ", "1", "Ġthe"]


@pytest.mark.parametrize("cut", ["of-tomorrow", None])
def test_an_unknown_pre_tokenizer_is_refused(tmp_path: Path, cache: Path, cut: str | None) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny_llama(), cut=cut)
    with pytest.raises(SubjectError, match=rf"model.gguf cuts text into tokens by '{cut or 'default'}'"):
        converted(path)
    assert not cache.exists()


def test_a_file_simulates_and_brings_its_template(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny_llama())
    local = LocalModel.load(str(path), LocalModelParams(device="cpu"))
    tokens = list(range(3, 20))
    [found] = local.logits([tokens], [[16]], range(40))
    expected = tiny_llama()(torch.tensor([tokens])).logits[0, 16, :40].detach().numpy()
    assert np.abs(found[0] - expected).max() < 1e-4
    encoder = open_encoder(str(path), "")
    assert encoder.has_chat_template
    sent = encoder.conversation([Turn("user", ("the",)), Turn("assistant", ())])
    text = local.encoder._tokenizer.decode([i for part in sent for i in part])
    assert text == ("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nthe<|im_end|>\n<|im_start|>assistant\n")


FREQUENCIES = {"rope_freqs.weight": np.ones(8, np.float32)}
REFUSED = [
    ({"family": "mamba-of-tomorrow"}, "cannot be read by transformers: .*mamba-of-tomorrow"),
    ({"without": "layers.1.mlp.up_proj"}, "holds 103,296 weights, and transformers reads 109,440 for its family"),
    ({"more": FREQUENCIES}, r"weights \(rope_freqs.weight\), and transformers reads"),
    ({"settings": {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}}, "rotary positions by 4.0"),
    ({"settings": {"llama.expert_count": 1e9}}, "llama.expert_count is 1000000000.0"),
]


@pytest.mark.parametrize(("options", "told"), REFUSED)
def test_what_transformers_would_leave_out_is_refused(tmp_path: Path, cache: Path, options: dict, told: str) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny_llama(), **options)
    with pytest.raises(SubjectError, match=told):
        count_layers(str(path))
    assert not cache.exists()


def test_a_weight_that_is_not_a_number_is_refused(tmp_path: Path, cache: Path) -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.model.norm.weight[3] = torch.nan
    with pytest.raises(SubjectError, match="NaN or infinity in 1 weight"):
        converted(write_gguf(tmp_path / "model.gguf", model))
    assert not cache.exists()


def test_a_folder_with_several_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SubjectError, match=r"holds 2 GGUF files .*name one, such as '.*a\.gguf'"):
        count_layers(str(tmp_path))


def test_a_full_disk_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "model.gguf", tiny_llama())
    with monkeypatch.context() as patch:
        patch.setattr(gguf_models, "_BYTES_BESIDES", 2**60)
        with pytest.raises(StorageError, match=r"needs \d+\.\d GB for the converted model, and .* GB are free"):
            converted(path)
    assert not cache.exists()
    with monkeypatch.context() as patch:

        def fails(self: object, folder: Path) -> None:
            (folder / "config.json").write_text(json.dumps({}))
            raise OSError(28, "No space left on device")

        patch.setattr(LlamaForCausalLM, "save_pretrained", fails)
        with pytest.raises(StorageError, match="No space left on device"):
            converted(path)
    assert [each for each in cache.rglob("*") if each.is_file()] == []
    assert re.fullmatch("[0-9a-f]{64}", converted(path).name)
