from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.records.audit import near_duplicates_across
from featureinterp.dataset.records.selection import PLACING_ORDER
from featureinterp.dataset.retrieval.embeddings import load_embeddings
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import CorpusError, DataFolderError, InputError
from featureinterp.record import MEASURED_SOURCES, SAEIndexRecord, Split, SplitParams
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.subject.subject import Subject

QUICK = ["sae_acts", "records"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lists_of(record: SAEIndexRecord) -> dict[str, list[int]]:
    lists = {"positives": record.most_act_records} | {
        source.value: record.complementary_records(source) for source in (*PLACING_ORDER, Source.SAME_TOKEN_NEGATIVE)
    }
    return {name: [one.dataset_index for one in records] for name, records in lists.items()}


def live(folder: DataFolder) -> list[tuple[str, int]]:
    found = [(h, n) for h in folder.hook_names for n, r in folder.latent_report(h).items() if r.status == "ok"]
    assert len(found) >= 4
    return found


def test_a_record_says_what_the_model_does_on_its_windows(folder: DataFolder, two_layers: Subject):
    windows = folder.windows()
    assert windows.has_bos == two_layers.prepend_bos and windows.text_tokens.shape == (150, 16)
    for hook, latent in live(folder):
        record = folder.index_record(hook, latent)
        assert record.id.layer_index == two_layers.saes[hook].layer and record.id.latent_index == latent
        stream = two_layers.model.streams(torch.from_numpy(windows.tokens), [hook])[hook]
        truth = two_layers.saes[hook].encode(stream, [latent])[:, int(windows.has_bos) :, 0].numpy()
        assert record.max_expression == pytest.approx(truth.max(), rel=1e-5)
        for one in (*record.most_act_records, *record.random_records, *record.similar_no_act_records):
            np.testing.assert_allclose(one.expressions, truth[one.dataset_index], rtol=1e-4, atol=1e-5)
            assert list(one.tokens) == two_layers.model.token_strings(windows.text_tokens[one.dataset_index])
            assert one.holistic_expressions == ()
        assert all(one.is_active for one in record.most_act_records)
        for silent in (*record.random_no_act_records, *record.similar_no_act_records):
            assert truth[silent.dataset_index].max() <= 0


def test_any_window_of_the_corpus_becomes_a_record(folder: DataFolder, two_layers: Subject):
    hook, latent = live(folder)[-1]
    stored = folder.index_record(hook, latent)
    known = (*stored.most_act_records[::-1], *stored.random_records)
    windows = [record.dataset_index for record in known]
    strings = two_layers.model.token_strings
    made = folder.activation_records(hook, latent, windows, strings)
    assert made == tuple(replace(record, source=Source.OTHER) for record in known)
    positives = folder.activation_records(hook, latent, np.array(windows[:3]), strings, source=None)
    assert positives == stored.most_act_records[::-1][:3]
    assert folder.activation_records(hook, latent, [], strings) == ()


def test_a_window_or_latent_that_is_not_there_has_no_record(folder: DataFolder, two_layers: Subject):
    hook, latent = live(folder)[0]
    strings = two_layers.model.token_strings
    for window in (-1, 150):
        with pytest.raises(InputError, match=f"window {window} does not exist"):
            folder.activation_records(hook, latent, [0, window], strings)
    with pytest.raises(InputError, match="latent 1000000 does not exist"):
        folder.activation_records(hook, 1_000_000, [0], strings)


def test_no_document_gives_records_to_two_splits(folder: DataFolder):
    documents = folder.windows().documents
    for hook, latent in live(folder):
        record = folder.index_record(hook, latent)
        window_of: dict[int, int] = {}
        split_of: dict[int, int] = {}
        for sequences in lists_of(record).values():
            for position, sequence in enumerate(sequences):
                document = int(documents[sequence])
                assert window_of.setdefault(document, sequence) == sequence
                assert split_of.setdefault(document, position % 3) == position % 3
        assert len(record.records(Split.TEST)) >= 3


def test_negatives_with_a_peak_token_are_silent_windows_of_other_documents(folder: DataFolder, two_layers: Subject):
    windows = folder.windows()
    for hook, latent in live(folder):
        record, activations = folder.index_record(hook, latent), folder.activations(hook)
        peaks = {one.tokens[int(np.argmax(one.expressions))] for one in record.most_act_records[::3]}
        everywhere = folder.activation_records(hook, latent, range(len(windows)), two_layers.model.token_strings)
        candidates = {one.dataset_index for one in everywhere if not one.is_active and peaks & set(one.tokens)}
        found = [one.dataset_index for one in record.same_token_no_act_records]
        assert set(found) <= candidates
        documents = windows.documents[[one.dataset_index for one in record.most_act_records]]
        assert not set(windows.documents[found].tolist()) & set(documents.tolist())
        assert record.strata[-2].size == len(candidates)
        assert sum(stratum.size for stratum in record.strata if stratum.is_active) == len(
            activations.latent(latent).sequence_maxima()[0]
        )
        assert sum(stratum.size for stratum in record.strata) == len(windows)


def test_no_near_duplicate_of_a_record_is_in_another_split(folder: DataFolder):
    for hook, latent in live(folder):
        record = folder.index_record(hook, latent)
        every = [record.most_act_records, *(record.complementary_records(source) for source in Source)]
        split_of = {one: place % 3 for records in every for place, one in enumerate(records)}
        for one, other in combinations(split_of, 2):
            left, right = set(one.tokens), set(other.tokens)
            if 2 * len(left & right) > len(left | right):
                assert split_of[one] == split_of[other]
        sources = (*MEASURED_SOURCES, Source.CORPUS)
        splits = record.splits(SplitParams(9, 18, sources, sources, test_sources=sources))
        assert near_duplicates_across(splits) == 0


def test_a_report_counts_what_there_is(folder: DataFolder, two_layers: Subject):
    windows = folder.windows()
    for hook in folder.hook_names:
        stream = two_layers.model.streams(torch.from_numpy(windows.tokens), [hook])[hook]
        latents = folder.latents(hook)
        truth = two_layers.saes[hook].encode(stream, latents)[:, int(windows.has_bos) :].numpy().max(axis=1)
        for column, (latent, report) in enumerate(folder.latent_report(hook).items()):
            fires = truth[:, column] > 0
            assert report.latent == latent
            assert (report.n_windows, report.density) == (fires.sum(), fires.mean())
            assert report.n_documents == len(set(windows.documents[fires].tolist()))
            enough = report.n_documents >= 9
            assert report.status == ("dead" if not fires.any() else "ok" if enough else "rare")
            if report.status == "ok":
                record = folder.index_record(hook, latent)
                sizes = {name: len(chosen) for name, chosen in lists_of(record).items()}
                assert report.list_sizes == sizes | {"corpus": len(record.corpus_records)} and report.reason == ""
                asked = dict.fromkeys(sizes, 9) | {"corpus": 18}
                assert set(report.shortfalls) == {name for name, n in report.list_sizes.items() if n < asked[name]}
            else:
                with pytest.raises(InputError, match=f"latent {latent} of {hook} is {report.status}: it "):
                    folder.index_record(hook, latent)


def test_two_runs_give_the_same_bytes_and_a_third_changes_nothing(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path
):
    again = prepare(spec, tmp_path, stages=QUICK, subject=two_layers)
    made = contents(again.path)
    assert made == contents(folder.path)
    stamps = {path: path.stat().st_mtime_ns for path in again.path.rglob("*") if path.name != "manifest.json"}
    prepare(spec, tmp_path, stages=QUICK, subject=two_layers)
    assert contents(again.path) == made
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("stage", ["tokens", "sae_acts", "similarity_retriever", "records of blocks.1.hook_resid_post"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("featureinterp.dataset.retrieval.embeddings.CACHE", tmp_path / "empty")

    def kill(at: str, done: int, total: int) -> None:
        if at == stage and done >= total / 2:
            raise Killed

    with pytest.raises(Killed):
        prepare(spec, tmp_path, stages=QUICK, subject=two_layers, on_progress=kill)
    again = prepare(spec, tmp_path, stages=QUICK, subject=two_layers)
    assert contents(again.path) == contents(folder.path)


def test_another_seed_chooses_other_latents_and_windows(spec: DataSpec, two_layers: Subject, folder: DataFolder):
    assert replace(spec, seed=1).latents_of({"h": (0, 1024)}) != spec.latents_of({"h": (0, 1024)})
    small = set(spec.latents_of({"h": (0, 1024)})["h"])
    assert small < set(replace(spec, max_features=30).latents_of({"h": (0, 1024)})["h"])
    assert len(replace(spec, max_features=None).latents_of({"h": (0, 1024)})["h"]) == 1024


def test_more_latents_are_added_to_what_is_there(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path
):
    few = prepare(replace(spec, max_features=5), tmp_path, stages=QUICK, subject=two_layers)
    assert all(len(few.latents(hook)) == 5 for hook in few.hook_names)
    more = prepare(spec, tmp_path, stages=QUICK, subject=two_layers)
    assert contents(more.path) == contents(folder.path)
    named = prepare(replace(spec, latents={1: (3, 1, 3)}), tmp_path, stages=QUICK, subject=two_layers)
    assert named.latents(named.hook_of(1)) == (1, 3) and named.latents(named.hook_of(0)) == ()
    assert set(DataFolder.open(named.path).latents(named.hook_of(1))) == {1, 3, *more.latents(more.hook_of(1))}


@pytest.fixture
def copied(folder: DataFolder, tmp_path: Path) -> Path:
    shutil.copytree(folder.path, tmp_path / folder.path.name)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_seq_length": 8}, r"tokens\.safetensors was made with other settings: max_seq_length is 16 there and 8"),
        ({"max_dataset_size": 10}, "max_dataset_size is 150 there and 10 here"),
        ({"ascii_only": False}, "ascii_only is True there and False here"),
        ({"embedder": "other"}, "similarity_retriever.*embedder is 'all-MiniLM-L6-v2' there and 'other' here"),
        (
            {"seed": 3, "special_n": 5},
            "records was made with other settings: seed is 0 there and 3 here, special_n is 20",
        ),
        ({"top_sample_n": 30}, "top_sample_n is 9 there and 30 here .*choose another folder, or delete .*records"),
    ],
)
def test_other_settings_are_refused_and_change_nothing(
    copied: Path, spec: DataSpec, two_layers: Subject, changes: dict, told: str
):
    before = contents(copied)
    with pytest.raises(DataFolderError, match=told):
        prepare(replace(spec, **changes), copied, stages=QUICK, subject=two_layers)
    assert contents(copied) == before


def test_what_the_error_says_to_do_helps(copied: Path, spec: DataSpec, two_layers: Subject):
    shutil.rmtree(copied / spec.folder_name / "records")
    again = prepare(replace(spec, seed=3), copied, stages=QUICK, subject=two_layers)
    assert again.manifest.stages["records"].settings["seed"] == 3
    assert live(again)


def test_another_text_under_the_same_name_is_refused(copied: Path, spec: DataSpec, two_layers: Subject, tmp_path: Path):
    other = tmp_path / "elsewhere" / "reference.txt"
    other.parent.mkdir()
    other.write_text(Path(spec.dataset_name).read_text() + "\n\nmore")
    with pytest.raises(DataFolderError, match="corpus is 'sha256 .* there and 'sha256 .* here"):
        prepare(replace(spec, dataset_name=str(other)), copied, stages=QUICK, subject=two_layers)


def test_another_sae_is_refused(copied: Path, spec: DataSpec, two_layers: Subject):
    first, second = two_layers.saes
    swapped = Subject(two_layers.model, {first: two_layers.saes[second], second: two_layers.saes[first]})
    with pytest.raises(DataFolderError, match=f"made with another SAE on {first}"):
        prepare(spec, copied, stages=QUICK, subject=swapped)


def test_files_of_unknown_origin_are_refused(copied: Path, spec: DataSpec, two_layers: Subject):
    path = copied / spec.folder_name / "manifest.json"
    raw = msgspec.json.decode(path.read_bytes())
    del raw["data"]["stages"]["records"]
    path.write_bytes(msgspec.json.encode(raw))
    with pytest.raises(DataFolderError, match="does not record how .*records was made"):
        prepare(spec, copied, stages=QUICK, subject=two_layers)
    path.write_bytes(b"{}")
    with pytest.raises(DataFolderError, match=r"manifest\.json cannot be read"):
        DataFolder.open(path.parent)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"latents": (1024,)},
            r"latent 1024 of layer 0 does not exist \(the SAE on blocks\.0\.\S+ has latents 0 to 1023",
        ),
        ({"latents": {1: (-1,)}}, "latent -1 of layer 1 does not exist"),
        ({"latents": {4: (1,)}}, r"latents of layer 4 cannot be selected \(the selected layers are 0, 1"),
        ({"max_seq_length": 200}, "exceed the context of model 'embedded', 127 tokens"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_written(
    spec: DataSpec, two_layers: Subject, tmp_path: Path, changes: dict, told: str
):
    if "latents" in changes and two_layers.saes["blocks.0.hook_resid_post"].n_latents != 1024:
        told = told.replace("1023", r"\d+")
    with pytest.raises(InputError, match=told):
        prepare(replace(spec, **changes), tmp_path, stages=QUICK, subject=two_layers)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_missing_corpus_and_an_unknown_stage_are_refused(spec: DataSpec, two_layers: Subject, tmp_path: Path):
    with pytest.raises(CorpusError, match="there is no corpus 'nowhere'"):
        prepare(replace(spec, dataset_name="nowhere"), tmp_path, subject=two_layers)
    with pytest.raises(InputError, match=r"unknown stages: explain \(the stages are sae_acts"):
        prepare(spec, tmp_path, stages=["explain"], subject=two_layers)


def test_asking_a_folder_for_what_it_does_not_have(folder: DataFolder, spec: DataSpec):
    hook = folder.hook_names[0]
    with pytest.raises(InputError, match=r"latent 99999 does not exist \(.* has latents 0 to"):
        folder.index_record(hook, 99999)
    absent = next(n for n in range(100) if n not in folder.latents(hook))
    with pytest.raises(DataFolderError, match=f"no records of latent {absent}"):
        folder.index_record(hook, absent)
    with pytest.raises(InputError, match="hook 'blocks.9' is not in"):
        folder.latents("blocks.9")
    with pytest.raises(InputError, match="layer 5 is not in .*layers 0, 1"):
        folder.hook_of(5)
    with pytest.raises(DataFolderError, match="is not a data folder"):
        DataFolder.open(folder.path.parent)


def test_only_the_activations_can_be_made(spec: DataSpec, two_layers: Subject, tmp_path: Path):
    made = prepare(spec, tmp_path, stages=["sae_acts"], subject=two_layers)
    names = {path.name for path in made.path.iterdir()}
    assert names == {"manifest.json", "tokens.safetensors", "sae_acts"}
    counts = made.corpus_counts()
    assert counts["documents"] > counts["too_short"] > 0
    with pytest.raises(DataFolderError, match="has no records of latents"):
        made.latent_report(made.hook_names[0])


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (DataSpec(), "python-docs_embedded"),
        (DataSpec(dataset_name="a/b.jsonl", model_name="google/gemma-2-9b"), "b_gemma-2-9b"),
        (DataSpec(dataset_name="a/b c/", model_name="../gpt2"), "b-c_gpt2"),
    ],
)
def test_a_folder_is_named_after_its_corpus_and_model(spec: DataSpec, name: str):
    assert spec.folder_name == name


