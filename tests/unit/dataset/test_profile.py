"""Profiles against counts and products made here; older folders get theirs; none depends on the other latents."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.dataset.activations.latent_stats import BINS_PER_LEVEL, N_BINS, histogram
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError
from featureinterp.formatting import discretise
from featureinterp.subject.subject import Subject

QUICK = ["sae_acts", "records"]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50))
def test_the_histogram_counts_every_activation_in_its_level(values: list[float]):
    counts = histogram(np.array(values, np.float32))
    maximum = float(max(np.float32(v) for v in values))
    levels = np.bincount(np.minimum(discretise([float(np.float32(v)) for v in values], maximum), 4), minlength=5)
    assert np.array(counts).reshape(5, BINS_PER_LEVEL).sum(axis=1).tolist() == levels.tolist()


def test_a_latent_that_never_fires_has_an_empty_histogram():
    assert histogram(np.array([], np.float32)) == (0,) * N_BINS


def test_a_profile_counts_the_corpus_and_reads_the_models_own_head(folder: DataFolder, two_layers: Subject):
    model = two_layers.model.language_model
    norm, head = model.transformer.ln_f, model.lm_head.weight.detach().double()
    for hook in folder.hook_names:
        profiles = folder.profiles(hook)
        assert set(profiles) == set(folder.latents(hook))
        for latent, profile in profiles.items():
            dense = folder.activations(hook).dense(latent, range(len(folder.windows())))
            assert profile.n_tokens == dense.size
            assert profile.share_active == (dense > 0).mean()
            top = float(dense.max()) or 1.0
            counts = [0] * N_BINS
            for value in dense[dense > 0].tolist():
                counts[min(math.floor(N_BINS * (value / top)), N_BINS - 1)] += 1
            assert np.abs(np.cumsum(counts) - np.cumsum(profile.histogram)).max() <= 1  # a value on a border may round
            direction = two_layers.saes[hook]._sae.W_dec[latent].detach().double()
            logits = head @ ((direction - direction.mean()) * norm.weight.detach().double())
            logits -= logits.mean()
            order = torch.argsort(logits, descending=True)
            for tokens, ids in ((profile.promoted, order[:10]), (profile.suppressed, order.flip(0)[:10])):
                assert [token.logit for token in tokens] == pytest.approx(logits[ids].tolist(), abs=1e-3)
                assert {token.text for token in tokens[:9]} <= set(two_layers.model.token_strings(ids.tolist()))
            assert profile.reason == ""


def test_an_older_folder_gets_the_same_profiles_and_keeps_all_else(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path
):
    older = tmp_path / folder.path.name
    shutil.copytree(folder.path, older)
    for path in (older / "records").glob("*.profiles.json"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in older.rglob("*.json") if path.name != "manifest.json"}
    opened = DataFolder.open(older)
    assert all(opened.profiles(hook) == {} for hook in opened.hook_names)
    prepare(spec, tmp_path, stages=QUICK, subject=two_layers)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for path in (folder.path / "records").glob("*.profiles.json"):
        assert (older / "records" / path.name).read_bytes() == path.read_bytes()


def test_no_profile_depends_on_the_other_latents(
    folder: DataFolder, spec: DataSpec, two_layers: Subject, tmp_path: Path
):
    hook = folder.hook_names[0]
    wanted = folder.latents(hook)[3]
    alone = replace(spec, max_features=None, latents=(wanted,))
    made = prepare(alone, tmp_path, stages=QUICK, subject=two_layers)
    assert made.profiles(hook)[wanted] == folder.profiles(hook)[wanted]


def test_a_damaged_file_is_told(folder: DataFolder, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(folder.path, copy)
    hook = folder.hook_names[0]
    (copy / "records" / f"{hook}.profiles.json").write_text("{")
    with pytest.raises(DataFolderError, match=r"profiles\.json cannot be read"):
        DataFolder.open(copy).profiles(hook)
