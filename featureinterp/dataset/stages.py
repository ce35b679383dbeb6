"""The stages that fill a data folder, each skipping what is there and going on where it was interrupted.

tokens ──▶ sae_acts ─────────────┐
   └─────▶ similarity_retriever ─┴─▶ [holistic_acts] ──▶ records
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.codec import atomic_write, encode, encode_index_record
from featureinterp.dataset.activations import SparseActivations
from featureinterp.dataset.build import LatentEvidence, LatentReport, index_record, list_sizes, report_latent
from featureinterp.dataset.capture import capture_activations, check_length
from featureinterp.dataset.corpus import corpus_fingerprint, read_documents
from featureinterp.dataset.layout import LatentTable, Layout
from featureinterp.dataset.manifest import HookEntry, Manifest, Setting, StageEntry, current_versions
from featureinterp.dataset.retrieval import load_embeddings, rank_corpus, save_embeddings, top_sequences
from featureinterp.dataset.selection import Selection, select_windows
from featureinterp.dataset.spec import DataSpec
from featureinterp.dataset.windows import Windows, cut_windows
from featureinterp.errors import DataFolderError
from featureinterp.record import SAEIndexId
from featureinterp.stats import generator
from featureinterp.subject.subject import Subject

Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and of how much."""


class Preparation:
    """One filling of a data folder, stage by stage; each method makes what is missing of its stage."""

    def __init__(
        self, spec: DataSpec, folder: Path, subject: Subject, stages: Collection[str], progress: Progress
    ) -> None:
        """Compare the folder with what is asked for, before anything is computed.

        Raises:
            DataFolderError: if a stage that is needed was made with other settings or another SAE.
            InputError: if a latent or layer is asked for that does not exist, or windows are too long.
            CorpusError: if there is no such corpus.
        """
        self._spec = spec
        self._subject = subject
        self._progress = progress
        self._layout = Layout(folder)
        self.latents = spec.latents_of({hook: (sae.layer, sae.n_latents) for hook, sae in subject.saes.items()})
        """Latents asked for, by hook name."""
        self.manifest = self._begin(self._open_manifest(), stages)

    def windows(self) -> Windows:
        """Cut the corpus, or read the windows that are there."""
        path = self._layout.tokens
        if path.exists():
            return Windows.load(path)
        documents = read_documents(self._spec.dataset_name)
        params = self._spec.window_params(self._subject.prepend_bos)
        windows, counts = cut_windows(documents, self._subject.model, params)
        check_length(self._subject, windows.tokens)
        entry = replace(self.manifest.stages["tokens"], counts=asdict(counts))
        self.manifest = self.manifest.with_stage("tokens", entry)
        self.manifest.save(self._layout.folder)
        windows.save(path)
        self._progress("tokens", len(windows), len(windows))
        return windows

    def capture(self, windows: Windows) -> None:
        """Write the activations of every hook that has none yet."""
        if all(self._layout.activations_of(hook).exists() for hook in self._subject.saes):
            return
        progress = partial(self._progress, "sae_acts")
        capture_activations(self._subject, windows.tokens, windows.has_bos, self._layout.folder, progress=progress)

    def embed(self, windows: Windows) -> NDArray[np.float32]:
        """Embed the text of every window, float32 [windows, d], or read the embeddings that are there."""
        path = self._layout.embeddings
        if not path.exists():
            from featureinterp.llm.embedding import open_embedder

            embedder = open_embedder(self._spec.embedder)
            texts = ["".join(tokens) for tokens in self._texts(windows.text_tokens)]
            save_embeddings(path, embedder.embed(texts, partial(self._progress, "similarity_retriever")))
        return load_embeddings(path)

    def records(self, windows: Windows, embeddings: NDArray[np.float32]) -> None:
        """Write the records of every latent that was not looked at yet, and what is known of it."""
        for hook in self._subject.saes:
            self._records_of(hook, windows, embeddings)

    def _records_of(self, hook_name: str, windows: Windows, embeddings: NDArray[np.float32]) -> None:
        reports = self._layout.latent_reports(hook_name)
        missing = [latent for latent in self.latents[hook_name] if latent not in reports]
        if not missing:
            return
        activations = SparseActivations.open(self._layout.activations_of(hook_name))
        layer = self._subject.saes[hook_name].layer
        for done, latent in enumerate(missing, start=1):
            reports[latent], selection = self._plan(activations, windows, embeddings, hook_name, latent)
            if selection is not None:
                evidence = self._evidence(activations, windows, latent, selection)
                record = index_record(SAEIndexId(layer, latent), selection, evidence)
                atomic_write(self._layout.record(hook_name, latent), encode_index_record(record))
            self._progress(f"records of {hook_name}", done, len(missing))
        table = LatentTable(tuple(reports[latent] for latent in sorted(reports)))
        atomic_write(self._layout.latents(hook_name), encode(table))

    def _plan(
        self,
        activations: SparseActivations,
        windows: Windows,
        embeddings: NDArray[np.float32],
        hook_name: str,
        latent: int,
    ) -> tuple[LatentReport, Selection | None]:
        """Report on a latent and, if it fires often enough, choose the windows of its records."""
        params = self._spec.sample_params()
        active, maxima = activations.latent(latent).sequence_maxima()
        report = report_latent(latent, active, maxima, windows.documents, params.min_documents)
        if report.status != "ok":
            return report, None
        similar = rank_corpus(embeddings, top_sequences(active, maxima, params.special_n))
        random = partial(generator, self._spec.seed, hook_name, latent)
        selection = select_windows(active, maxima, similar, windows.documents, params, random)
        return replace(report, list_sizes=list_sizes(selection)), selection

    def _evidence(
        self, activations: SparseActivations, windows: Windows, latent: int, selection: Selection
    ) -> LatentEvidence:
        sequences = selection.sequences
        return LatentEvidence(
            sequences=sequences,
            texts=self._texts(windows.text_tokens[list(sequences)]),
            expressions=activations.dense(latent, sequences),
            holistic_expressions=None,
            max_expression=activations.max_activation(latent),
        )

    def _texts(self, tokens: NDArray[np.int32]) -> tuple[tuple[str, ...], ...]:
        """Return the strings of [windows, T] tokens; each distinct token is looked up once."""
        distinct, where = np.unique(tokens, return_inverse=True)
        strings = np.array(self._subject.model.token_strings(distinct), dtype=object)
        return tuple(tuple(row) for row in strings[where.reshape(tokens.shape)])

    def _settings(self) -> dict[str, dict[str, Setting]]:
        """Return, for each stage, all that decides its output, the stages before it included."""
        spec, subject = self._spec, self._subject
        tokens: dict[str, Setting] = {
            "model": subject.model.fingerprint(),
            "corpus": corpus_fingerprint(spec.dataset_name),
            "max_dataset_size": spec.max_dataset_size,
            "max_seq_length": spec.max_seq_length,
            "ascii_only": spec.ascii_only,
            "prepend_bos": subject.prepend_bos,
        }
        similarity = {**tokens, "embedder": spec.embedder}
        records = {**similarity, "seed": spec.seed, **asdict(spec.sample_params())}
        return {"tokens": tokens, "sae_acts": tokens, "similarity_retriever": similarity, "records": records}

    def _begin(self, manifest: Manifest, stages: Collection[str]) -> Manifest:
        """Refuse stages that were made with other settings, and note the settings of those to be made."""
        outputs = {
            "tokens": self._layout.tokens,
            "sae_acts": self._layout.activations,
            "similarity_retriever": self._layout.embeddings,
            "records": self._layout.records,
        }
        for stage, settings in self._settings().items():
            if stage in stages:
                manifest.check_stage(self._layout.folder, stage, settings, outputs[stage])
                if not outputs[stage].exists():
                    manifest = manifest.with_stage(stage, StageEntry(settings))
        manifest.save(self._layout.folder)
        return manifest

    def _open_manifest(self) -> Manifest:
        """Return the folder's manifest with the SAEs asked for, or a new one; refuse SAEs that changed."""
        spec, folder = self._spec, self._layout.folder
        made = Manifest.load(folder) if Manifest.exists(folder) else Manifest(spec, {})
        asked = {h: HookEntry(sae.layer, sae.n_latents, sae.fingerprint()) for h, sae in self._subject.saes.items()}
        for hook, entry in asked.items():
            outputs = (self._layout.activations_of(hook), self._layout.latents(hook))
            if made.hooks.get(hook) != entry and any(path.exists() for path in outputs):
                raise DataFolderError(
                    f"{folder} was made with another SAE on {hook} than {spec.sae_name!r} has now",
                    f"choose another folder, or delete {folder} to make it again",
                )
        hooks = sorted({**made.hooks, **asked}.items(), key=lambda item: (item[1].layer, item[0]))
        return replace(made, spec=spec, versions=current_versions(), hooks=dict(hooks))
