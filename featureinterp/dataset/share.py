"""Data folders on Weights & Biases: one artifact of type `dataset` with one archive each.

Project and account are W&B's own settings (`WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_API_KEY`, `WANDB_MODE=offline`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from featureinterp.dataset.archive import SUFFIX, inside, pack, unpack
from featureinterp.dataset.manifest import Manifest
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import SharingError, StorageError

if TYPE_CHECKING:
    from types import ModuleType

PROJECT = "featureinterp"
"""Default project."""

_ARCHIVE = f"data{SUFFIX}"


class _ArtifactManifest(Protocol):
    @property
    def entries(self) -> Mapping[str, object]: ...


class Artifact(Protocol):
    """Interface of a downloaded artifact."""

    @property
    def manifest(self) -> _ArtifactManifest:
        """Its files."""
        ...

    def download(self, root: str) -> str:
        """Download its files into a folder."""
        ...

    def verify(self, root: str) -> None:
        """Verify the files of a folder; ValueError on a mismatch."""
        ...


def prepare_shared(
    spec: DataSpec,
    root: Path,
    *,
    stages: Sequence[str] = (),
    download_wandb: bool = False,
    upload_wandb: bool = False,
    device: str = "auto",
) -> Path:
    """Download a data folder, run stages and upload it, each if requested; returns its path.

    Args:
        spec: content of the folder.
        root: parent of the data folders.
        stages: stages to run; if nothing is requested, the records.
        download_wandb: whether to download the folder first.
        upload_wandb: whether to upload the folder at the end.
        device: a torch device, or `auto`.

    Raises:
        FeatureInterpError: as `prepare`, `download` and `upload` do.
    """
    folder = root / spec.folder_name
    if download_wandb:
        download(folder)
    if stages or not (download_wandb or upload_wandb):
        prepare(spec, root, stages=stages or ["records"], device=device)
    if upload_wandb:
        upload(folder)
    return folder


def upload(folder: Path) -> str:
    """Upload a data folder as an artifact and return its name; offline, it waits for `wandb sync`.

    Raises:
        DataFolderError: if it is not a data folder.
        SharingError: if W&B is not installed, cannot be reached, or rejects the request.
        StorageError: if the archive cannot be written.
    """
    manifest = Manifest.load(folder)
    wandb = _wandb()
    with tempfile.TemporaryDirectory() as place, _told():
        archive = Path(place) / _ARCHIVE
        pack(folder, archive)
        described = {"versions": dict(manifest.versions), "hooks": sorted(manifest.hooks)}
        with wandb.init(project=os.environ.get("WANDB_PROJECT", PROJECT), job_type="upload-data") as run:
            artifact = wandb.Artifact(folder.resolve().name, type="dataset", metadata=described)
            artifact.add_file(str(archive), name=_ARCHIVE)
            run.log_artifact(artifact)
    return artifact.name


def download(folder: Path) -> None:
    """Download the latest artifact of a data folder's name and unpack it.

    Raises:
        SharingError: if W&B is not installed or cannot be reached, has no such artifact, or it is damaged or not safe.
        InputError: if the folder already exists.
        StorageError: if it cannot be written.
    """
    wandb = _wandb()
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with _told():
        found = wandb.Api().artifact(f"{project}/{folder.name}:latest", type="dataset")
        fetch(found, folder)


def fetch(artifact: Artifact, folder: Path) -> None:
    """Download and unpack an artifact, after checking its entries, then its checksums.

    Raises:
        SharingError: if it is not that of a data folder, is damaged, or an entry lies outside its folder.
        InputError: if the folder already exists.
        StorageError: if it cannot be written.
        DataFolderError: if the content is not a data folder; nothing is kept of it.
    """
    entries = artifact.manifest.entries
    for name in entries:
        inside(name, "the artifact")
    if set(entries) != {_ARCHIVE}:
        told = ", ".join(sorted(entries)) or "nothing"
        raise SharingError("the artifact is not a data folder", f"expected {_ARCHIVE}, found {told[:200]}")
    with tempfile.TemporaryDirectory() as place:
        size, free = getattr(entries[_ARCHIVE], "size", None) or 0, shutil.disk_usage(place).free
        if size > free:
            raise StorageError(
                f"the artifact has {size:,} bytes, {place} has room for {free:,}",
                "set TMPDIR to a folder with more space",
            )
        artifact.download(place)
        try:
            artifact.verify(place)
        except ValueError as error:
            raise SharingError(f"the download does not match the artifact: {error}", "download it again") from error
        unpack(Path(place) / _ARCHIVE, folder, Manifest.load)


def _wandb() -> ModuleType:
    try:
        import wandb
    except ImportError as error:
        raise SharingError("W&B is not installed", "pip install featureinterp[wandb]") from error
    return wandb


@contextmanager
def _told() -> Iterator[None]:
    """Convert errors of W&B to a SharingError."""
    errors: Any = _wandb().errors
    try:
        yield
    except errors.AuthenticationError as error:
        raise SharingError(f"W&B has no credentials: {error}", "set WANDB_API_KEY, or `wandb login`") from error
    except errors.UsageError as error:
        raise SharingError(
            f"W&B rejects the request: {error}", "`wandb login`, or WANDB_MODE=offline to sync later"
        ) from error
    except (errors.Error, ConnectionError, TimeoutError) as error:
        hint = "check WANDB_PROJECT, WANDB_ENTITY and the network; WANDB_MODE=offline logs to sync later"
        raise SharingError(f"W&B: {str(error).strip().partition(chr(10))[0]}", hint) from error
