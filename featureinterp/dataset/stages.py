"""Resumable stages of a data folder; each skips finished work.

tokens ──▶ sae_acts ─────────────┐
   └─────▶ similarity_retriever ─┴─▶ [holistic_acts] ──▶ records
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.codec import encode
from featureinterp.dataset.activations.arrays import CHECKSUM, ArrayFile
from featureinterp.dataset.activations.attribution import capture_holistic
from featureinterp.dataset.activations.capture import CaptureParams, capture_activations, check_length, source_of
from featureinterp.dataset.activations.latent_stats import ProfileTable, profile_latents
from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations
from featureinterp.dataset.corpus.documents import Corpus
from featureinterp.dataset.corpus.open import read_documents
from featureinterp.dataset.corpus.window_texts import sentence_of, texts_of
from featureinterp.dataset.corpus.windows import Windows, cut_windows
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.manifest import HookEntry, Manifest, Setting, StageEntry, current_versions
from featureinterp.dataset.records.build import LatentReport
from featureinterp.dataset.records.hook_records import HookData, Plan
from featureinterp.dataset.retrieval.approximate import ApproximateRanker
from featureinterp.dataset.retrieval.embeddings import (
    EmbedderSource,
    centre_embeddings,
    content_of,
    embed_corpus,
)
from featureinterp.dataset.retrieval.exact import ExactRanker, Ranker
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError
from featureinterp.files import atomic_write
from featureinterp.subject.subject import Subject

_logger = logging.getLogger(__name__)

_RECALL_SAMPLE = 32
"""Maximum number of latents on which an approximate index is compared with the exact ranking."""

Progress = Callable[[str, int, int], None]
"""Callback, called as `progress(stage, done, total)`."""


class Preparation:
    """Preparation of a data folder; each method completes one stage."""

    def __init__(
        self,
        spec: DataSpec,
        folder: Path,
        corpus: Corpus,
        subject: Subject,
        stages: Collection[str],
        progress: Progress,
    ) -> None:
        """Compare the folder with the specification before anything is computed.

        Raises:
            DataFolderError: if a required stage was made with other settings or another SAE.
            InputError: if a latent or layer does not exist, or windows exceed the model's context.
            CorpusError: if a file of the corpus cannot be read.
        """
        subject.check_length(spec.max_seq_length)
        self._spec = spec
        self._corpus = corpus
        self._subject = subject
        self._embedder = EmbedderSource.of(spec.embedder)
        self._progress = progress
        self._layout = Layout(folder)
        self.latents = spec.latents_of({hook: (sae.layer, sae.n_latents) for hook, sae in subject.saes.items()})
        """Selected latents by hook name."""
        manifest = self._open_manifest()
        self._known: dict[str, dict[int, LatentReport]] = {}
        self._damaged: dict[str, list[int]] = {}
        self._index: WindowIndex | None = None
        self.stages = self._needed(manifest, stages)
        """Stages to run."""
        self.manifest = self._begin(manifest)

    def windows(self) -> Windows:
        """Cut the corpus, or read existing windows; damaged ones are recreated.

        Raises:
            CorpusError: if the corpus cannot be read.
            DataFolderError: if the windows are not those that the rest of the folder was made from.
        """
        path = self._layout.tokens
        there = self._windows_there()
        if there is not None:
            return there
        made_before = path.exists()
        documents = read_documents(self._corpus, self._spec.dataset_name)
        params = self._spec.window_params(self._subject.prepend_bos)
        windows, counts = cut_windows(
            documents, self._subject.model, params, lambda done: self._progress("tokens", done, params.max_windows)
        )
        check_length(self._subject, windows.tokens)
        if made_before and not self._is_source_of_activations(windows):
            raise DataFolderError(
                f"{path} is damaged, and the corpus has changed since {self._layout.folder} was made",
                "choose another folder, or delete this one to make it again",
            )
        entry = replace(self.manifest.stages["tokens"], counts=asdict(counts))
        self.manifest = self.manifest.with_stage("tokens", entry)
        self.manifest.save(self._layout.folder)
        windows.save(path)
        self._progress("tokens", len(windows), len(windows))
        if counts.dropped:
            _logger.warning("%s: %s", self._spec.dataset_name, counts.dropped)
        return windows

    def _windows_there(self) -> Windows | None:
        """Return the existing windows, adding a missing checksum; None if they must be cut."""
        path = self._layout.tokens
        if not path.exists():
            return None
        try:
            windows = Windows.load(path, self._subject.model.vocabulary_size)
            has_checksum = CHECKSUM in ArrayFile.open(path).metadata
        except DataFolderError as error:
            _logger.warning("%s; the corpus is cut again", error.problem)
            return None
        if has_checksum:
            return windows
        if not self._is_source_of_activations(windows):
            _logger.warning("%s is not what the activations were made from; the corpus is cut again", path)
            return None
        _logger.warning("%s was written without a checksum, and gets one now", path)
        windows.save(path)
        return windows

    def _is_source_of_activations(self, windows: Windows) -> bool:
        """Return whether the source hash of the existing activations matches these windows."""
        for hook, sae in self._subject.saes.items():
            path = self._layout.activations_of(hook)
            try:
                made_from = SparseActivations.open(path).source
            except DataFolderError:  # missing or damaged: created again anyway
                continue
            if made_from != source_of(self._subject, sae, windows.tokens, windows.has_bos):
                return False
        return True

    def capture(self, windows: Windows) -> None:
        """Write missing or damaged activations of all known latents."""
        length = windows.text_tokens.shape[1]

        def told(done: int, total: int) -> None:
            self._progress("sae_acts", done * length, total * length)

        latents = {hook: self._known_latents(hook) for hook in self._subject.saes}
        params = CaptureParams(latents, max_memory=self._spec.max_memory)
        capture_activations(self._subject, windows.tokens, windows.has_bos, self._layout.folder, params, told)

    def embed(self, windows: Windows) -> NDArray[np.float32]:
        """Return the vectors of the windows that similarity compares, float32 [windows, d], making missing ones."""

        def texts(rows: range) -> list[str]:
            tokens = windows.text_tokens[rows.start : rows.stop]
            join = "".join if self._spec.ascii_only else sentence_of
            return [join(strings) for strings in texts_of(tokens, self._subject.model.token_strings)]

        told = partial(self._progress, "similarity_retriever")
        path = self._layout.embeddings
        embeddings = embed_corpus(path, len(windows), texts, self._embedder, told)
        if not self._spec.centre:
            return embeddings
        return centre_embeddings(self._layout.centred_embeddings, embeddings, content_of(path))

    def holistic(self, windows: Windows, embeddings: NDArray[np.float32]) -> None:
        """Measure the holistic activations of all known latents.

        The windows are those of their records, or of the whole corpus with `holistic_scope="corpus"`.
        """
        wanted: dict[str, dict[int, NDArray[np.integer]]] = {}
        everything = np.arange(len(windows), dtype=np.int32)
        for hook in self._subject.saes:
            plans = self._hook_data(hook, windows, embeddings).plans(self._known_latents(hook), self._spec)
            whole = self._spec.holistic_scope == "corpus"
            wanted[hook] = {
                latent: everything if whole else np.array(plan.selection.sequences, np.int32)
                for latent, plan in plans
                if plan.selection is not None
            }
        told = partial(self._progress, "holistic_acts")
        capture_holistic(self._subject, windows.tokens, windows.has_bos, wanted, self._layout.folder, told)

    def records(self, windows: Windows, embeddings: NDArray[np.float32]) -> None:
        """Write missing or damaged records and reports of latents."""
        for hook in self._subject.saes:
            reports, missing = self._reports(hook), self._missing(hook)
            if missing:
                data = self._hook_data(hook, windows, embeddings)
                self._measure_recall(data, missing)
                for done, (latent, plan) in enumerate(data.plans(missing, self._spec), start=1):
                    reports[latent] = self._write_record(data, latent, plan)
                    self._progress(f"records of {hook}", done, len(missing))
                self._layout.write_latents(hook, reports.values())
        self._write_token_texts(windows)
        entry = self.manifest.stages["records"]
        counts = {"special_n": self._spec.sample_params().query_size(len(windows))}
        self.manifest = self.manifest.with_stage("records", replace(entry, counts=counts))
        self.manifest.save(self._layout.folder)

    def _write_token_texts(self, windows: Windows) -> None:
        """Write the texts of the windows' tokens, in older folders too."""
        ids = np.unique(windows.text_tokens).tolist()
        try:
            known = self._layout.read_token_texts()
        except DataFolderError as error:
            _logger.warning("%s; it is created again", error.problem)
            known = {}
        if sorted(known) != ids:
            self._layout.write_token_texts(dict(zip(ids, self._subject.model.token_strings(ids), strict=True)))

    def profiles(self) -> None:
        """Write missing or damaged statistics of the selected latents, in older folders too."""
        for hook, sae in self._subject.saes.items():
            path = self._layout.profiles(hook)
            try:
                known = self._layout.latent_profiles(hook, sae.n_latents)
            except DataFolderError as error:
                _logger.warning("%s; it is created again", error.problem)
                known = {}
            missing = [latent for latent in self.latents[hook] if latent not in known]
            if missing:
                activations = SparseActivations.open(self._layout.activations_of(hook))
                made = profile_latents(self._subject, hook, missing, activations)
                for done, profile in enumerate(made, start=1):
                    known[profile.latent] = profile
                    self._progress(f"profiles of {hook}", done, len(missing))
                atomic_write(path, encode(ProfileTable(tuple(known[latent] for latent in sorted(known)), hook)))

    def is_complete(self) -> bool:
        """Return whether every selected latent has records or a status, and no stage is missing."""
        hooks = self._subject.saes
        looked_at = not any(self._missing(hook) for hook in hooks)
        return looked_at and ("holistic_acts" not in self.stages or all(map(self._is_measured, hooks)))

    def _is_measured(self, hook_name: str) -> bool:
        try:
            return HolisticActivations.open(self._layout.holistic_of(hook_name)).is_intact()
        except DataFolderError:
            return False

    def _known_latents(self, hook_name: str) -> list[int]:
        """Return the latents of a hook selected now or earlier, ascending."""
        return sorted({*self.latents[hook_name], *self._reports(hook_name)})

    def _reports(self, hook_name: str) -> dict[int, LatentReport]:
        """Return the reports of a hook's latents; empty, with a warning, if the file is damaged."""
        if hook_name not in self._known:
            try:
                n_latents = self._subject.saes[hook_name].n_latents
                self._known[hook_name] = self._layout.latent_reports(hook_name, n_latents)
            except DataFolderError as error:
                _logger.warning("%s; it is created again with the selected latents", error.problem)
                self._known[hook_name] = {}
        return self._known[hook_name]

    def _missing(self, hook_name: str) -> list[int]:
        """Return the latents of a hook to process: new ones, and those with damaged records."""
        reports = self._reports(hook_name)
        new = [latent for latent in self.latents[hook_name] if latent not in reports]
        older = [latent for latent, report in reports.items() if report.status == "ok" and report.more_checksum is None]
        if older and hook_name not in self._damaged:
            _logger.warning(
                "%d latents of %s have records without same-token negatives and strata; they are made again",
                len(older), hook_name,
            )  # fmt: skip
        if hook_name not in self._damaged:
            self._damaged[hook_name] = [latent for latent in reports if self._is_damaged(hook_name, reports[latent])]
        return sorted({*new, *older, *self._damaged[hook_name]})

    def _is_damaged(self, hook_name: str, report: LatentReport) -> bool:
        if report.status != "ok":
            return False
        try:
            self._layout.read_record(hook_name, self._subject.saes[hook_name].layer, report.latent, report)
        except FileNotFoundError:
            _logger.warning("%s is missing; it is created again", self._layout.record(hook_name, report.latent))
        except DataFolderError as error:
            _logger.warning("%s; it is created again", error.problem)
        else:
            return False
        return True

    def _write_record(self, data: HookData, latent: int, plan: Plan) -> LatentReport:
        if plan.selection is None:
            return plan.report
        measured = "holistic_acts" in self.stages
        holistic = HolisticActivations.open(self._layout.holistic_of(data.hook_name)) if measured else None
        record = data.record(latent, plan.selection, holistic)
        return self._layout.write_record(data.hook_name, record, plan.report)

    def _hook_data(self, hook_name: str, windows: Windows, embeddings: NDArray[np.float32]) -> HookData:
        activations = SparseActivations.open(self._layout.activations_of(hook_name))
        layer, strings = self._subject.saes[hook_name].layer, self._subject.model.token_strings
        if self._index is None:
            self._index = WindowIndex.of(windows, strings)
        ranker = self._ranker(embeddings)
        return HookData(hook_name, layer, windows, embeddings, ranker, self._index, activations, strings)

    def _ranker(self, embeddings: NDArray[np.float32]) -> Ranker:
        if not self._spec.faiss:
            return ExactRanker(embeddings, self._spec.max_memory)
        path = self._layout.index(self._spec.centre)
        if path.exists() and path.stat().st_mtime_ns < self._layout.embeddings.stat().st_mtime_ns:
            path.unlink()
        return ApproximateRanker.open(path, embeddings)

    def _measure_recall(self, data: HookData, latents: Sequence[int]) -> None:
        """Store the recall of the index, measured on the first firing latents."""
        path = self._layout.recall(self._spec.centre)
        if isinstance(data.ranker, ApproximateRanker) and not path.exists():
            tops = list(islice(data.tops(latents, self._spec), _RECALL_SAMPLE))
            if tops:
                atomic_write(path, encode(data.ranker.recall(tops)))

    def _needed(self, manifest: Manifest, stages: Collection[str]) -> frozenset[str]:
        """Return the stages to run for the request and the existing records."""
        needed = {"tokens", "sae_acts", *stages}
        if {"holistic_acts", "records"} & needed:
            needed.add("similarity_retriever")
        if "records" in needed:
            made = manifest.stages.get("records") if self._layout.records.exists() else None
            if self._layout.holistic.exists() if made is None else made.settings.get("holistic"):
                needed.add("holistic_acts")
        return frozenset(needed)

    def _settings(self) -> Mapping[str, dict[str, Setting]]:
        """Return the settings that determine each stage's output, including earlier stages."""
        spec, subject = self._spec, self._subject
        tokens: dict[str, Setting] = {
            "dtype": subject.model.dtype,  # the model's fingerprint changes with it, so it comes first
            "quantization": subject.model.quantization,
            "model": subject.model.fingerprint(),
            "corpus": self._corpus.fingerprint(),
            "max_dataset_size": spec.max_dataset_size,
            "max_seq_length": spec.max_seq_length,
            "ascii_only": spec.ascii_only,
            "prepend_bos": subject.prepend_bos,
        }
        similarity = {**tokens, "embedder": self._embedder.identity}
        measured = "holistic_acts" in self.stages
        similar = {**similarity, "faiss": spec.faiss, "centre": spec.centre or None}  # absent from older folders
        chosen = {**similar, "seed": spec.seed, **asdict(spec.sample_params()), "own_source": spec.own_source or None}
        return {
            "tokens": tokens,
            "sae_acts": tokens,
            "similarity_retriever": similarity,
            "holistic_acts": {**chosen, "scope": spec.holistic_scope},
            "records": {**chosen, "holistic": measured, "scope": spec.holistic_scope if measured else None},
        }

    def _begin(self, manifest: Manifest) -> Manifest:
        """Reject stages with other settings, and store the settings of new ones."""
        outputs = {
            "tokens": self._layout.tokens,
            "sae_acts": self._layout.activations,
            "similarity_retriever": self._layout.embeddings,
            "holistic_acts": self._layout.holistic,
            "records": self._layout.records,
        }
        for stage, settings in self._settings().items():
            if stage in self.stages:
                manifest.check_stage(self._layout.folder, stage, settings, outputs[stage])
                if not outputs[stage].exists():
                    manifest = manifest.with_stage(stage, StageEntry(settings))
        manifest.save(self._layout.folder)
        return manifest

    def _open_manifest(self) -> Manifest:
        """Return the folder's manifest with the selected SAEs, or a new one; reject changed SAEs."""
        spec, folder = self._spec, self._layout.folder
        made = Manifest.load(folder) if Manifest.exists(folder) else Manifest(spec, {})
        asked = {h: HookEntry(sae.layer, sae.n_latents, sae.fingerprint()) for h, sae in self._subject.saes.items()}
        for hook, entry in asked.items():
            outputs = (self._layout.activations_of(hook), self._layout.latents(hook))
            if made.hooks.get(hook) != entry and any(path.exists() for path in outputs):
                raise DataFolderError(
                    f"{folder} was made with another SAE on {hook} than the current {spec.sae_name!r}",
                    f"choose another folder, or delete {folder} to make it again",
                )
        hooks = sorted({**made.hooks, **asked}.items(), key=lambda item: (item[1].layer, item[0]))
        n_layers = self._subject.model.n_layers
        return replace(made, spec=spec, versions=current_versions(), hooks=dict(hooks), n_layers=n_layers)
