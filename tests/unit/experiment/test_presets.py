"""The paper's setups are whole, exist in SAELens's list, and give way to what is typed."""

from pathlib import Path

import pytest
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.explain import RunSpec
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.paper.presets import PAPER_SIMULATOR, PRESETS, demo_runs, with_paper_models, with_preset
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


def test_the_papers_models_give_way_to_those_that_are_named():
    assert with_paper_models(MethodSpec(), "gpt2").simulator == PAPER_SIMULATOR
    named = MethodSpec(simulator="lexical")
    assert with_paper_models(named, "gpt2", ["simulator"]).simulator == "lexical"


@pytest.mark.parametrize(
    ("method", "simulators"),
    [
        (MethodSpec(), {".": "lexical"}),
        (MethodSpec(proposer="openai:m", simulator="lexical"), {".": "lexical", "lexical": "lexical"}),
        (
            MethodSpec(proposer="openai:m"),
            {
                ".": "chat:openai:m",
                "lexical-same-simulator": "chat:openai:m",
                "lexical-own-simulator": "lexical",
            },
        ),
    ],
)
def test_the_demo_measures_a_language_model_under_its_simulator_and_the_lexical_one(method, simulators):
    runs = demo_runs(Path(), RunSpec(method))
    assert {str(run): spec.method.simulator for run, spec in runs.items()} == simulators
    assert {spec.method.proposer for spec in list(runs.values())[1:]} <= {"lexical"}
