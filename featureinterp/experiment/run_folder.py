"""Data folder of a finished run: where it is, and whether it still holds the run's records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featureinterp.dataset.manifest import Manifest
from featureinterp.errors import DataFolderError
from featureinterp.experiment.configuration import differences
from featureinterp.experiment.explain import DATA_FOLDER


def data_folder_of(run: Path, about: Mapping[str, str]) -> Path | None:
    """Return the data folder that a run's metadata name; None where they name none."""
    named = about.get(DATA_FOLDER)
    return run / named if named else None


def check_data_folder(folder: Path | None, configuration: Mapping[str, Any], remedy: str) -> Manifest:
    """Return the manifest of a run's data folder, without opening anything large.

    Args:
        folder: the folder; None if unknown.
        configuration: configuration of the run.
        remedy: hint of the errors.

    Raises:
        DataFolderError: if the data folder does not exist, or the run was made from another.
    """
    if folder is None:
        raise DataFolderError("the run does not record its data folder, which names the model and the SAEs", remedy)
    if not Manifest.exists(folder):
        lacks = "has no manifest" if folder.is_dir() else "is not there"
        problem = f"the run's data folder {folder} {lacks}, and only its manifest names the model and the SAEs"
        raise DataFolderError(problem, remedy)
    manifest = Manifest.load(folder)
    records = manifest.stages.get("records")
    changed = ", ".join(differences(dict(records.settings) if records else {}, configuration.get("data", {})))
    if changed:
        raise DataFolderError(f"the run was made from other records than those in {folder}: {changed}", remedy)
    return manifest
