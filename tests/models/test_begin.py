"""The token in front of each window is the one that TransformerLens and SAELens put there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from datasets import Dataset
from sae_lens import ActivationsStore, HookedSAETransformer
from sae_lens.load_model import HookedProxyLM
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from transformer_lens import HookedTransformerConfig
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from featureinterp.errors import SubjectError
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import SparseAutoencoder, load_sae
from featureinterp.subject.subject import Subject
from tests.models.tiny_saes import save_sae

WIDTH, VOCABULARY = 16, 400
TEXT = "one two three four five six seven eight nine ten " * 3
HOOK = "blocks.0.hook_resid_post"


def trained(make=ByteLevelBPETokenizer, with_end: bool = True, **special: str) -> PreTrainedTokenizerFast:
    made = make()
    own = ["<|endoftext|>"] if with_end else []
    unknown = ["[UNK]"] if make is BertWordPieceTokenizer else []
    made.train_from_iterator(
        [TEXT], vocab_size=350, special_tokens=[*own, "<s>", "</s>", *unknown], show_progress=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, **special)


TOKENIZERS = {
    "bos and eos": lambda: trained(bos_token="<s>", eos_token="</s>"),
    "eos alone, as in Qwen": lambda: trained(eos_token="<|endoftext|>"),
    "another eos": lambda: trained(eos_token="</s>"),
    "neither named": lambda: trained(),
    "unknown token": lambda: trained(BertWordPieceTokenizer, with_end=False, unk_token="[UNK]"),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Each of the tokenizers as it comes out of a folder, where TransformerLens looks again."""
    folders = {kind: tmp_path_factory.mktemp("tokenizer") for kind in TOKENIZERS}
    for kind, folder in folders.items():
        TOKENIZERS[kind]().save_pretrained(folder)
    return lambda kind: AutoTokenizer.from_pretrained(folders[kind])


def model() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=VOCABULARY, **sizes, num_key_value_heads=2)).eval()


def hooked(own: PreTrainedTokenizerFast) -> HookedSAETransformer:
    sizes = {"n_layers": 1, "d_model": WIDTH, "n_ctx": 64, "d_head": 8, "n_heads": 2, "d_mlp": 8}
    config = HookedTransformerConfig(**sizes, d_vocab=VOCABULARY, act_fn="relu", device="cpu")
    return HookedSAETransformer(config, tokenizer=own)


def sae(folder, hook: str = HOOK, **metadata: Any) -> SparseAutoencoder:
    save_sae(folder, "standard", hook, WIDTH, {"prepend_bos": True, "context_size": 8, **metadata})
    return load_sae(str(folder), "", 0, "cpu")


def first_tokens(model: Any, folder) -> list[int]:
    """The first token of SAELens's windows for an SAE."""
    from sae_lens import SAE

    rows = Dataset.from_list([{"text": TEXT}] * 20)
    store = ActivationsStore.from_sae(
        model, SAE.load_from_disk(folder), dataset=rows, streaming=False, store_batch_size_prompts=2, device="cpu"
    )
    return store.get_batch_tokens()[:, 0].tolist()


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_windows_begin_as_in_saelens_through_transformer_lens(kind, tokenizer, tmp_path):
    ours = SubjectModel("tiny", model(), tokenizer(kind))
    own = sae(tmp_path)
    subject = Subject(ours, {HOOK: own})
    assert subject.prepend_bos
    assert first_tokens(hooked(tokenizer(kind)), tmp_path) == [ours.bos_token_id] * 2
    assert ours.bos_token_id in ours.special_token_ids


@pytest.mark.parametrize("kind", ["bos and eos", "eos alone, as in Qwen"])
def test_windows_of_a_bare_model_begin_as_in_saelens(kind, tokenizer, tmp_path):
    hook = "model.layers.0"
    ours = SubjectModel("tiny", model(), tokenizer(kind))
    own = sae(tmp_path, hook)
    found = first_tokens(HookedProxyLM(model(), tokenizer(kind), [hook]), tmp_path)
    has_begin = ours.has_own_bos
    assert Subject(ours, {hook: own}).prepend_bos == has_begin == (kind == "bos and eos")
    assert (found == [ours.bos_token_id] * 2) == has_begin


def test_no_token_to_begin_with_is_told_with_a_remedy(tmp_path):
    ours = SubjectModel("tiny", model(), trained(with_end=False))
    with pytest.raises(SubjectError, match=r"has no BOS, no EOS and no '<\|endoftext\|>' .*tokenizer_config.json"):
        Subject(ours, {HOOK: sae(tmp_path)})
    assert not Subject(ours, {HOOK: sae(tmp_path, prepend_bos=False)}).prepend_bos


def test_saes_that_disagree_on_the_token_in_front_are_refused(tokenizer, tmp_path):
    ours = SubjectModel("tiny", model(), tokenizer("bos and eos"))
    other = "blocks.0.hook_mlp_out"
    saes = {HOOK: sae(tmp_path / "one"), other: sae(tmp_path / "other", other, prepend_bos=False)}
    with pytest.raises(SubjectError, match="need a BOS token in front of each window and others do not"):
        Subject(ours, saes)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_texts_are_cut_into_the_tokens_that_saelens_cuts_them_into(kind, tokenizer):
    ours = SubjectModel("tiny", model(), tokenizer(kind)).tokenize([TEXT])[0]
    theirs = hooked(tokenizer(kind)).to_tokens(TEXT, prepend_bos=False)[0].tolist()
    assert ours == theirs