def deletion_by_hand(subject: Subject, hook: str, latent: int, tokens: np.ndarray, first: int) -> np.ndarray:
    """Holistic activations of one window by their definition: one plain forward pass per deleted token."""

    def activations(row: np.ndarray) -> np.ndarray:
        stream = subject.model.streams(torch.from_numpy(row[None]), [hook])[hook]
        return subject.saes[hook].encode(stream, [latent])[0, first:, 0].numpy().astype(np.float64)

    clean, n = activations(tokens), len(tokens) - first
    made = np.zeros(n)
    for t in range(n):
        without = np.insert(activations(np.delete(tokens, first + t)), t, 0.0)
        made[t] = sum(clean[u] - without[u] for u in range(n) if u != t) / (n - 1)
    return made


def test_holistic_activations_are_in_the_records(spec: DataSpec, two_layers: Subject, tmp_path: Path):
    few = replace(spec, max_dataset_size=60, max_features=3, top_sample_n=3, complementary_sample_n=3, min_documents=3)
    stages = ["holistic_acts", "records"]

    def kill(at: str, done: int, total: int) -> None:
        if at == "holistic_acts" and done >= total / 2:
            raise Killed

    with pytest.raises(Killed):
        prepare(few, tmp_path / "a", stages=stages, subject=two_layers, on_progress=kill)
    folder = prepare(few, tmp_path / "a", stages=stages, subject=two_layers)
    assert folder.has_holistic
    windows = folder.windows()
    hook, latent = next((h, n) for h in folder.hook_names for n, r in folder.latent_report(h).items() if not r.reason)
    record = folder.index_record(hook, latent)
    for one in record.most_act_records[:2]:
        by_hand = deletion_by_hand(two_layers, hook, latent, windows.tokens[one.dataset_index], int(windows.has_bos))
        np.testing.assert_allclose(one.holistic_expressions, by_hand, atol=1e-4)
        assert one.holistic_expressions[-1] == 0
    held = [*record.most_act_records, *(r for source in Source for r in record.complementary_records(source))]
    assert record.max_holistic_expression == max(0.0, *(max(one.holistic_expressions) for one in held))
    undisturbed = prepare(few, tmp_path / "b", stages=stages, subject=two_layers)
    assert contents(undisturbed.path) == contents(folder.path)
    more = prepare(replace(few, max_features=4), tmp_path / "a", stages=["records"], subject=two_layers)
    fresh = prepare(replace(few, max_features=4), tmp_path / "c", stages=stages, subject=two_layers)
    assert contents(more.path) == contents(fresh.path)


