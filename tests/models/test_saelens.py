"""Activations equal SAELens's own, run independently: TransformerLens's model, and the SAE as SAELens loads it."""

import pytest
import torch
from sae_lens import SAE
from transformers import AutoTokenizer

from featureinterp.subject.families import decoder_blocks
from featureinterp.subject.loading_requirements import LoadingRequirements, loading_requirements
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import hook_point
from featureinterp.subject.precision import Precision
from featureinterp.subject.sae import load_sae
from featureinterp.subject.subject import Subject, open_subject
from tests.models.tiny_models import FAMILIES, HEAD_WIDTH, HEADS, WIDTH, make_model, transformer_lens
from tests.models.tiny_saes import KINDS, save_sae

POINTS = [
    "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "attn.hook_z",
    "hook_mlp_in", "ln1.hook_normalized", "ln2.hook_normalized", "mlp.hook_pre", "mlp.hook_post",
]  # fmt: skip
TOKENS = torch.randint(2, 4096, (3, 12), generator=torch.Generator().manual_seed(1))


def names(layer=1):
    return [f"blocks.{layer}.{point}" for point in POINTS]


def close(made, wanted):
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def folders(golden_data, tmp_path_factory):
    """Every family's model with a tokenizer."""
    made = {family: tmp_path_factory.mktemp(family) / f"tiny-{family}" for family in FAMILIES}
    for family, folder in made.items():
        make_model(family).save_pretrained(folder)
        AutoTokenizer.from_pretrained(golden_data / "gpt2-tiny").save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def models(folders):
    return {family: SubjectModel.load(str(folder), device="cpu") for family, folder in folders.items()}


@pytest.fixture(scope="module")
def reference():
    """TransformerLens's values at every point, by family and processing."""
    caches = {}

    def cache(family, **processing):
        key = (family, *processing)
        if key not in caches:
            hooked = transformer_lens(family, make_model(family), **processing)
            caches[key] = hooked.run_with_cache(TOKENS)[1]
        return caches[key]

    with torch.no_grad():
        yield cache


def width_of(family, point):
    if point in ("mlp.hook_pre", "mlp.hook_post"):
        return 4 * WIDTH if family == "gpt2" else 48
    return HEADS * HEAD_WIDTH if point == "attn.hook_z" and family != "gpt2" else WIDTH


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_activations_at_every_point(family, kind, models, reference, tmp_path):
    cache = reference(family)
    for point, hook in zip(POINTS, names(), strict=True):
        folder = save_sae(tmp_path / point, kind, hook, width_of(family, point))
        theirs = SAE.load_from_disk(folder)
        flat = cache[hook].flatten(2) if "transcoder" in kind else cache[hook]
        wanted = theirs.encode(flat).detach()
        subject = Subject(models[family], {hook: load_sae(str(folder), "", 1, "cpu")})
        stream = subject.model.streams(TOKENS, [hook])[hook]
        close(subject.saes[hook].encode(stream), wanted)
        close(subject.saes[hook].encode(stream, [7, 0, 7, 41]), wanted[..., [7, 0, 7, 41]])
        assert 0.02 < float((wanted > 0).float().mean()) < 0.98


