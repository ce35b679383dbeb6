"""Whatever an SAE's cfg.json says, the SAE encodes or is refused in words, before any corpus is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featureinterp.errors import FeatureInterpError
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import load_sae
from featureinterp.subject.subject import Subject
from tests.models.tiny_families import WIDTH, make_model
from tests.models.tiny_saes import KINDS, save_sae

HOOK = "blocks.1.hook_resid_post"

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 99) | st.floats() | st.text(max_size=8)
    | st.sampled_from([HOOK, "blocks.1.attn.hook_z", "blocks.9.hook_mlp_out", "model.layers.1", "hook_z", "topk"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
own = st.sampled_from([
    "d_in", "d_sae", "d_out", "k", "architecture", "dtype", "device", "normalize_activations", "reshape_activations",
    "apply_b_dec_to_input", "metadata", "rescale_acts_by_decoder_norm", "max_iterations", "residual_threshold",
])  # fmt: skip
described = st.sampled_from([
    "hook_name", "hook_head_index", "prepend_bos", "model_name", "model_from_pretrained_kwargs", "hf_hook_name",
    "context_size", "seqpos_slice",
])  # fmt: skip


class Tokenizer:
    """As much of a tokenizer as a subject asks for."""

    bos_token_id = 0
    all_special_ids = (0,)


@pytest.fixture(scope="module")
def model() -> SubjectModel:
    return SubjectModel("tiny", make_model("gpt_neo"), Tokenizer())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sae")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    changed=st.dictionaries(own, values, max_size=2),
    told=st.dictionaries(described, values, max_size=2),
)
def test_any_settings_encode_or_are_refused(
    model: SubjectModel, folder: Path, kind: str, changed: dict[str, Any], told: dict[str, Any]
):
    save_sae(folder, kind, HOOK, WIDTH)
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"] |= told
    (folder / "cfg.json").write_text(json.dumps(config | changed))
    try:
        sae = load_sae(str(folder), "", 1, "cpu")
        subject = Subject(model, {sae.hook_name: sae})
        stream = subject.model.streams(torch.tensor([[1, 2, 3]]), [sae.hook_name])[sae.hook_name]
        assert sae.encode(stream).shape == (1, 3, sae.n_latents)
        assert sae.directions([0]).shape == (1, sae.width_out)
        assert isinstance(subject.prepend_bos, bool)
    except FeatureInterpError as error:
        assert str(error)