def test_records_with_and_without_holistic_activations_are_not_mixed(copied: Path, spec: DataSpec, two_layers: Subject):
    with pytest.raises(DataFolderError, match="holistic is False there and True here"):
        prepare(spec, copied, stages=["holistic_acts", "records"], subject=two_layers)


def test_the_whole_corpus_can_be_measured(spec: DataSpec, two_layers: Subject, tmp_path: Path):
    few = replace(spec, max_dataset_size=40, max_features=2, top_sample_n=3, complementary_sample_n=3, min_documents=2)
    stages = ["holistic_acts", "records"]
    part = prepare(few, tmp_path / "part", stages=stages, subject=two_layers)
    whole = prepare(replace(few, holistic_scope="corpus"), tmp_path / "whole", stages=stages, subject=two_layers)
    hook, latent = next((h, n) for h in part.hook_names for n, r in part.latent_report(h).items() if not r.reason)
    of_part, of_whole = (folder.index_record(hook, latent) for folder in (part, whole))
    for one, other in zip(of_part.most_act_records, of_whole.most_act_records, strict=True):
        np.testing.assert_allclose(one.holistic_expressions, other.holistic_expressions, atol=1e-5)
    assert of_whole.max_holistic_expression >= of_part.max_holistic_expression - 1e-5
    with pytest.raises(DataFolderError, match="scope is 'corpus' there and 'records' here"):
        prepare(few, tmp_path / "whole", stages=stages, subject=two_layers)


