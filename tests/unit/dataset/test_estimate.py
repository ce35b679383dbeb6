from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from featureinterp.dataset import estimate as module
from featureinterp.dataset.estimate import estimate
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.subject.subject import Subject

T = 16


@pytest.fixture(scope="module")
def few(spec: DataSpec) -> DataSpec:
    return replace(spec, max_features=4)


@pytest.fixture(scope="module")
def made(few: DataSpec, two_layers: Subject, tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return prepare(few, tmp_path_factory.mktemp("made"), stages=["records"], subject=two_layers)


def n_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_an_estimate_counts_what_is_run_and_written(few: DataSpec, two_layers: Subject, made: DataFolder):
    found = estimate(few, ["sae_acts", "records"], two_layers)
    costs = {cost.stage: cost for cost in found.stages}
    assert [*costs] == ["tokens", "sae_acts", "similarity_retriever", "records"]
    assert (found.sequences, found.is_bound, found.latents) == (150, False, 8)
    columns = T + int(two_layers.prepend_bos)
    assert (costs["sae_acts"].passes, costs["sae_acts"].tokens) == (150, 150 * columns)
    width, n_latents = two_layers.model.width, two_layers.saes["blocks.0.hook_resid_post"].n_latents
    # two blocks of 12·width² weights, attention over all pairs of columns, and two encoders
    per_token = 2 * (2 * 12 * width**2) + 2 * 4 * columns * width + 2 * 2 * width * n_latents
    assert costs["sae_acts"].flops == pytest.approx(150 * columns * per_token, rel=0.05)
    assert costs["sae_acts"].disk_bytes == pytest.approx(n_bytes(made.path / "sae_acts"), rel=0.3)
    assert costs["tokens"].disk_bytes == pytest.approx((made.path / "tokens.safetensors").stat().st_size, rel=0.1)
    assert costs["similarity_retriever"].disk_bytes == pytest.approx(
        n_bytes(made.path / "similarity_retriever"), rel=0.1
    )
    assert n_bytes(made.path / "records") < 1.2 * costs["records"].disk_bytes
    assert all(cost.seconds > 0 for stage, cost in costs.items() if stage != "tokens")
    assert found.total.disk_bytes == sum(cost.disk_bytes for cost in found.stages)
    assert found.total.passes == 150
    assert found.memory_bytes > few.max_memory


def test_causes_cost_a_shortened_pass_per_token(few: DataSpec, two_layers: Subject):
    part = estimate(few, ["holistic_acts"], two_layers).stages[-1]
    whole = estimate(replace(few, holistic_scope="corpus"), ["holistic_acts"], two_layers).stages[-1]
    assert (part.stage, part.passes) == ("holistic_acts", 150 * T), "eight latents may want every window"
    one = replace(few, max_features=1, top_sample_n=3, complementary_sample_n=1)
    of_a_latent = 2 * 3 + 6  # positives and weakly active windows, and a window of each source
    assert estimate(one, ["holistic_acts"], two_layers).stages[-1].passes == 2 * of_a_latent * T
    columns = T + int(two_layers.prepend_bos)
    assert whole.tokens == 150 * (columns + T * (T - 1) // 2)
    assert whole.flops > 150 * T * (T - 1) / 2 * 2 * (2 * 12 * two_layers.model.width**2)


def test_a_corpus_that_takes_long_to_read_is_bounded(
    few: DataSpec, two_layers: Subject, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "READING_SECONDS", 0.0)
    monkeypatch.setattr(module, "_LEAST_DOCUMENTS", 60)
    found = estimate(replace(few, max_dataset_size=10_000), ["sae_acts"], two_layers)
    assert found.is_bound and found.sequences == 10_000
