"""Arrays of a data folder that are not what was written: made again where they can be, else refused by name."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from featureinterp.dataset.activations.arrays import ArrayFile, write_arrays
from featureinterp.dataset.activations.store import SparseActivations, index_checksum
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DamagedFeatureError, DataFolderError, InputError
from featureinterp.subject.subject import Subject

QUICK = ["sae_acts", "records"]
MORE = {"latents": tuple(range(40))}


@pytest.fixture
def copied(folder: DataFolder, tmp_path: Path) -> Path:
    shutil.copytree(folder.path, tmp_path / folder.path.name)
    return tmp_path


def flip(path: Path, place: int = -1) -> None:
    """Change one bit of a byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def without_checksum(path: Path, **arrays: np.ndarray) -> None:
    """Write the windows of a file as older versions did."""
    with_bos = ArrayFile.open(path).metadata["has_bos"]
    save_file({**load_file(path), **arrays}, path, metadata={"has_bos": with_bos})


def test_a_flipped_bit_in_the_tokens_is_found_and_they_are_cut_again(
    copied: Path, folder: DataFolder, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture
):
    path = copied / spec.folder_name / "tokens.safetensors"
    whole = path.read_bytes()
    flip(path, len(whole) // 2)
    with pytest.raises(DataFolderError, match=r"tokens\.safetensors is damaged: its checksum is wrong"):
        DataFolder.open(path.parent).windows()
    made = prepare(replace(spec, **MORE), copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole
    assert f"{path} is damaged: its checksum is wrong; the corpus is cut again" in caplog.text
    assert made.index_record(*_live(made)).most_act_records


def _live(folder: DataFolder) -> tuple[str, int]:
    return next((h, n) for h in folder.hook_names for n, r in folder.latent_report(h).items() if r.status == "ok")


@pytest.mark.parametrize("damage", ["cut", "garbage", "no documents", "other numbers"])
def test_windows_that_cannot_be_read_are_cut_again(
    copied: Path, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture, damage: str
):
    path = copied / spec.folder_name / "tokens.safetensors"
    whole = path.read_bytes()
    tokens = load_file(path)["tokens"]
    if damage in ("cut", "garbage"):
        path.write_bytes(whole[:-7] if damage == "cut" else b"\xff" * 100)
    else:
        arrays = {"tokens": tokens} if damage == "no documents" else {"tokens": tokens.astype(np.float32)}
        write_arrays(path, arrays, {"has_bos": "true"})
    prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole and "the corpus is cut again" in caplog.text


def test_a_folder_of_older_versions_opens_and_gets_a_checksum(
    copied: Path, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture
):
    path = copied / spec.folder_name / "tokens.safetensors"
    whole = path.read_bytes()
    without_checksum(path)
    assert len(DataFolder.open(path.parent).windows()) == 150
    prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole and "was written without a checksum, and gets one now" in caplog.text
    caplog.clear()
    prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert caplog.text == ""


def test_changed_ids_of_an_older_version_are_known_by_the_activations(
    copied: Path, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture
):
    path = copied / spec.folder_name / "tokens.safetensors"
    whole = path.read_bytes()
    tokens = load_file(path)["tokens"].copy()
    tokens[3, 4] += 1
    without_checksum(path, tokens=tokens)
    prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole and "is not what the activations were made from" in caplog.text


def test_damage_that_cannot_be_mended_is_refused(copied: Path, spec: DataSpec, two_layers: Subject, tmp_path: Path):
    """The text is gone, or is another now than its fingerprint says."""
    path = copied / spec.folder_name / "tokens.safetensors"
    flip(path)
    corpus = Path(spec.dataset_name)

    class OtherText:
        def fingerprint(self) -> str:
            return f"sha256 {hash_files((corpus,))}"

        def documents(self):
            return iter(corpus.read_text().split("\n\n")[::-1])

    from featureinterp.dataset.corpus.local_files import hash_files
    from featureinterp.dataset.stages import Preparation

    preparation = Preparation(spec, path.parent, OtherText(), two_layers, QUICK, lambda *_: None)
    with pytest.raises(DataFolderError, match=r"tokens\.safetensors is damaged, and the corpus has changed"):
        preparation.windows()


@pytest.mark.parametrize(
    ("tokens", "documents", "told"),
    [
        ([[5, -1], [6, 7]], [0, 1], "it has the token id -1"),
        ([[5, 128], [6, 7]], [0, 1], "it has the token id 128, the model's vocabulary ends at 127"),
        ([[5, 4], [6, 7]], [1, 0], "its document numbers do not ascend"),
        ([[5, 4], [6, 7]], [-3, 0], "its document numbers do not ascend"),
        ([[5, 4], [6, 7]], [0], r"holds 'documents' as int32 \[1\]; expected int32 \[2\]"),
        (np.empty((0, 2), np.int32), [], r"holds windows \[0, 2\]"),
        (np.empty((2, 0), np.int32), [0, 1], r"holds windows \[2, 0\]"),
    ],
)
@pytest.mark.parametrize("has_checksum", [True, False])
def test_numbers_that_no_windows_have_are_refused(tmp_path: Path, tokens, documents, told: str, has_checksum: bool):
    path = tmp_path / "tokens.safetensors"
    arrays = {"tokens": np.array(tokens, np.int32), "documents": np.array(documents, np.int32)}
    write = write_arrays if has_checksum else lambda path, arrays, meta: save_file(arrays, path, metadata=meta)
    write(path, arrays, {"has_bos": "false"})
    with pytest.raises(DataFolderError, match=rf"tokens\.safetensors .*{told}"):
        Windows.load(path, 128)


def test_a_token_id_beyond_the_vocabulary_has_no_text(two_layers: Subject):
    size = two_layers.model.vocabulary_size
    with pytest.raises(InputError, match=f"token id {size} is not in the tokenizer's vocabulary"):
        two_layers.model.token_strings([5, size])


@pytest.mark.parametrize("damage", ["latents", "indptr", "swapped"])
def test_an_index_that_was_changed_is_found_and_made_again(
    copied: Path, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture, damage: str
):
    """Each latent's values have a checksum; which latent they are of, and where they lie, has one too."""
    path = copied / spec.folder_name / "sae_acts" / "blocks.1.hook_resid_post.safetensors"
    whole = path.read_bytes()
    file = ArrayFile.open(path)
    arrays = {name: file.mapped(name).copy() for name in file.specs}
    if damage == "latents":
        arrays["latents"] = arrays["latents"][::-1]
    elif damage == "indptr":
        arrays["indptr"][1:-1] += 1
    else:
        arrays["latents"][:2] = arrays["latents"][1::-1]
    meta = {name: value for name, value in file.metadata.items() if name != "checksum"}
    write_arrays(path, arrays, meta)
    with pytest.raises(DataFolderError, match="is damaged: its index is wrong"):
        SparseActivations.open(path)
    prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole and "its index is wrong; it is created again" in caplog.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sequence": np.array([0, 9], np.int32)}, "holds invalid activations of latent 0"),
        ({"position": np.array([3, -1], np.int16)}, "holds invalid activations of latent 0"),
        ({"sequence": np.array([1, 0], np.int32)}, "holds invalid activations of latent 0"),
        ({"value": np.array([1.0, np.nan], np.float32)}, "holds invalid activations of latent 0"),
        ({"value": np.array([1.0, -2.0], np.float32)}, "holds invalid activations of latent 0"),
        ({"latents": np.array([7], np.int32)}, "its index is wrong"),
        ({"indptr": np.array([0, 1], np.int64)}, "its index is wrong"),
        ({"indptr": np.array([-1, 2], np.int64)}, "its index is wrong"),
        (
            {"value": np.array([1.0, 2.0], np.float64).astype(np.int32)},
            r"holds 'value' as int32 \[2\]; expected float32",
        ),
        ({"position": np.array([1], np.int16)}, r"holds 'position' as int16 \[1\]; expected int16 \[2\]"),
    ],
)
def test_activations_whose_checksums_are_right_and_whose_numbers_are_not_are_refused(tmp_path: Path, change, told: str):
    arrays = {
        "latents": np.array([0], np.int32),
        "indptr": np.array([0, 2], np.int64),
        "sequence": np.array([0, 1], np.int32),
        "position": np.array([3, 1], np.int16),
        "value": np.array([1.0, 2.0], np.float32),
    } | change
    found = 0
    for name in ("sequence", "position", "value"):
        from featureinterp.dataset.activations.arrays import checksum

        found = checksum(arrays[name], found)
    sizes = {"n_sequences": "4", "length": "5", "n_latents": "3", "source": "x"}
    meta = sizes | index_checksum(arrays["latents"], arrays["indptr"])
    write_arrays(tmp_path / "a", {**arrays, "checksum": np.array([found], np.int64)}, meta)
    with pytest.raises(DataFolderError, match=told):
        SparseActivations.open(tmp_path / "a").latent(0)


