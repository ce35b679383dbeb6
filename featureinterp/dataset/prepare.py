"""Preparation of a data folder: windows, activations and records from a specification; resumable."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from featureinterp.dataset.corpus.open import open_corpus
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.manifest import Manifest
from featureinterp.dataset.records.own_source import SOURCES
from featureinterp.dataset.spec import DataSpec
from featureinterp.dataset.stages import Preparation, Progress
from featureinterp.errors import InputError
from featureinterp.subject.precision import Precision
from featureinterp.subject.subject import Subject, open_subject

STAGES = ("sae_acts", "holistic_acts", "records")
"""Stages that can be requested; each includes the stages that it depends on."""


def prepare(
    spec: DataSpec,
    root: Path,
    *,
    stages: Collection[str] = ("records",),
    on_progress: Progress | None = None,
    device: str = "auto",
    subject: Subject | None = None,
) -> DataFolder:
    """Make a data folder, or complete an existing one.

    Args:
        spec: content of the folder.
        root: parent folder; the data folder is `{dataset}_{model}` in it.
        stages: names from `STAGES`; without `holistic_acts`, which takes a forward pass per token, records have no
            activation-causing tokens.
        on_progress: called as `on_progress(stage, done, total)`.
        device: a torch device, or `auto`.
        subject: the model and its SAEs; opened if None.

    Raises:
        InputError: for an unknown stage, source, layer or latent, or windows that exceed the model's context.
        CorpusError: if the corpus is missing, empty or not text.
        SubjectError: if the model, an SAE or the embedder cannot be loaded.
        ActivationError: if an activation is NaN or infinite.
        DataFolderError: if the folder was made with other settings, or is damaged.
        StorageError: if a file cannot be written; existing files are unchanged.
    """
    _check_stages(stages)
    if spec.own_source:
        SOURCES.check(spec.own_source)  # here alone: a folder is read where the source is not installed
    folder = root / spec.folder_name
    corpus = open_corpus(spec.corpus, _corpus_of(folder))  # before a large model is loaded, it may be missing
    if subject is None:
        subject = subject_of(spec, device)
    preparation = Preparation(spec, folder, corpus, subject, stages, on_progress or _quiet)
    windows = preparation.windows()
    preparation.capture(windows)
    if "similarity_retriever" in preparation.stages and not preparation.is_complete():
        embeddings = preparation.embed(windows)
        if "holistic_acts" in preparation.stages:
            preparation.holistic(windows, embeddings)
        if "records" in preparation.stages:
            preparation.records(windows, embeddings)
    if "records" in preparation.stages:
        preparation.profiles()
    return DataFolder(folder, preparation.manifest, preparation.latents)


def _check_stages(stages: Collection[str]) -> None:
    """Raise `InputError` for a stage that there is not, or for none."""
    unknown = set(stages) - set(STAGES)
    if unknown or not stages:
        raise InputError(
            f"unknown stages: {', '.join(sorted(unknown)) or 'none'}", f"the stages are {', '.join(STAGES)}"
        )


def _corpus_of(folder: Path) -> str:
    """Return the corpus fingerprint of an existing folder; empty for a new one."""
    tokens = Manifest.load(folder).stages.get("tokens") if Manifest.exists(folder) else None
    return "" if tokens is None else str(tokens.settings.get("corpus", ""))


def subject_of(spec: DataSpec, device: str = "auto") -> Subject:
    """Open the model and the SAEs of a specification.

    Raises:
        InputError: for an unknown layer, device, dtype or quantization.
        SubjectError: if the model or an SAE cannot be loaded, or they do not match.
    """
    names = (spec.model_name, spec.sae_name, spec.sae_id_layer_format_string)
    return open_subject(*names, spec.layers, device, Precision(spec.dtype, spec.quantization))


def _quiet(stage: str, done: int, total: int) -> None:
    """No-op progress callback."""
