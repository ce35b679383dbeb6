"""Manifest of a data folder: settings and inputs, compared with the requested ones.

`manifest.json` records for each stage the settings that determine its output, including earlier stages. A stage's
entry is written before its first file, so an interrupted stage resumes only with the same settings. A stage
whose files were deleted accepts any settings.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from featureinterp.codec import check_address, decode, encode
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError
from featureinterp.files import atomic_write, read_file
from featureinterp.subject.names import layer_of

FILE_NAME = "manifest.json"
IMPORTED = "imported"
"""Setting that marks stages of imported data."""

Setting = str | int | bool | None
_PACKAGES = ("featureinterp", "numpy", "torch", "transformers", "sae-lens", "sentence-transformers")


@dataclass(frozen=True)
class HookEntry:
    """An SAE of the folder."""

    layer: int
    n_latents: int
    fingerprint: str
    """Hash of the SAE's configuration and weights."""


@dataclass(frozen=True)
class StageEntry:
    """Settings and counts of a started stage."""

    settings: Mapping[str, Setting]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    spec: DataSpec
    """Specification of the last request."""
    versions: Mapping[str, str]
    """Versions of Python and of the relevant packages at the last write."""
    hooks: Mapping[str, HookEntry] = field(default_factory=dict)
    """Entries by hook name."""
    stages: Mapping[str, StageEntry] = field(default_factory=dict)
    """Entries by name of the stage."""
    n_layers: int = 0
    """Number of layers of the whole model; 0 if unknown, as for imported data."""

    def save(self, folder: Path) -> None:
        """Write the manifest into a data folder.

        Raises:
            StorageError: if it cannot be written.
        """
        atomic_write(folder / FILE_NAME, msgspec.json.format(encode(self), indent=1) + b"\n")

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a folder has a manifest."""
        return (folder / FILE_NAME).exists()

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a data folder.

        Raises:
            DataFolderError: if it is missing, damaged, or of another version.
        """
        path = folder / FILE_NAME
        try:
            encoded = read_file(path)
        except FileNotFoundError as error:
            raise DataFolderError(
                f"{folder} is not a data folder: it has no {FILE_NAME}", "`featureinterp records` makes one"
            ) from error
        manifest = decode(encoded, cls, str(path))
        for hook, entry in manifest.hooks.items():
            check_address(f"the entry of {hook} in {path}", layer=(entry.layer, layer_of(hook)))
        return manifest

    def with_stage(self, name: str, entry: StageEntry) -> Manifest:
        """Return a copy with one stage's entry set."""
        return replace(self, stages={**self.stages, name: entry})

    def check_stage(self, folder: Path, name: str, settings: Mapping[str, Setting], outputs: Path) -> None:
        """Compare a stage's settings with the requested ones.

        Args:
            folder: the data folder.
            name: the stage.
            settings: requested settings.
            outputs: output file or folder of the stage; if it is missing, nothing is compared.

        Raises:
            DataFolderError: if a setting differs, or the settings of existing files are not recorded.
        """
        if not outputs.exists():
            return
        remedy = f"choose another folder, or delete {outputs} to make it again"
        if name not in self.stages:
            raise DataFolderError(f"{folder / FILE_NAME} does not record how {outputs} was made", remedy)
        made = self.stages[name].settings
        if IMPORTED in made:
            raise DataFolderError(f"{outputs} was imported and cannot be extended", "choose another folder")
        differing = [key for key in settings if made.get(key) != settings[key]]
        if differing:
            told = ", ".join(
                f"{key} is {_show(made.get(key))} there and {_show(settings[key])} here" for key in differing
            )
            raise DataFolderError(f"{outputs} was made with other settings: {told}", remedy)


def current_versions() -> dict[str, str]:
    """Return the versions of Python and of packages that affect the numbers."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a source tree that was never installed
            versions[package] = "unknown"
    return versions


def _show(value: Setting) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:20]}…"