def test_projected_lists_are_in_the_records_and_leave_the_others_as_they_are(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path
):
    made = prepare(replace(spec, projected=True), tmp_path, stages=QUICK, subject=two_layers)
    documents = made.windows().documents
    found = 0
    for hook, latent in live(made):
        record, plain = made.index_record(hook, latent), folder.index_record(hook, latent)
        assert lists_of(record) == lists_of(plain)
        assert not any(one.is_active for one in record.similar_projected_no_act_records)
        split_of: dict[int, int] = {}
        lists = [*lists_of(record).values()]
        for records in (record.similar_projected_records, record.similar_projected_no_act_records):
            lists.append([one.dataset_index for one in records])
            found += len(records)
        for sequences in lists:
            for place, sequence in enumerate(sequences):
                assert split_of.setdefault(int(documents[sequence]), place % 3) == place % 3
    assert found > 0


def test_what_projected_lists_are_does_not_depend_on_valid_and_test_positives(
    folder: DataFolder, two_layers: Subject, spec: DataSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The map is trained on the embeddings of train positives and of silent windows of no held-out document."""
    from featureinterp.dataset.retrieval import projection

    seen: list[tuple[np.ndarray, np.ndarray]] = []
    train = projection.train_projection

    def watching(positives, negatives, random):
        seen.append((positives, negatives))
        return train(positives, negatives, random)

    monkeypatch.setattr(projection, "train_projection", watching)
    made = prepare(replace(spec, projected=True), tmp_path, stages=QUICK, subject=two_layers)
    embeddings = load_embeddings(made.path / "similarity_retriever" / "centred.safetensors")
    documents = made.windows().documents
    for (hook, latent), (positives, negatives) in zip(live(made), seen, strict=True):
        lists = lists_of(made.index_record(hook, latent))
        np.testing.assert_array_equal(positives, embeddings[lists["positives"][::3]])
        held_out = {int(documents[s]) for chosen in lists.values() for i, s in enumerate(chosen) if i % 3}
        allowed = {row.tobytes() for row, number in zip(embeddings, documents, strict=True) if number not in held_out}
        assert {row.tobytes() for row in negatives} <= allowed


@pytest.mark.parametrize(
    "name",
    ["sae_acts/blocks.1.hook_resid_post", "similarity_retriever/embeddings", "similarity_retriever/centred"],
)
def test_damaged_files_are_made_again(copied: Path, folder: DataFolder, spec: DataSpec, two_layers: Subject, name: str):
    path = copied / spec.folder_name / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    more = replace(spec, latents=tuple(range(992, 1024)) if "sae" in name else (5, 6, 7))
    prepare(more, copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole


def test_an_approximate_index_says_how_much_it_finds(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path
):
    made = prepare(replace(spec, faiss=True), tmp_path, stages=QUICK, subject=two_layers)
    recall = made.index_recall()
    assert recall.latents > 3 and recall.first == 100 and 0.9 <= recall.least <= recall.mean <= 1
    assert folder.index_recall() is None
    assert live(made) == live(folder)
