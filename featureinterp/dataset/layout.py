"""Where a data folder keeps what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featureinterp.codec import decode
from featureinterp.dataset.activations.attribution import holistic_path
from featureinterp.dataset.activations.capture import activations_path
from featureinterp.dataset.records.build import LatentReport
from featureinterp.files import read_file


@dataclass(frozen=True)
class LatentTable:
    """What is known of the latents of one hook that were looked at."""

    reports: tuple[LatentReport, ...]
    """By latent, ascending."""


@dataclass(frozen=True)
class Layout:
    """The paths of a data folder."""

    folder: Path

    @property
    def tokens(self) -> Path:
        """The windows."""
        return self.folder / "tokens.safetensors"

    @property
    def activations(self) -> Path:
        """Folder of the activations, a file per hook."""
        return self.folder / "sae_acts"

    def activations_of(self, hook_name: str) -> Path:
        """Return the path of one hook's activations."""
        return activations_path(self.folder, hook_name)

    @property
    def holistic(self) -> Path:
        """Folder of the holistic activations, a file per hook."""
        return self.folder / "holistic_acts"

    def holistic_of(self, hook_name: str) -> Path:
        """Return the path of one hook's holistic activations."""
        return holistic_path(self.folder, hook_name)

    @property
    def embeddings(self) -> Path:
        """The embedding of every window."""
        return self.folder / "similarity_retriever" / "embeddings.safetensors"

    @property
    def index(self) -> Path:
        """The approximate index of the embeddings."""
        return self.folder / "similarity_retriever" / "index.faiss"

    @property
    def recall(self) -> Path:
        """How much of the exact ranking the approximate index finds."""
        return self.folder / "similarity_retriever" / "recall.json"

    @property
    def records(self) -> Path:
        """Folder of the records."""
        return self.folder / "records"

    def record(self, hook_name: str, latent: int) -> Path:
        """Return the path of one latent's records."""
        return self.records / hook_name / f"{latent}.json"

    def latents(self, hook_name: str) -> Path:
        """Return the path of what is known of a hook's latents, beside the folder of their records."""
        return self.records / f"{hook_name}.latents.json"

    def profiles(self, hook_name: str) -> Path:
        """Return the path of the profiles of a hook's latents, which older folders lack."""
        return self.records / f"{hook_name}.profiles.json"

    def latent_reports(self, hook_name: str) -> dict[int, LatentReport]:
        """Read what is known of a hook's latents; empty where none was looked at.

        Raises:
            DataFolderError: if the file is damaged.
        """
        path = self.latents(hook_name)
        if not path.exists():
            return {}
        return {report.latent: report for report in decode(read_file(path), LatentTable, str(path)).reports}
