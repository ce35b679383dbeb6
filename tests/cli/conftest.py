"""The tiny world of `tests.cli.tiny`, made once, with a data folder and a run of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.tiny import N_LAYERS, TinyWorld, run_command, write_corpus, write_model, write_sae


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    folder = tmp_path_factory.mktemp("tiny")
    world = TinyWorld(folder / "model", folder / "saes", folder / "corpus.jsonl")
    write_corpus(world.corpus, 300)
    write_model(world.model, world.corpus)
    for layer in range(N_LAYERS):
        write_sae(world.saes / f"layer_{layer}", layer)
    return world


@pytest.fixture(scope="session")
def cli():
    return run_command


@pytest.fixture(scope="session")
def data(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with twelve latents of each layer, small enough that some are dead and some rare."""
    root = tmp_path_factory.mktemp("data")
    samples = ("--top-sample-n", 12, "--complementary-sample-n", 9, "--max-features", 12)
    made = run_command("records", "--out", root, *tiny.options(), *samples)
    assert made.code == 0, made.err
    return root / "corpus_model"


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over every latent of the data folder, dead and rare ones too."""
    folder = tmp_path_factory.mktemp("runs") / "all"
    made = run_command("explain", data, "--out", folder, "--depth", 1)
    assert made.code == 0, made.err
    return folder


@pytest.fixture(scope="session")
def rich(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with enough sentences, and with what causes activations."""
    root = tmp_path_factory.mktemp("rich")
    stages = ("--write-sae-acts", "--write-holistic-acts", "--write-records")
    sizes = ("--top-sample-n", 30, "--complementary-sample-n", 30, "--max-features", 8)
    made = run_command("records", "--out", root, *tiny.options(), *sizes, *stages)
    assert made.code == 0, made.err
    return root / "corpus_model"