def test_a_damaged_file_is_said_to_be_made_again(
    copied: Path, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture
):
    for name in ("sae_acts/blocks.1.hook_resid_post", "similarity_retriever/embeddings"):
        flip(copied / spec.folder_name / f"{name}.safetensors")
    with caplog.at_level(logging.WARNING):
        prepare(replace(spec, latents=tuple(range(992, 1024))), copied, stages=QUICK, subject=two_layers)
    assert "blocks.1.hook_resid_post.safetensors is damaged; it is created again" in caplog.text
    assert "embeddings.safetensors is damaged: its checksum is wrong; it is created again" in caplog.text


def test_what_a_header_claims_beyond_the_file_is_refused(tmp_path: Path):
    path = tmp_path / "tokens.safetensors"
    claims = {
        "cut short": {"tokens": {"dtype": "I32", "shape": [10**13, 33], "data_offsets": [0, 132 * 10**13]}},
        "take 1320000000000000 bytes, and has 16": {
            "tokens": {"dtype": "I32", "shape": [10**13, 33], "data_offsets": [0, 16]}
        },
        "and has -8": {"tokens": {"dtype": "I32", "shape": [2], "data_offsets": [16, 8]}},
        "Expected `int` >= 0": {"tokens": {"dtype": "I32", "shape": [-1, -4], "data_offsets": [0, 16]}},
        "two arrays overlap": {
            "tokens": {"dtype": "I32", "shape": [4], "data_offsets": [0, 16]},
            "documents": {"dtype": "I32", "shape": [2], "data_offsets": [8, 16]},
        },
        "has dtype 'F64'": {"tokens": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}},
        "Expected `str`": {"__metadata__": {"has_bos": True}},
    }
    for told, header in claims.items():
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
        with pytest.raises(DataFolderError, match=told):
            ArrayFile.open(path)
    path.write_bytes((2**21).to_bytes(8, "little") + b" " * 2**21)
    with pytest.raises(DataFolderError, match="a header of 2097152 bytes; the limit is 1048576"):
        ArrayFile.open(path)
    path.write_bytes((60_000).to_bytes(8, "little") + b'{"a":' + b"[" * 60_000)
    with pytest.raises(DataFolderError, match="cannot be read as arrays"):
        ArrayFile.open(path)


