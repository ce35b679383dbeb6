"""Data made by the original is imported: against its own numbers, and through to an explanation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from featureinterp.dataset.activations.attribution import holistic_activations
from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError, InputError
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.interop.original.importing import Imported, import_original, own_holistic
from featureinterp.interop.original.tensors import write_holistic
from tests.cli.tiny import run_command

HOOK = "blocks.1.hook_resid_post"


@pytest.fixture
def original(golden_data: Path, golden_activations, tmp_path: Path) -> Path:
    """A folder as the original leaves it, with two latents' records."""
    folder = tmp_path / "corpus_gpt2-tiny"
    shutil.copytree(golden_data / "records", folder / "records")
    torch.save(torch.from_numpy(golden_activations["tokens"]).long(), folder / "tokens.pt")
    (folder / "sae_acts").mkdir()
    torch.save(torch.from_numpy(golden_activations["sae_acts"]), folder / "sae_acts" / f"{HOOK}.pt")
    return folder


@pytest.fixture
def raw(original: Path) -> dict[int, dict]:
    return {n: json.loads((original / "records" / HOOK / f"{n}.json").read_bytes()) for n in (0, 5)}


def test_activations_are_the_originals(original: Path, tmp_path: Path, golden_activations):
    assert import_original(original, tmp_path / "data").windows == 512
    folder = DataFolder.open(tmp_path / "data")
    windows = folder.windows()
    assert windows.has_bos
    np.testing.assert_array_equal(windows.tokens, golden_activations["tokens"])
    sparse = SparseActivations.open(Layout(folder.path).activations_of(HOOK))
    assert (sparse.n_sequences, sparse.length, sparse.n_latents) == (512, 32, 20)
    for latent in range(20):
        truth = golden_activations["sae_acts"][:, 1:, latent]
        np.testing.assert_array_equal(sparse.dense(latent, range(512)), truth)
        fires = (truth > 0).any(axis=1)
        if latent in (0, 5):
            report = folder.latent_report(HOOK)[latent]
            assert (report.n_windows, report.density) == (fires.sum(), fires.mean())


def test_records_keep_their_windows_and_no_split_shares_one(original: Path, raw: dict[int, dict], tmp_path: Path):
    found = import_original(original, tmp_path / "data")
    folder, kept = DataFolder.open(tmp_path / "data"), 0
    for latent, before in raw.items():
        record = folder.index_record(HOOK, latent)
        record.splits(FeatureRunParams())  # refuses records that share a window between splits
        by_index = {r["dataset_index"]: r for name in before if name.endswith("records") for r in before[name]}
        assert record.max_expression == before["max_expression"]
        for name in (name for name in before if name.endswith("records")):
            after = getattr(record, name)
            assert {r.dataset_index for r in after} <= {r["dataset_index"] for r in before[name]}
            assert len(after) >= 15
            kept += len(after)
            for one in after:
                assert list(one.tokens) == by_index[one.dataset_index]["tokens"]
                assert list(one.expressions) == by_index[one.dataset_index]["expressions"]
        positives = {r.dataset_index for r in record.most_act_records}
        assert positives == {r["dataset_index"] for r in before["most_act_records"] if max(r["expressions"]) > 0}
    n_before = sum(len(records) for before in raw.values() for records in before.values() if isinstance(records, list))
    assert found == Imported(windows=512, hooks=1, latents=2, left_out=n_before - kept)


def test_holistic_activations_become_ours(original: Path, tmp_path: Path, tiny_subject, golden_activations):
    """The conversion of the original's numbers gives what deleting each token gives, as far as float16 goes."""
    import_original(original, tmp_path / "data")
    record = DataFolder.open(tmp_path / "data").index_record(HOOK, 0)
    largest = 0.0
    for one in record.most_act_records[:3]:
        tokens = golden_activations["tokens"][[one.dataset_index]]
        ours = holistic_activations(tiny_subject, tokens, True, {HOOK: [0]})[HOOK][0, :, 0]
        np.testing.assert_allclose(one.holistic_expressions, ours, atol=2e-3)
        largest = max(largest, np.abs(ours).max())
    assert largest > 2e-2
    assert record.max_holistic_expression == max(
        value for name in ("most_act_records", "random_records", "similar_records", "similar_no_act_records",
                           "random_no_act_records", "similar_projected_records", "similar_projected_no_act_records")
        for one in getattr(record, name) for value in one.holistic_expressions
    )  # fmt: skip


def test_the_formula_on_numbers_that_can_be_checked_by_hand():
    activations = np.array([[0.0, 3.0, 0.0, 6.0]])
    theirs = np.array([[9 / 4 - 9 / 3, 9 / 4 - 0 / 3, 9 / 4 - 9 / 3, 9 / 4 - 3 / 3]])  # token 1's deletion silences all
    np.testing.assert_allclose(own_holistic(theirs, activations), [[0, 2, 0, 0]], atol=1e-12)


