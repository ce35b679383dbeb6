"""Complementary sources of other packages: their windows become records, and every explanation is tested on them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.records.own_source import LatentOnCorpus
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError, InputError
from featureinterp.experiment.method.methods import Methods, Models
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.record import ComplementaryRecordSource, Split
from featureinterp.subject.subject import Subject

PAGE = (Path(__file__).resolve().parents[3] / "docs/extending.md").read_text()
PARAMS = FeatureRunParams(3, 3)


@pytest.fixture(scope="module")
def source() -> Iterator[ModuleType]:
    """The source of the documentation as a module that can be imported, and some faulty ones."""
    module = ModuleType("other_case")
    exec(re.findall(r"`other_case.py`:\n\n```python\n(.*?)^```", PAGE, re.S | re.M)[0], module.__dict__)  # noqa: S102
    module.__dict__.update(
        too_far=lambda latent: [len(latent.tokens)],
        text=lambda _: ["a"],
        none=lambda _: [],
        nothing=lambda _: None,
        seen=[],
        any_window=any_window,
    )
    sys.modules["other_case"] = module
    yield module
    del sys.modules["other_case"]


def any_window(latent: LatentOnCorpus) -> list[int]:
    return latent.random.permutation(len(latent.tokens)).tolist()


def made(spec: DataSpec, root: Path, two_layers: Subject, name: str) -> DataFolder:
    named = replace(spec, own_source=f"other_case:{name}")
    return prepare(named, root, stages=["sae_acts", "records"], subject=two_layers)


def test_windows_of_a_source_are_silent_records_apart_from_other_splits(
    spec: DataSpec, tmp_path: Path, two_layers: Subject, source: ModuleType, folder: DataFolder
):
    own, n_found = made(spec, tmp_path, two_layers, "other_case"), 0
    for hook in own.hook_names:
        for latent in (n for n, report in own.latent_report(hook).items() if report.status == "ok"):
            record, plain = own.index_record(hook, latent), folder.index_record(hook, latent)
            assert replace(record, other_records=()) == plain, "the other lists are as they were"
            assert own.latent_report(hook)[latent].list_sizes["other"] == len(record.other_records)
            n_found += len(record.other_records)
            train = [one for one in record.most_act_records[Split.TRAIN :: 3]]
            peaks = {one.tokens[int(np.argmax(one.expressions))] for one in train}
            for one in record.other_records:
                assert one.source is ComplementaryRecordSource.OTHER
                assert not one.is_active
                assert {token.lower() for token in one.tokens if token not in peaks} & {p.lower() for p in peaks}
    assert n_found


def test_every_explanation_is_tested_on_them(spec: DataSpec, tmp_path: Path, two_layers: Subject, source: ModuleType):
    own = made(spec, tmp_path, two_layers, "any_window")
    hook = own.hook_names[0]
    latent = next(n for n, report in own.latent_report(hook).items() if report.status == "ok")
    record = own.index_record(hook, latent)
    assert len(record.other_records) == 9
    documents = own.windows().documents
    by_split = [{int(documents[one.dataset_index]) for one in record.other_records[split::3]} for split in range(3)]
    by_split = [
        found | {int(documents[one.dataset_index]) for one in record.most_act_records[split::3]}
        for split, found in enumerate(by_split)
    ]
    assert not by_split[0] & by_split[1] and not by_split[1] & by_split[2] and not by_split[0] & by_split[2]
    result = asyncio.run(
        explain_feature(record, FeatureKey(hook, 0, latent), Methods(MethodSpec(), Models()).make(), PARAMS)
    )
    assert "other" in result.scores
    tested = [one for one in result.test_sequences if one.record.source is ComplementaryRecordSource.OTHER]
    assert len(tested) == 3


def test_another_source_is_another_folder(spec: DataSpec, tmp_path: Path, two_layers: Subject, source: ModuleType):
    made(spec, tmp_path, two_layers, "none")
    with pytest.raises(DataFolderError, match="own_source"):
        made(spec, tmp_path, two_layers, "any_window")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("too_far", "150, which is no window"),
        ("text", "'a', which is no window"),
        ("nothing", "gives no windows"),
        ("seen", "is list"),
    ],
)
def test_what_gives_no_windows_is_refused(name, words, spec: DataSpec, tmp_path: Path, two_layers, source: ModuleType):
    with pytest.raises(InputError, match=words):
        made(spec, tmp_path, two_layers, name)


def test_an_unknown_source_is_refused_before_work_begins(spec: DataSpec, tmp_path: Path):
    with pytest.raises(InputError, match="no source 'nowhere:at_all'"):
        prepare(replace(spec, own_source="nowhere:at_all"), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_folder_is_read_where_its_source_is_not_installed(
    spec: DataSpec, tmp_path: Path, two_layers: Subject, source: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    own = made(spec, tmp_path, two_layers, "any_window")
    monkeypatch.delitem(sys.modules, "other_case")
    assert DataFolder.open(own.path).manifest.spec.own_source == "other_case:any_window"