def as_before_strata(folder: Path) -> None:
    """Leave what a folder of an older version has: no second file, and no word of one."""
    shutil.rmtree(folder / "more_records")
    for path in (folder / "records").glob("*.latents.json"):
        content = json.loads(path.read_bytes())
        for report in content["data"]["reports"]:
            del report["more_checksum"], report["shortfalls"]
            report["list_sizes"] = {
                name: n for name, n in report["list_sizes"].items() if name not in ("same_token_negative", "corpus")
            }
        path.write_text(json.dumps(content))


def test_a_folder_without_strata_opens_and_gets_them(
    copied: Path, folder: DataFolder, spec: DataSpec, two_layers: Subject, caplog: pytest.LogCaptureFixture
):
    hook, latent = _live(folder)
    as_before_strata(copied / spec.folder_name)
    older, whole = (
        DataFolder.open(copied / spec.folder_name).index_record(hook, latent),
        folder.index_record(hook, latent),
    )
    assert older == replace(whole, same_token_no_act_records=(), corpus_records=(), strata=())
    made = prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert made.index_record(hook, latent) == whole
    assert f"latents of {hook} have records without same-token negatives and strata; they are made again" in caplog.text


@pytest.mark.parametrize("damage", ["flipped", "missing", "of another latent"])
def test_a_damaged_second_file_is_refused_and_made_again(
    copied: Path, folder: DataFolder, spec: DataSpec, two_layers: Subject, damage: str
):
    hook, latent = _live(folder)
    path = copied / spec.folder_name / "more_records" / hook / f"{latent}.json"
    whole = path.read_bytes()
    if damage == "flipped":
        flip(path, whole.index(b"expressions") + 20)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(next(other.read_bytes() for other in path.parent.iterdir() if other != path))
    with pytest.raises(DamagedFeatureError, match=rf"more_records.*{latent}\.json"):
        DataFolder.open(copied / spec.folder_name).index_record(hook, latent)
    prepare(spec, copied, stages=QUICK, subject=two_layers)
    assert path.read_bytes() == whole


def test_the_size_of_the_similarity_query_is_stored(folder: DataFolder, spec: DataSpec):
    assert folder.manifest.stages["records"].counts == {"special_n": 20}
    assert spec.special_n == 20