def originals_holistic(subject, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The original's definition by brute force: a full pass without each token, a mean over what remains."""
    latents, rows = range(20), torch.from_numpy(tokens)

    def mean(batch: torch.Tensor) -> np.ndarray:
        return subject.saes[HOOK].encode(subject.model.streams(batch, [HOOK])[HOOK][:, 1:], latents).double().mean(1)

    plain = subject.saes[HOOK].encode(subject.model.streams(rows, [HOOK])[HOOK], latents).numpy()
    kept = [[u for u in range(rows.shape[1]) if u != t] for t in range(1, rows.shape[1])]
    made = [mean(rows) - mean(rows[:, columns]) for columns in kept]
    return plain, np.stack(made, axis=1).astype(np.float32)


@pytest.mark.parametrize("with_bos", [True, False])
def test_dense_holistic_activations_become_those_of_deleting_each_token(
    tiny_subject, golden_activations, tmp_path: Path, with_bos: bool
):
    tokens = golden_activations["tokens"][:5]
    plain, theirs = originals_holistic(tiny_subject, tokens)
    if with_bos:
        theirs = np.pad(theirs, ((0, 0), (1, 0), (0, 0)), constant_values=7)
    for folder, values in (("sae_acts", plain), ("holistic_acts", theirs)):
        (tmp_path / folder).mkdir()
        torch.save(torch.from_numpy(values), tmp_path / folder / "h.pt")
    windows = Windows(tokens, np.arange(5, dtype=np.int32), True)
    write_holistic(tmp_path / "holistic_acts" / "h.pt", tmp_path / "sae_acts" / "h.pt", tmp_path / "ours", windows)
    found = HolisticActivations.open(tmp_path / "ours")
    ours = holistic_activations(tiny_subject, tokens, True, {HOOK: range(20)})[HOOK]
    assert found.whole_corpus and found.is_intact() and np.abs(ours).max() > 0.01
    for latent in range(20):
        np.testing.assert_allclose(found.dense(latent, range(5)), ours[:, :, latent], atol=1e-6)


def test_records_take_their_causes_from_the_dense_ones(original: Path, tmp_path: Path, golden_activations):
    plain = golden_activations["sae_acts"][:, 1:].astype(np.float32)
    theirs = np.random.default_rng(0).normal(size=plain.shape).astype(np.float16)
    (original / "holistic_acts").mkdir()
    torch.save(torch.from_numpy(theirs), original / "holistic_acts" / f"{HOOK}.pt")
    import_original(original, tmp_path / "data")
    folder = DataFolder.open(tmp_path / "data")
    for latent in (0, 5):
        total = plain[:, :, latent].sum(axis=1, keepdims=True)
        wanted = theirs[:, :, latent] - total / 32 + (total - plain[:, :, latent]) / 31
        record = folder.index_record(HOOK, latent)
        assert record.max_holistic_expression == pytest.approx(wanted.max(), abs=1e-6)
        for one in (*record.most_act_records, *record.random_records):
            np.testing.assert_allclose(one.holistic_expressions, wanted[one.dataset_index], atol=1e-6)


def test_dense_holistic_activations_that_do_not_fit_are_refused(original: Path, tmp_path: Path):
    (original / "holistic_acts").mkdir()
    path = original / "holistic_acts" / f"{HOOK}.pt"
    torch.save(torch.zeros(512, 32, 19), path)
    with pytest.raises(DataFolderError, match=r"holds float32 \[512, 32, 19\] \(expected 20 latents, as in sae_acts"):
        import_original(original, tmp_path / "data")
    (original / "sae_acts" / f"{HOOK}.pt").unlink()
    with pytest.raises(DataFolderError, match=r"holistic_acts.* comes without sae_acts/blocks.1.hook_resid_post.pt"):
        import_original(original, tmp_path / "other")


def test_imported_features_are_explained(original: Path, tmp_path: Path):
    made = run_command("import", original, "--out", tmp_path / "data")
    assert made.code == 0 and "2 latents on 1 hooks, 512 windows" in made.out, made.err
    told = run_command("explain", tmp_path / "data", "--out", tmp_path / "run", "--explainer", "one-shot")
    assert told.code == 0, told.err
    rows = [json.loads(line) for line in run_command("results", tmp_path / "run", "--format", "jsonl").out.splitlines()]
    assert [(row["layer"], row["latent"], row["status"]) for row in rows] == [(1, 0, "explained"), (1, 5, "explained")]


def test_records_alone_are_enough(original: Path, raw: dict[int, dict], tmp_path: Path):
    (original / "tokens.pt").unlink()
    shutil.rmtree(original / "sae_acts")
    assert import_original(original, tmp_path / "data").windows == 0
    folder = DataFolder.open(tmp_path / "data")
    assert folder.index_record(HOOK, 5).most_act_records
    active = [max(r["expressions"]) > 0 for r in raw[5]["random_records"]]
    assert folder.latent_report(HOOK)[5].density == pytest.approx(np.mean(active), abs=0.15)


@pytest.mark.parametrize("form", ["float16", "dictionary", "without BOS"])
def test_other_forms_of_the_same_activations_are_read(original: Path, tmp_path: Path, golden_activations, form: str):
    acts = torch.from_numpy(golden_activations["sae_acts"])
    saved = {"float16": acts.half(), "dictionary": {"sae_acts": acts}, "without BOS": acts[:, 1:].contiguous()}[form]
    torch.save(saved, original / "sae_acts" / f"{HOOK}.pt")
    import_original(original, tmp_path / "data")
    sparse = SparseActivations.open(Layout(tmp_path / "data").activations_of(HOOK))
    truth = golden_activations["sae_acts"][:, 1:, 5]
    np.testing.assert_allclose(sparse.dense(5, range(512)), truth, rtol=1e-3 if form == "float16" else 0)


class Code:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize(
    ("name", "saved", "told"),
    [
        ("tokens.pt", torch.zeros(512, 33), r"holds float32 \[512, 33\] \(expected integers \[windows, tokens\]"),
        ("tokens.pt", torch.zeros(512, dtype=torch.long), r"tokens\.pt holds int64 \[512\]"),
        ("tokens.pt", [1, 2], "tokens.pt holds a list"),
        ("tokens.pt", Code(), "tokens.pt cannot be read as a tensor"),
        (
            f"sae_acts/{HOOK}.pt",
            torch.zeros(512, 20, 33),
            r"holds float32 \[512, 20, 33\] .*\[512, 32 or 33, latents\]",
        ),
        (f"sae_acts/{HOOK}.pt", torch.zeros(511, 33, 20), r"holds float32 \[511, 33, 20\]"),
        (f"sae_acts/{HOOK}.pt", torch.zeros(512, 33, 20, dtype=torch.int32), "holds int32"),
        (f"sae_acts/{HOOK}.pt", torch.full((512, 33, 20), torch.nan), "holds a value that is NaN or infinite"),
        (f"sae_acts/{HOOK}.pt", {"a": torch.zeros(1), "b": torch.zeros(1)}, "holds a dict with the keys a, b"),
        (f"sae_acts/{HOOK}.pt", torch.ones(512, 33, 20), r"\d\.json does not belong to the activations beside it"),
    ],
)
def test_what_does_not_fit_is_refused(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, saved: object, told: str
):
    monkeypatch.chdir(tmp_path)
    torch.save(saved, original / name)
    with pytest.raises(DataFolderError, match=told):
        import_original(original, tmp_path / "data")
    assert not (tmp_path / "evil").exists() and {p.name for p in tmp_path.iterdir()} <= {original.name}


def test_what_is_missing_or_misplaced_is_refused(original: Path, tmp_path: Path):
    records = original / "records" / HOOK
    (records / "0.json").rename(records / "7.json")
    with pytest.raises(DataFolderError, match=r"7\.json holds latent 0 of layer 1"):
        import_original(original, tmp_path / "data")
    (records / "7.json").write_text("{}")
    with pytest.raises(DataFolderError, match=r"7\.json cannot be read"):
        import_original(original, tmp_path / "data")
    (records / "7.json").unlink()
    (original / "tokens.pt").write_bytes(b"half")
    with pytest.raises(DataFolderError, match=r"tokens\.pt cannot be read as a tensor"):
        import_original(original, tmp_path / "data")
    (original / "tokens.pt").unlink()
    with pytest.raises(DataFolderError, match=r"resid_post\.pt comes without tokens\.pt"):
        import_original(original, tmp_path / "data")
    with pytest.raises(DataFolderError, match=r"holds no records/\{hook\}"):
        import_original(tmp_path / "nowhere", tmp_path / "data")


def test_an_imported_folder_is_neither_overwritten_nor_added_to(original: Path, tmp_path: Path, tiny_subject):
    spec = DataSpec(model_name="model", dataset_name="python-docs", max_features=2)
    import_original(original, tmp_path / spec.folder_name)
    with pytest.raises(InputError, match="already exists"):
        import_original(original, tmp_path / spec.folder_name)
    with pytest.raises(DataFolderError, match="was imported and cannot be extended|made with another SAE"):
        prepare(spec, tmp_path, subject=tiny_subject)
