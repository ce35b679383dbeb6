"""A small corpus and the shipped subject, opened once."""

from __future__ import annotations

from pydoc_data.topics import topics

import pytest

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.subject.subject import Subject, open_subject


@pytest.fixture(scope="session")
def two_layers() -> Subject:
    """The shipped model with the SAEs of its first two layers."""
    return open_subject("embedded", "embedded", layers="0,1", device="cpu")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text file with the blocks of some pages of the language reference."""
    path = tmp_path_factory.mktemp("corpus") / "reference.txt"
    path.write_text("\n\n".join(topics[name] for name in sorted(topics)[:12]), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def spec(corpus: str) -> DataSpec:
    return DataSpec(
        dataset_name=corpus,
        max_dataset_size=150,
        max_seq_length=16,
        layers="0,1",
        max_features=12,
        top_sample_n=9,
        complementary_sample_n=9,
        special_n=20,
    )


@pytest.fixture(scope="session")
def folder(spec: DataSpec, two_layers: Subject, tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """The data folder of the small corpus, without holistic activations."""
    root = tmp_path_factory.mktemp("data")
    return prepare(spec, root, stages=["sae_acts", "records"], subject=two_layers)
