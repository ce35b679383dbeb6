"""Every point of every family has TransformerLens's value, or is refused where it has none."""

import pytest
import torch
from sae_lens import SAE

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import KINDS
from featureinterp.subject.sae import load_sae
from featureinterp.subject.subject import Subject
from tests.models.tiny_families import HEADS, LAYERS, MAKE, VOCABULARY, WIDTH, make_model, transformer_lens
from tests.models.tiny_saes import save_sae

TOKENS = torch.randint(4, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(1))

NO_MODULE = {"phi3": {"mlp.hook_pre", "mlp.hook_pre_linear"}}
"""Points of TransformerLens that no module of Hugging Face's model computes by itself."""

CENTRED_IN_PART = {"bloom": {"hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_in"}}
"""Points whose mean centring takes away in part, so that they are refused."""


NORM_BEHIND = ("olmo2", "olmo3")
"""Families whose MLP reads the residual stream as it is."""


class Tokenizer:
    """As much of a tokenizer as a subject asks for."""

    bos_token_id = 0
    all_special_ids = (0,)


@torch.no_grad()
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("family", MAKE)
def test_points_of_every_family(family, centre, tmp_path):
    model = make_model(family)
    hooked = transformer_lens(family, model, tmp_path, center_writing_weights=centre)
    cache = dict(hooked.run_with_cache(TOKENS)[1])
    for layer, block in enumerate(hooked.blocks):  # this point is named by TransformerLens's bridge alone
        read = cache[f"blocks.{layer}.hook_mlp_in"]
        cache[f"blocks.{layer}.mlp.hook_in"] = read if family in NORM_BEHIND else block.ln2(read)
    ours = SubjectModel(family, model, Tokenizer(), centre_residual=centre)
    refused = NO_MODULE.get(family, set()) | (CENTRED_IN_PART.get(family, set()) if centre else set())
    compared = 0
    for kind in KINDS:
        for hook in (f"blocks.{layer}.{kind}" for layer in range(LAYERS)):
            if hook not in cache or kind in refused:
                with pytest.raises(InputError, match=f"^{kind}.* cannot be read"):
                    ours.streams(TOKENS, [hook])
                continue
            made = ours.streams(TOKENS, [hook])[hook]
            torch.testing.assert_close(made, cache[hook].flatten(2), rtol=1e-4, atol=1e-5)
            assert ours.width_at(hook) == made.shape[-1]
            compared += 1
    assert compared >= (8 - len(refused) // 2) * LAYERS


@torch.no_grad()
@pytest.mark.parametrize("family", MAKE)
def test_an_sae_on_the_neurons_of_every_family(family, tmp_path):
    model = make_model(family)
    hook = "blocks.1.mlp.hook_post"
    cache = transformer_lens(family, model, tmp_path).run_with_cache(TOKENS)[1]
    folder = save_sae(tmp_path / "sae", "jumprelu", hook, cache[hook].shape[-1])
    subject = Subject(SubjectModel(family, model, Tokenizer()), {hook: load_sae(str(folder), "", 1, "cpu")})
    made = subject.saes[hook].encode(subject.model.streams(TOKENS, [hook])[hook])
    torch.testing.assert_close(made, SAE.load_from_disk(folder).encode(cache[hook]), rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("family", ["gpt_neo", "qwen3", "bloom"])
def test_an_sae_on_one_head_reads_what_saelens_cuts_out(family, head, tmp_path):
    model = make_model(family)
    hook = "blocks.1.attn.hook_z"
    theirs = transformer_lens(family, model, tmp_path).run_with_cache(TOKENS)[1][hook][:, :, head]
    folder = tmp_path / "sae"
    for kind in ("standard", "topk"):
        save_sae(folder, kind, hook, theirs.shape[-1], {"hook_head_index": head}, reshape_activations="none")
        sae = load_sae(str(folder), "", 1, "cpu")
        subject = Subject(SubjectModel(family, model, Tokenizer()), {hook: sae})
        stream = subject.model.streams(TOKENS, [hook])[hook]
        wanted = SAE.load_from_disk(folder).encode(theirs)
        torch.testing.assert_close(sae.encode(stream), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(sae.encode(stream, [5, 2]), wanted[..., [5, 2]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(sae.part(stream), theirs)


@pytest.mark.parametrize(
    ("hook", "width", "head", "told"),
    [
        ("attn.hook_z", 8, 4, r"reads head 4 of blocks.1.attn.hook_z and has width 8, and .* has 4 heads of 8"),
        ("attn.hook_z", 16, 1, "reads head 1 of blocks.1.attn.hook_z and has width 16"),
        ("attn.hook_z", 8, None, "4 heads of 8: if the SAE reads one of them, its cfg.json needs hook_head_index"),
        ("hook_resid_post", WIDTH, 1, "reads head 1 of blocks.1.hook_resid_post, and only attn.hook_z can be"),
        ("attn.hook_z", 8, True, "has hook_head_index True .give the number of a head"),
        ("attn.hook_z", 8, -1, "has hook_head_index -1"),
    ],
)
def test_heads_that_are_not_there_are_told_by_their_cause(hook, width, head, told, tmp_path):
    name = f"blocks.1.{hook}"
    save_sae(tmp_path, "standard", name, width, {"hook_head_index": head}, reshape_activations="none")
    with pytest.raises(SubjectError, match=told):
        Subject(SubjectModel("neo", make_model("gpt_neo"), Tokenizer()), {name: load_sae(str(tmp_path), "", 1, "cpu")})


@pytest.mark.parametrize(
    ("family", "kind", "cause"),
    [
        ("gptj", "hook_resid_mid", "computes attention and MLP side by side, with no stream between them"),
        ("gpt_neo", "mlp.hook_pre_linear", "of type 'gpt_neo' has no module whose input or output it is"),
        ("phi3", "mlp.hook_pre", "of type 'phi3' has no module whose input or output it is"),
    ],
)
def test_a_point_that_is_not_there_is_told_by_its_cause(family, kind, cause):
    with pytest.raises(InputError, match=cause):
        SubjectModel(family, make_model(family), None).width_at(f"blocks.0.{kind}")


def test_models_with_another_order_than_their_family_are_refused_inside_their_blocks():
    import transformers as hf

    config = hf.OPTConfig(
        vocab_size=8, hidden_size=8, ffn_dim=8, num_hidden_layers=1, num_attention_heads=2, do_layer_norm_before=False
    )
    model = SubjectModel("opt-350m", hf.OPTForCausalLM(config), None)
    with pytest.raises(InputError, match="this 'opt' model normalises the residual stream itself"):
        model.width_at("blocks.0.hook_mlp_out")
    assert model.width_at("blocks.0.hook_resid_post") == 8


def test_a_part_that_a_model_does_not_call_is_told():
    import transformers as hf

    config = hf.BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=2, pretraining_tp=2, slow_but_exact=True)
    model = SubjectModel("bloom", hf.BloomForCausalLM(config), None)
    with pytest.raises(SubjectError, match="blocks.0.hook_mlp_out cannot be read: .* without calling that part"):
        model.streams(torch.tensor([[1, 2]]), ["blocks.0.hook_mlp_out"])
