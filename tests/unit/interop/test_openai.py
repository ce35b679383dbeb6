"""OpenAI's files: what is written reads back equal, and with json alone; what is wrong with one is one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.dataset.folder import DataFolder
from featureinterp.errors import DataFolderError, FeatureInterpError, InputError
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from featureinterp.interop.importing import import_data
from featureinterp.interop.openai import formats as openai
from featureinterp.interop.openai.exporting import neuron_record_of, simulation_results, write_openai
from featureinterp.interop.openai.formats import ActivationRecord, NeuronId, NeuronRecord
from featureinterp.stats import pearson
from tests.report.features import explained, without_explanation

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
finite = st.floats(allow_nan=False, allow_infinity=False)
window = st.lists(st.tuples(text, finite), max_size=5).map(
    lambda pairs: ActivationRecord([token for token, _ in pairs], [value for _, value in pairs])
)
neurons = st.builds(
    NeuronRecord,
    st.builds(NeuronId, st.integers(0, 99), st.integers(0, 99)),
    random_sample=st.lists(window, max_size=3),
    random_sample_by_quantile=st.none() | st.lists(st.lists(window, max_size=2), max_size=2),
    quantile_boundaries=st.none() | st.lists(finite, max_size=2),
    mean=st.none() | finite,
    most_positive_activation_records=st.lists(window, max_size=3),
)


def neuron(layer: int, index: int, n: int = 12) -> NeuronRecord:
    positive = [ActivationRecord([f"p{i}", " fires"], [-0.25, 1.0 + i]) for i in range(n)]
    random = [ActivationRecord([f"r{i}", " rests"], [-0.125, 0.0]) for i in range(n)]
    odd = [ActivationRecord(["q", f"{i}"], [0.0, float(i % 2)]) for i in range(4)]
    return NeuronRecord(NeuronId(layer, index), random, [odd], [0.5], most_positive_activation_records=positive)


def write(path: Path, noun: openai.Tagged) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(openai.encode(noun))
    return path


@given(neurons)
def test_a_neuron_reads_back_as_it_was_written(tmp_path_factory, noun):
    path = tmp_path_factory.mktemp("neuron") / "1.json"
    path.write_bytes(openai.encode(noun))
    assert openai.read_neuron_record(path) == noun
    assert openai.encode(openai.read_neuron_record(path)) == path.read_bytes()


def test_an_export_is_laid_out_as_the_public_data_set(tmp_path):
    with RunStore.create(tmp_path / "run", {"seed": 0}) as store:
        for result in (
            explained(0, 3, 0.9),
            explained(5, 99, 0.2, '</script>\0"'),
            without_explanation(1, 4, "dead", "never fires"),
        ):
            store.put(result)
        assert write_openai(store, tmp_path / "out") == 3
        write_openai(store, tmp_path / "again")
        with pytest.raises(InputError, match="already exists"):
            write_openai(store, tmp_path / "out")
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert files == [
        "collated-activations/0/3.json", "collated-activations/1/4.json", "collated-activations/5/99.json",
        "explanations/0/3.jsonl", "explanations/5/99.jsonl",
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    plain = json.loads((tmp_path / "out" / files[0]).read_text())
    assert plain["dataclass_name"] == "NeuronRecord"
    assert plain["neuron_id"] == {"dataclass_name": "NeuronId", "layer_index": 0, "neuron_index": 3}
    first = plain["most_positive_activation_records"][0]
    assert first == {"dataclass_name": "ActivationRecord", "tokens": ["we", " raise", " it"], "activations": [0, 10, 0]}
    assert [one["tokens"] for one in plain["random_sample"]] == [[" random", " words"]]
    (line,) = (tmp_path / "out/explanations/0/3.jsonl").read_text().splitlines()
    names = set()

    def look(value: object) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(inner)
        if isinstance(value, dict):
            names.add(value["dataclass_name"])

    look(json.loads(line))
    assert names == {
        "NeuronSimulationResults", "NeuronId", "ScoredExplanation", "ScoredSimulation", "ScoredSequenceSimulation",
        "SequenceSimulation",
    }  # fmt: skip


def test_what_is_exported_reads_back_as_explanations_with_their_scores(tmp_path):
    result = explained(0, 3, 0.9)
    found = openai.read_simulation_results(write(tmp_path / "3.jsonl", simulation_results(result)))
    assert found == simulation_results(result)
    (explanation, simulation), (_, at_random), (_, same_token) = openai.explanations_of(found)
    assert str(explanation) == "[5] the token ' raise' (5 of 5); words ending in 'ing' (2 of 5)"
    assert simulation.get_preferred_score() == 0.9
    assert at_random.get_preferred_score() == result.scores["random"].correlation.value
    assert same_token.get_preferred_score() == result.scores["same_token_negative"].correlation.value
    tested = [one for one in result.test_sequences if one.record.source in (None, "similar_negative")]
    assert [one.simulation for one in simulation.sequences] == [one.simulation for one in tested]
    assert [one.record.expressions for one in simulation.sequences] == [one.record.expressions for one in tested]
    assert [one.record.max_expression for one in simulation.sequences] == [10.0] * 3
    assert simulation.scores.auroc.value is None
    first = found.scored_explanations[0].scored_simulation.scored_sequence_simulations[0]
    assert first.simulation.expected_activations == [0.0, 10.0, 0.0]
    assert first.ev_correlation_score == pearson(first.true_activations, first.simulation.expected_activations)


def test_two_saes_of_a_layer_do_not_overwrite_each_other(tmp_path):
    with RunStore.create(tmp_path / "run", {"seed": 0}) as store:
        for hook in ("blocks.0/../../mlp", "blocks.0.../mlp"):
            store.put(replace(explained(0, 3, 0.5), key=FeatureKey(hook, 0, 3)))
        write_openai(store, tmp_path / "out")
    assert len([path for path in (tmp_path / "out").rglob("*.json*") if path.is_file()]) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_our_records_read_back_from_a_neuron_record(tmp_path):
    result = explained(0, 3, 0.9)
    neuron_of = neuron_record_of(result)
    ours = openai.records_of(neuron_of)
    assert [one.expressions for one in ours.most_act_records] == [(0.0, 10.0, 0.0), (9.0, 0.0), (8.0, 0.0)]
    assert openai.neuron_record(ours) == neuron_of


def test_neurons_become_a_data_folder_whose_splits_share_no_window(tmp_path):
    for layer, index in ((0, 7), (0, 2), (3, 1)):
        write(tmp_path / f"in/collated-activations/{layer}/{index}.json", neuron(layer, index))
    found = import_data(tmp_path / "in", tmp_path / "data")
    assert (found.latents, found.hooks) == (3, 2)
    folder = DataFolder.open(tmp_path / "data")
    assert folder.selected == {"blocks.0.mlp.hook_post": (2, 7), "blocks.3.mlp.hook_post": (1,)}
    record = folder.index_record("blocks.0.mlp.hook_post", 7)
    assert len(record.most_act_records) == 12
    assert record.max_expression == 12.0
    assert {one.expressions[0] for one in record.most_act_records} == {0.0}
    assert len(record.random_records) == 12
    assert not any(one.is_active for one in record.random_no_act_records)
    splits = [{one.dataset_index for one in part} for part in (record.train_records(), record.test_records())]
    assert not splits[0] & splits[1]
    single = write(tmp_path / "one.json", neuron(1, 5))
    assert import_data(single, tmp_path / "single").latents == 1


GOOD = openai.encode(neuron(0, 7)).decode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (GOOD[:100], "truncated"),
        (GOOD.replace('"NeuronRecord"', '"NeuronSimulationResults"'), "Invalid value 'NeuronSimulationResults'"),
        (GOOD.replace('"neuron_id"', '"id"'), "missing required field `neuron_id`"),
        (GOOD.replace("-0.25", "NaN"), "invalid character"),
        (GOOD.replace("-0.25", '"high"'), "Expected `float`, got `str`"),
        (GOOD.replace("-0.25,", ""), "2 tokens and 1 activations"),
        (GOOD.replace('"neuron_index":7', '"neuron_index":-1'), ">= 0"),
        (GOOD.replace('"neuron_index":7', '"neuron_index":"../7"'), "Expected `int`"),
        (openai.encode(NeuronRecord(NeuronId(0, 7))).decode(), "fires in none"),
        ("[" * 100_000, "cannot be read"),
        ("\ud83d", "cannot be read"),
    ],
)
def test_a_bad_file_is_one_sentence_and_leaves_nothing(tmp_path, content, told):
    path = tmp_path / "in" / "0" / "7.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataFolderError) as caught:
        import_data(tmp_path / "in", tmp_path / "data")
    assert told in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_what_cannot_be_imported_is_told(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="holds no data that can be imported"):
        import_data(tmp_path / "in", tmp_path / "data")
    for name in ("a", "b"):
        write(tmp_path / f"in/{len(name)}/{7 + (name == 'b')}.json", neuron(1, 7))
    with pytest.raises(InputError, match="occurs twice"):
        import_data(tmp_path / "in", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    empty = openai.NeuronSimulationResults(
        NeuronId(0, 1), [openai.ScoredExplanation(" ", openai.ScoredSimulation([], "nan"))]
    )
    with pytest.raises(DataFolderError, match="explanation 0 of the neuron is empty"):
        openai.explanations_of(empty)


@given(st.binary(max_size=200) | st.integers(0, len(GOOD)).map(lambda n: GOOD[:n].encode()))
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "1.json"
    path.write_bytes(content)
    for read in (openai.read_neuron_record, openai.read_simulation_results):
        try:
            read(path)
        except FeatureInterpError as error:
            assert str(path) in str(error)