@pytest.mark.parametrize("family", FAMILIES)
def test_all_points_of_all_layers_in_one_pass(family, models, reference):
    hooks = [hook for layer in range(3) for hook in names(layer)]
    made = models[family].streams(TOKENS, hooks)
    for hook in hooks:
        close(made[hook], reference(family)[hook].flatten(2))
        assert models[family].width_at(hook) == made[hook].shape[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_deletion_at_every_point_equals_a_pass_without_the_token(family, models):
    model = models[family]
    for hook in names():
        for column, streams in model.deletion_streams(TOKENS, [hook], 0):
            rest = torch.cat([TOKENS[:, :column], TOKENS[:, column + 1 :]], dim=1)
            close(streams[hook], model.streams(rest, [hook])[hook][:, column:])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_after_the_last_point_runs(family, models):
    ran = []
    blocks = decoder_blocks(family, models[family].language_model)
    handles = [blocks[1].mlp.register_forward_pre_hook(lambda *_: ran.append("mlp"))]
    handles.append(blocks[2].register_forward_pre_hook(lambda *_: ran.append("block")))
    models[family].streams(TOKENS, ["blocks.1.attn.hook_z", "blocks.1.ln2.hook_normalized"])
    assert ran == []
    models[family].streams(TOKENS, ["blocks.1.hook_mlp_out"])
    assert ran == ["mlp"]
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("normalisation", ["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"])
@pytest.mark.parametrize("subtract", [True, False])
def test_normalisation_and_bias(normalisation, subtract, models, reference, tmp_path):
    for family in FAMILIES:
        for hook in ("blocks.1.hook_resid_post", "blocks.1.attn.hook_z"):
            settings = {"normalize_activations": normalisation, "apply_b_dec_to_input": subtract}
            width = width_of(family, hook.split(".", 2)[2])
            folder = save_sae(tmp_path / family / hook, "jumprelu", hook, width, **settings)
            wanted = SAE.load_from_disk(folder).encode(reference(family)[hook]).detach()
            sae, stream = load_sae(str(folder), "", 1, "cpu"), models[family].streams(TOKENS, [hook])[hook]
            close(sae.encode(stream), wanted)
            close(sae.encode(stream, [3, 2]), wanted[..., [3, 2]])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("point", POINTS)
def test_centred_writing_weights(family, point, folders, reference, tmp_path):
    hook = f"blocks.1.{point}"
    asked = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    folder = save_sae(tmp_path, "standard", hook, width_of(family, point), asked)
    wanted = SAE.load_from_disk(folder).encode(reference(family, center_writing_weights=True)[hook]).detach()
    subject = open_subject(str(folders[family]), str(folder), "", "1", "cpu")
    close(subject.sae(1).encode(subject.model.streams(TOKENS, [hook])[hook]), wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_processing_that_is_said_to_change_nothing_changes_nothing(family):
    asked = dict.fromkeys(("fold_ln", "center_unembed", "fold_value_biases"), True)
    if family == "gpt2":  # TransformerLens does not refactor rotary attention
        asked["refactor_factored_attn_matrices"] = True
    model = make_model(family)
    with torch.no_grad():
        cache = transformer_lens(family, model, **asked).run_with_cache(TOKENS)[1]
    hooks = [hook for hook in names() if not hook.endswith("hook_z")]
    for hook, made in SubjectModel(family, model, None).streams(TOKENS, hooks).items():
        assert loading_requirements(asked, hook_point(hook), "test") == LoadingRequirements()
        # TransformerLens rounds the weights that it folds to 32 bits: 9e-6 here, even where all else has 64 bits.
        torch.testing.assert_close(made, cache[hook], rtol=1e-4, atol=2e-5)


def test_gpt2_in_64_bits_agrees_to_64_bits():
    model = make_model("gpt2", torch.float64)
    with torch.no_grad():
        cache = transformer_lens("gpt2", model).run_with_cache(TOKENS)[1]
    hooks = [hook for hook in names() if not hook.endswith("hook_normalized")]  # which is taken in 32 bits
    for hook, made in SubjectModel("gpt2", model, None).streams(TOKENS, hooks).items():
        torch.testing.assert_close(made, cache[hook].flatten(2), rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_gpu_the_values_are_those_of_the_cpu(family, dtype, folders, models, tmp_path):
    hook = "blocks.1.hook_resid_post"
    folder = save_sae(tmp_path, "standard", hook, WIDTH)
    subject = open_subject(str(folders[family]), str(folder), "", "1", "cuda", Precision(dtype))
    stream = subject.model.streams(TOKENS, [hook])[hook]
    wanted = models[family].streams(TOKENS, [hook])[hook]
    assert stream.is_cuda and subject.sae(1).encode(stream, [3]).is_cuda
    error = (stream.float().cpu() - wanted).norm() / wanted.norm()
    assert float(error) < (1e-4 if dtype == "float32" else 0.05)
