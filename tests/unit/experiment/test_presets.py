"""The paper's setups are whole, exist in SAELens's list, and give way to what is typed."""

import pytest
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.paper.presets import PRESETS, with_preset
from featureinterp.subject.releases import check_release
from featureinterp.subject.subject import same_model


@pytest.mark.parametrize(("preset", "n_layers"), [("gpt2", 12), ("gemma", 42), ("llama", 32)])
def test_a_preset_names_an_sae_of_every_layer_of_its_model(preset, n_layers):
    spec = with_preset(DataSpec(), preset)
    for layer in range(n_layers):
        check_release(spec.sae_name, spec.sae_id_layer_format_string.format(layer=layer))
    assert same_model(get_pretrained_saes_directory()[spec.sae_name].model, spec.model_name)
    assert (spec.dataset_name, spec.max_dataset_size, spec.max_seq_length, spec.embedder) == (
        "monology/pile-uncopyrighted", 100_000, 32, "all-mpnet-base-v2",
    )  # fmt: skip


def test_what_is_given_wins():
    spec = with_preset(DataSpec(dataset_name="mine.txt", max_seq_length=16), "gpt2", ["dataset_name", "max_seq_length"])
    assert (spec.model_name, spec.dataset_name, spec.max_seq_length) == ("gpt2", "mine.txt", 16)
    assert with_preset(DataSpec(), None) == DataSpec()
    assert set(PRESETS) == {"gpt2", "gemma", "llama"}
