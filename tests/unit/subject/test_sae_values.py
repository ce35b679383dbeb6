"""Values of an SAE's configuration: refused when it is loaded, with the value and what is wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featureinterp.errors import SubjectError
from featureinterp.subject.sae import load_sae
from tests.models.tiny_saes import save_sae

HOOK = "blocks.0.hook_resid_post"


def changed(folder: Path, kind: str, text: str | None = None, **values: object) -> Path:
    """An SAE whose configuration has other values; those of the metadata begin with `meta_`."""
    save_sae(folder, kind, HOOK, 8)
    path = folder / "cfg.json"
    config = json.loads(path.read_text())
    for name, value in values.items():
        (config["metadata"] if name.startswith("meta_") else config)[name.removeprefix("meta_")] = value
    path.write_text(json.dumps(config) if text is None else text)
    return folder


@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [
        ("topk", {"k": -3}, "k is -3; expected a whole number from 1 on"),
        ("topk", {"k": float("nan")}, "k is nan; expected a whole number"),
        ("topk", {"k": "5"}, "k is '5'; expected a whole number"),
        ("topk", {"k": True}, "k is True; expected a whole number"),
        ("topk", {"k": 49}, "k is 49, of 48 latents"),
        ("topk", {"rescale_acts_by_decoder_norm": {}}, "rescale_acts_by_decoder_norm is {}; expected true or false"),
        ("standard", {"apply_b_dec_to_input": [1]}, r"apply_b_dec_to_input is \[1\]; expected true or false"),
        ("standard", {"meta_hook_name": [HOOK]}, "does not name its hook"),
        ("standard", {"meta_prepend_bos": "no"}, "has prepend_bos 'no'"),
        (
            "standard",
            {"meta_model_from_pretrained_kwargs": [1]},
            "model_from_pretrained_kwargs is .*; expected an object",
        ),
        ("standard", {"metadata": "none"}, "cannot be read: AttributeError"),
        ("standard", {"d_sae": 10**12}, "cannot be read"),
        ("standard", {"d_in": -8}, "cannot be read"),
        ("jumprelu", {"dtype": 7}, "cannot be read"),
    ],
)
def test_a_value_of_another_kind_is_refused_at_loading(tmp_path: Path, kind: str, values: dict, told: str) -> None:
    with pytest.raises(SubjectError, match=told):
        load_sae(str(changed(tmp_path / "sae", kind, **values)), "", 0, device="cpu")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "null", "", '{"architecture": {}}', "\0"])
def test_a_configuration_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    folder = changed(tmp_path / "sae", "standard", text)
    with pytest.raises(SubjectError, match="cannot be read") as refused:
        load_sae(str(folder), "", 0, device="cpu")
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("name", ["{layer.x}", "{0}", "{", "{layer!z}", "{layer[0]}"])
def test_an_id_that_cannot_be_filled_in_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SubjectError, match="cannot be filled in"):
        load_sae(str(tmp_path), name, 0, device="cpu")
