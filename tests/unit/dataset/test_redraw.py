"""Records drawn again: the folder's own with its own seed, others with another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.manifest import StageEntry
from featureinterp.dataset.records.redraw import RedrawnRecords
from featureinterp.errors import InputError
from featureinterp.experiment.run import FeatureRunParams


def test_records_drawn_with_the_seed_of_the_folder_are_its_own(folder: DataFolder) -> None:
    own, other = (RedrawnRecords(folder, folder.manifest.spec.seed + k) for k in (0, 1))
    live = [(h, n) for h in folder.hook_names for n, report in folder.latent_report(h).items() if report.status == "ok"]
    assert len(live) > 4
    moved = 0
    for hook, latent in live:
        there, drawn = folder.index_record(hook, latent), other.record(hook, latent)
        assert own.record(hook, latent) == there
        assert drawn.id == there.id and drawn.max_expression == there.max_expression
        drawn.splits(FeatureRunParams())  # no window is in two splits
        moved += drawn.random_records != there.random_records
    assert moved == len(live)
    dead = next((h, n) for h in folder.hook_names for n, r in folder.latent_report(h).items() if r.status != "ok")
    with pytest.raises(InputError, match="is (dead|rare): it "):
        other.record(*dead)


def test_records_of_imported_data_cannot_be_drawn_again(folder: DataFolder) -> None:
    imported = folder.manifest.with_stage("records", StageEntry({"imported": "delphi"}))
    with pytest.raises(InputError, match="cannot be drawn again"):
        RedrawnRecords(replace(folder, manifest=imported), 1)
