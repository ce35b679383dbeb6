import numpy as np
import pytest
import torch

from featureinterp.dataset.activations.attribution import capture_holistic, holistic_activations
from featureinterp.dataset.activations.store import HolisticActivations
from featureinterp.dataset.layout import Layout
from featureinterp.errors import DataFolderError, InputError

HOOK = "blocks.1.hook_resid_post"
LATENTS = [0, 7, 19, 1000]


def brute_force(subject, hook, row, has_bos, latents):
    """h[t] = 1/(T-1) * sum over u != t of (a[u] - a without t [u]), one plain pass per deletion."""

    def activations(tokens):
        stream = subject.model.streams(torch.tensor([tokens]), [hook])[hook]
        return subject.saes[hook].encode(stream)[0, int(has_bos) :, latents].double().numpy()

    tokens, clean = row.tolist(), activations(row.tolist())
    length = len(clean)
    made = np.zeros((length, len(latents)))
    for t in range(length):
        column = t + int(has_bos)
        without = activations(tokens[:column] + tokens[column + 1 :])
        for u in range(length):
            if u != t:
                made[t] += clean[u] - without[u if u < t else u - 1]
    return made / (length - 1)


@pytest.mark.parametrize("has_bos", [True, False])
def test_equals_brute_force(tiny_subject, golden_activations, has_bos):
    tokens = golden_activations["tokens"][20:24, int(not has_bos) : 11]
    made = holistic_activations(tiny_subject, tokens, has_bos, {HOOK: LATENTS})[HOOK]
    wanted = np.stack([brute_force(tiny_subject, HOOK, row, has_bos, LATENTS) for row in tokens])
    assert np.abs(wanted).max() > 1e-2
    np.testing.assert_allclose(made, wanted, atol=2e-5)
    assert (made[:, -1] == 0).all()


def test_topk_on_several_hooks_equals_brute_force(embedded_subject):
    text = "Return the sum of a list of numbers, or raise a ValueError if it is empty."
    row = np.array([embedded_subject.model.bos_token_id, *embedded_subject.model.tokenize([text])[0][:9]], np.int32)
    hooks = ["blocks.0.hook_resid_post", "blocks.3.hook_resid_post"]
    streams = embedded_subject.model.streams(torch.from_numpy(row[None]), hooks)
    latents = {}
    for hook in hooks:
        mean = embedded_subject.saes[hook].encode(streams[hook][:, 1:]).mean(dim=(0, 1))
        latents[hook] = mean.topk(3).indices.tolist()
    made = holistic_activations(embedded_subject, row[None], True, latents)
    for hook in hooks:
        wanted = brute_force(embedded_subject, hook, row, True, latents[hook])
        np.testing.assert_allclose(made[hook][0], wanted, atol=1e-4)


@pytest.fixture
def wanted():
    return {HOOK: {7: [9, 2, 70, 2], 0: [2], 1000: range(64, 72)}}


def test_pairs_read_back(tiny_subject, golden_activations, wanted, tmp_path):
    tokens = golden_activations["tokens"][:80, :8]
    seen = []
    capture_holistic(tiny_subject, tokens, True, wanted, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(10, 10)]
    captured = HolisticActivations.open(Layout(tmp_path).holistic_of(HOOK))
    for latent, sequences in wanted[HOOK].items():
        direct = holistic_activations(tiny_subject, tokens[list(sequences)], True, {HOOK: [latent]})[HOOK][..., 0]
        np.testing.assert_allclose(captured.dense(latent, list(sequences)), direct, atol=1e-5)
        assert captured.max_activation(latent) == pytest.approx(max(0.0, float(direct.max())), abs=1e-5)
    assert captured.latent(7)[0].tolist() == [2, 9, 70]
    assert captured.latent(8)[1].shape == (0, 7)
    with pytest.raises(InputError, match="latent 7 was not measured on sequence 3"):
        captured.dense(7, [2, 3])


def test_a_killed_capture_goes_on_and_equals_an_undisturbed_one(
    tiny_subject, golden_activations, wanted, tmp_path, monkeypatch
):
    monkeypatch.setattr("featureinterp.dataset.activations.attribution.SHARD_SEQUENCES", 4)
    tokens = golden_activations["tokens"][:80, :8]

    class Killed(BaseException):
        pass

    def kill(done, _total):
        raise Killed(done)

    with pytest.raises(Killed):
        capture_holistic(tiny_subject, tokens, True, wanted, tmp_path / "killed", kill)
    (shard,) = (tmp_path / "killed").rglob(".shards-*/*.safetensors")
    written = shard.stat().st_mtime_ns
    capture_holistic(
        tiny_subject,
        tokens,
        True,
        wanted,
        tmp_path / "killed",
        lambda *_: shard.stat().st_mtime_ns == written or kill(0, 0),
    )
    capture_holistic(tiny_subject, tokens, True, wanted, tmp_path / "whole")
    killed, whole = (Layout(tmp_path / name).holistic_of(HOOK).read_bytes() for name in ("killed", "whole"))
    assert killed == whole
    assert not list(tmp_path.rglob(".shards-*"))


def test_the_whole_corpus_keeps_what_is_caused_and_reads_zero_elsewhere(tiny_subject, golden_activations, tmp_path):
    tokens = golden_activations["tokens"][:70, :8]
    capture_holistic(tiny_subject, tokens, True, {HOOK: {7: range(70), 1000: np.arange(70)}}, tmp_path)
    captured = HolisticActivations.open(Layout(tmp_path).holistic_of(HOOK))
    direct = holistic_activations(tiny_subject, tokens, True, {HOOK: [7, 1000]})[HOOK]
    for column, latent in enumerate((7, 1000)):
        np.testing.assert_allclose(captured.dense(latent, range(70)), direct[..., column], atol=1e-5)
        kept = captured.latent(latent)[0].tolist()
        assert kept == np.flatnonzero(direct[..., column].any(axis=1)).tolist()
        assert len(kept) < 70
    with pytest.raises(InputError, match="latent 8 was not measured on sequence 0"):
        captured.dense(8, [0])


def test_damaged_holistic_activations_are_made_again(tiny_subject, golden_activations, wanted, tmp_path):
    tokens, path = golden_activations["tokens"][:80, :8], Layout(tmp_path).holistic_of(HOOK)
    capture_holistic(tiny_subject, tokens, True, wanted, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataFolderError, match="the checksum of latent 1000 is wrong"):
        HolisticActivations.open(path).dense(1000, [71])
    capture_holistic(tiny_subject, tokens, True, wanted, tmp_path)
    assert path.read_bytes() == whole


def test_a_hook_without_live_latents_gets_an_empty_file(tiny_subject, golden_activations, tmp_path):
    tokens = golden_activations["tokens"][:10, :8]
    capture_holistic(tiny_subject, tokens, True, {HOOK: {}}, tmp_path)
    captured = HolisticActivations.open(Layout(tmp_path).holistic_of(HOOK))
    assert captured.latents.size == 0 and not captured.whole_corpus and captured.is_intact()
