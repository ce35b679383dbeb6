import resource

import numpy as np
import pytest
import torch

from featureinterp.dataset.activations.capture import CaptureParams, capture_activations
from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.layout import Layout
from featureinterp.errors import ActivationError, DataFolderError, InputError, StorageError
from featureinterp.subject.subject import Subject

HOOK = "blocks.1.hook_resid_post"
SMALL = CaptureParams(batch_size=4, shard_sequences=10, max_memory=500 * 48)


@pytest.fixture(scope="module")
def tokens(golden_activations):
    return golden_activations["tokens"][:26, :12]


@pytest.fixture(scope="module")
def dense(tiny_subject, tokens):
    """All activations without BOS, [26, 11, 2048], one plain pass."""
    stream = tiny_subject.model.streams(torch.from_numpy(tokens), [HOOK])[HOOK]
    return tiny_subject.saes[HOOK].encode(stream)[:, 1:].numpy()


@pytest.fixture(scope="module")
def captured_file(tiny_subject, tokens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captured")
    capture_activations(tiny_subject, tokens, True, folder, SMALL)
    return Layout(folder).activations_of(HOOK)


@pytest.fixture(scope="module")
def captured(captured_file):
    return SparseActivations.open(captured_file)


def test_every_latent_reads_back(captured, dense):
    made = np.stack([captured.dense(latent, range(26)) for latent in range(captured.n_latents)], axis=-1)
    np.testing.assert_allclose(made, dense, atol=1e-5, rtol=1e-5)
    assert (captured.n_latents, captured.n_sequences, captured.length) == (2048, 26, 11)


def test_entries_are_sorted_and_above_zero(captured):
    assert (np.diff(captured.indptr) >= 0).all()
    for index in range(0, 2048, 50):
        latent = captured.latent(index)
        keys = latent.sequence.astype(np.int64) * 1000 + latent.position
        assert (np.diff(keys) > 0).all()
        assert (latent.value > 0).all()


def test_maxima_agree_with_dense_arrays(captured, dense):
    for index in range(0, 2048, 97):
        sequences, maxima = captured.latent(index).sequence_maxima()
        largest = dense[:, :, index].max(axis=1)
        np.testing.assert_array_equal(sequences, np.flatnonzero(largest > 0))
        np.testing.assert_allclose(maxima, largest[largest > 0], rtol=1e-5, atol=1e-5)
        assert captured.max_activation(index) == pytest.approx(largest.max(), rel=1e-5, abs=1e-5)


def test_dense_keeps_the_order_asked_for(captured):
    index = int(np.diff(captured.indptr).argmax())
    every = captured.dense(index, range(26))
    np.testing.assert_array_equal(captured.dense(index, [7, 3, 7, 25]), every[[7, 3, 7, 25]])


def test_shards_and_merging_do_not_change_the_file(tiny_subject, tokens, tmp_path, captured):
    capture_activations(tiny_subject, tokens, True, tmp_path, CaptureParams(batch_size=4, shard_sequences=100))
    whole = SparseActivations.open(Layout(tmp_path).activations_of(HOOK))
    for name in ("indptr", "sequence", "position"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(captured, name))
    np.testing.assert_allclose(whole.value, captured.value, rtol=1e-5, atol=1e-5)


def test_one_latent_with_more_than_the_merge_bound(tiny_subject, tokens, tmp_path, captured):
    capture_activations(
        tiny_subject, tokens, True, tmp_path, CaptureParams(batch_size=4, shard_sequences=10, max_memory=1)
    )
    bounded = SparseActivations.open(Layout(tmp_path).activations_of(HOOK))
    for name in ("indptr", "sequence", "position", "value"):
        np.testing.assert_array_equal(getattr(bounded, name), getattr(captured, name))


def test_a_killed_capture_goes_on_and_equals_an_undisturbed_one(tiny_subject, tokens, tmp_path, captured_file):
    class Killed(BaseException):
        pass

    def kill_after_first(done, _total):
        if done == 10:
            raise Killed(done)

    with pytest.raises(Killed):
        capture_activations(tiny_subject, tokens, True, tmp_path, SMALL, kill_after_first)
    shards = sorted(tmp_path.rglob(".shards-*/*.safetensors"))
    assert len(shards) == 1
    assert not Layout(tmp_path).activations_of(HOOK).exists()
    written = shards[0].stat().st_mtime_ns

    seen = []

    def note(done, total):
        seen.append((done, total))
        assert shards[0].stat().st_mtime_ns == written

    capture_activations(tiny_subject, tokens, True, tmp_path, SMALL, note)
    assert seen == [(10, 26), (14, 26), (18, 26), (20, 26), (24, 26), (26, 26)]
    assert Layout(tmp_path).activations_of(HOOK).read_bytes() == captured_file.read_bytes()
    assert not list(tmp_path.rglob(".shards-*"))


def test_a_disk_that_is_full_in_the_middle_of_a_shard(tiny_subject, tokens, tmp_path, captured_file):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done, _total):
        for shard in tmp_path.rglob(".shards-*/*.safetensors"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (shard.stat().st_size // 2, before[1]))

    try:
        with pytest.raises(StorageError, match=r"\.shards-\w+/\d+\.safetensors could not be written"):
            capture_activations(tiny_subject, tokens, True, tmp_path, SMALL, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1  # the first shard, and no half one
    capture_activations(tiny_subject, tokens, True, tmp_path, SMALL)
    assert Layout(tmp_path).activations_of(HOOK).read_bytes() == captured_file.read_bytes()


def damage(path):
    """Turn over the last byte of a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_shard_is_made_again_and_the_others_are_kept(tiny_subject, tokens, tmp_path, captured_file):
    class Killed(BaseException):
        pass

    def kill_late(done, _total):
        if done == 20:
            raise Killed(done)

    with pytest.raises(Killed):
        capture_activations(tiny_subject, tokens, True, tmp_path, SMALL, kill_late)
    first, second = sorted(tmp_path.rglob(".shards-*/*.safetensors"))
    damage(first)
    damaged, written = first.read_bytes(), second.stat().st_mtime_ns

    def look(done, _total):
        if done == 20:
            assert first.read_bytes() != damaged
            assert second.stat().st_mtime_ns == written

    capture_activations(tiny_subject, tokens, True, tmp_path, SMALL, look)
    assert Layout(tmp_path).activations_of(HOOK).read_bytes() == captured_file.read_bytes()


def test_damaged_activations_are_told_when_read_and_made_again_when_asked_for(
    tiny_subject, tokens, tmp_path, captured_file
):
    path = Layout(tmp_path).activations_of(HOOK)
    path.parent.mkdir()
    path.write_bytes(captured_file.read_bytes())
    opened = SparseActivations.open(path)
    last = int(np.flatnonzero(np.diff(opened.indptr))[-1])
    with path.open("r+b") as file:  # the last of the int16 positions, which are the last array
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(DataFolderError, match=f"the checksum of latent {last} is wrong"):
        SparseActivations.open(path).latent(last)
    SparseActivations.open(path).latent(last - 1)
    capture_activations(tiny_subject, tokens, True, tmp_path, SMALL)
    assert path.read_bytes() == captured_file.read_bytes()


def test_of_a_large_sae_only_the_asked_latents_are_captured_and_more_can_be_asked_for(
    tiny_subject, tokens, tmp_path, captured, monkeypatch
):
    monkeypatch.setattr("featureinterp.dataset.activations.capture.SMALL_SAE", 2047)
    encoded = []
    encode = type(tiny_subject.saes[HOOK]).encode

    def counting(sae, residual, latents=None):
        encoded.append(latents)
        return encode(sae, residual, latents)

    monkeypatch.setattr(type(tiny_subject.saes[HOOK]), "encode", counting)
    few, more = [3, 9, 1999], list(range(0, 2048, 31))

    def capture(folder, latents):
        params = CaptureParams({HOOK: latents}, batch_size=4, shard_sequences=10)
        capture_activations(tiny_subject, tokens, True, folder, params)
        return Layout(folder).activations_of(HOOK)

    path = capture(tmp_path, few)
    assert all(set(latents) == set(few) for latents in encoded)
    made = SparseActivations.open(path)
    assert made.latents.tolist() == few and made.n_latents == 2048
    for latent in few:
        np.testing.assert_allclose(
            made.dense(latent, range(26)), captured.dense(latent, range(26)), rtol=1e-5, atol=1e-5
        )
    with pytest.raises(InputError, match="latent 4 was not captured"):
        made.latent(4)
    capture(tmp_path, more)
    at_once = capture(tmp_path / "once", sorted({*few, *more}))
    assert path.read_bytes() == at_once.read_bytes(), "what was asked for first must not show"
    again = SparseActivations.open(path)
    for latent in few:
        np.testing.assert_array_equal(again.latent(latent).value, made.latent(latent).value)
    encoded.clear()
    capture(tmp_path, few)
    assert encoded == []


def test_a_finished_capture_is_left_and_another_corpus_replaces_it(tiny_subject, tokens, tmp_path):
    path = Layout(tmp_path).activations_of(HOOK)
    capture_activations(tiny_subject, tokens[:8], True, tmp_path, SMALL)
    first = path.stat().st_mtime_ns
    capture_activations(tiny_subject, tokens[:8], True, tmp_path, SMALL)
    assert path.stat().st_mtime_ns == first
    capture_activations(tiny_subject, tokens[8:12], True, tmp_path, SMALL)
    assert SparseActivations.open(path).n_sequences == 4


def test_a_value_does_not_depend_on_its_batch(tiny_subject, tokens, tmp_path, captured):
    order = np.random.default_rng(0).permutation(26)
    capture_activations(tiny_subject, tokens[order], True, tmp_path, CaptureParams(batch_size=7))
    shuffled = SparseActivations.open(Layout(tmp_path).activations_of(HOOK))
    for index in range(0, 2048, 61):
        made, wanted = shuffled.dense(index, range(26)), captured.dense(index, order)
        np.testing.assert_allclose(made, wanted, atol=1e-5, rtol=1e-5)


def test_without_bos_every_column_counts(tiny_subject, tokens, tmp_path):
    rows = tokens[:5, 1:]
    capture_activations(tiny_subject, rows, False, tmp_path, SMALL)
    captured = SparseActivations.open(Layout(tmp_path).activations_of(HOOK))
    stream = tiny_subject.model.streams(torch.from_numpy(rows), [HOOK])[HOOK]
    wanted = tiny_subject.saes[HOOK].encode(stream, [3, 4]).numpy()
    assert captured.length == rows.shape[1]
    for column, latent in enumerate((3, 4)):
        np.testing.assert_allclose(captured.dense(latent, range(5)), wanted[..., column], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_name_hook_and_sequence(tiny_subject, tokens, tmp_path, bad):
    class Broken:
        name, max_length = "broken", 128

        def fingerprint(self):
            return "broken"

        def streams(self, tokens, hook_names):
            streams = {HOOK: tiny_subject.model.streams(tokens, hook_names)[HOOK].clone()}
            streams[HOOK][tokens[:, 1] == int(marked[1]), 3, 0] = bad
            return streams

    marked = tokens[13]
    first = int(np.flatnonzero(tokens[:, 1] == marked[1])[0])
    subject = Subject.__new__(Subject)
    object.__setattr__(subject, "model", Broken())
    object.__setattr__(subject, "saes", tiny_subject.saes)
    with pytest.raises(ActivationError, match=f"{HOOK} is NaN or infinite in sequence {first}"):
        capture_activations(subject, tokens, True, tmp_path, SMALL)
    assert not Layout(tmp_path).activations_of(HOOK).exists()


def test_sequences_longer_than_the_model_takes_are_told(tiny_subject, tmp_path):
    with pytest.raises(InputError, match="200 tokens; the context of model '.*gpt2-tiny' is 128"):
        capture_activations(tiny_subject, np.zeros((2, 200), np.int32), False, tmp_path)


def test_missing_files_and_latents_are_told(captured, tmp_path):
    with pytest.raises(DataFolderError):
        SparseActivations.open(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match="latent 2048 does not exist"):
        captured.latent(2048)
