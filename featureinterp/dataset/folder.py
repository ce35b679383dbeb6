"""Data folder: windows, activations and records of a corpus and a subject model (read-only).

    folder = prepare(DataSpec(max_features=24), Path("data"))
    record = folder.index_record("blocks.0.hook_resid_post", 7)

`prepare` computes missing parts and keeps existing ones; a later call adds layers or latents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featureinterp.codec import decode
from featureinterp.core import CorpusTokens
from featureinterp.dataset.activations.latent_stats import LatentProfile
from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.corpus.window_texts import TokenStrings, texts_of
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.manifest import Manifest
from featureinterp.dataset.records.build import LatentReport
from featureinterp.dataset.retrieval.approximate import IndexRecall
from featureinterp.errors import DamagedFeatureError, DataFolderError, InputError
from featureinterp.files import read_file
from featureinterp.record import ActivationRecord, ComplementaryRecordSource, SAEIndexRecord

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class DataFolder:
    """A data folder, restricted to the selected latents."""

    path: Path
    manifest: Manifest
    selected: Mapping[str, tuple[int, ...]]
    """Latents (ascending) by hook name, in the order of the layers."""
    _reports: dict[str, Mapping[int, LatentReport]] = field(default_factory=dict, repr=False, compare=False)
    """Cache of the latent reports by hook name."""

    @classmethod
    def open(cls, path: Path) -> DataFolder:
        """Open a folder with all of its latents.

        Raises:
            DataFolderError: if it is no data folder, or damaged.
        """
        manifest = Manifest.load(path)
        entries = manifest.hooks.items()
        reports = {hook: Layout(path).latent_reports(hook, entry.n_latents) for hook, entry in entries}
        return cls(path, manifest, {hook: tuple(found) for hook, found in reports.items()}, dict(reports))

    def _known(self, hook_name: str) -> Mapping[int, LatentReport]:
        if hook_name not in self._reports:
            n_latents = self.manifest.hooks[hook_name].n_latents
            self._reports[hook_name] = Layout(self.path).latent_reports(hook_name, n_latents)
        return self._reports[hook_name]

    @property
    def hook_names(self) -> tuple[str, ...]:
        """Hooks of the selected latents, ordered by layer."""
        return tuple(self.selected)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer of each hook, in the order of `hook_names`."""
        return tuple(self.manifest.hooks[hook].layer for hook in self.selected)

    @property
    def n_layers(self) -> int:
        """Number of layers of the model; if unknown, up to the last one in the folder."""
        return self.manifest.n_layers or max(self.layers, default=-1) + 1

    def hook_of(self, layer: int) -> str:
        """Return the hook of a layer.

        Raises:
            InputError: if the folder has none.
        """
        for hook, own in zip(self.hook_names, self.layers, strict=True):
            if own == layer:
                return hook
        raise InputError(f"layer {layer} is not in {self.path}", f"it has layers {_told(self.layers)}")

    def latents(self, hook_name: str) -> tuple[int, ...]:
        """Return the selected latents of a hook, including dead and rare ones.

        Raises:
            InputError: if the hook is not in the folder.
        """
        if hook_name not in self.selected:
            raise InputError(f"hook {hook_name!r} is not in {self.path}", f"it has {_told(self.hook_names)}")
        return self.selected[hook_name]

    def latent_report(self, hook_name: str) -> dict[int, LatentReport]:
        """Return the report of each selected latent of a hook.

        Raises:
            InputError: if the hook is not in the folder.
            DataFolderError: if its latents were not examined yet.
        """
        wanted = self.latents(hook_name)
        reports = self._known(hook_name)
        missing = [latent for latent in wanted if latent not in reports]
        if missing:
            raise DataFolderError(
                f"{self.path} has no records of latents {_told(missing)} of {hook_name}",
                "`featureinterp records` makes them",
            )
        return {latent: reports[latent] for latent in wanted}

    def profiles(self, hook_name: str) -> Mapping[int, LatentProfile]:
        """Return the statistics of a hook's latents, by latent.

        Imported folders, and those of older versions, have none.

        Raises:
            DataFolderError: if the file is damaged.
        """
        return Layout(self.path).latent_profiles(hook_name, self.manifest.hooks[hook_name].n_latents)

    def index_record(self, hook_name: str, latent: int) -> SAEIndexRecord:
        """Return the records of one latent.

        Raises:
            InputError: if the hook or the latent does not exist, or the latent is dead or rare.
            DataFolderError: if it has no records.
            DamagedFeatureError: if they are damaged, or belong to another latent.
        """
        self.latents(hook_name)
        entry = self.manifest.hooks[hook_name]
        if not 0 <= latent < entry.n_latents:
            raise InputError(f"latent {latent} does not exist", f"{hook_name} has latents 0 to {entry.n_latents - 1}")
        report = self._known(hook_name).get(latent)
        try:
            return Layout(self.path).read_record(hook_name, entry.layer, latent, report)
        except FileNotFoundError as error:
            if report is not None and report.status != "ok":
                raise InputError(f"latent {latent} of {hook_name} is {report.status}: {report.reason}") from error
            told = f"{self.path} has no records of latent {latent} of {hook_name}"
            if report is not None:
                raise DamagedFeatureError(f"{told}: their file is missing", "make them again") from error
            raise DataFolderError(told, "`featureinterp records --latents` makes them") from error

    def windows(self) -> Windows:
        """Return the corpus' windows.

        Raises:
            DataFolderError: if they are missing or damaged.
        """
        return Windows.load(Layout(self.path).tokens)

    def corpus_tokens(self) -> CorpusTokens | None:
        """Return the windows as numbers of token strings; None where the texts of tokens are not stored.

        Folders of older versions and some imported ones do not store them.

        Raises:
            DataFolderError: if windows or texts are missing or damaged, or belong to different corpora.
        """
        texts = Layout(self.path).read_token_texts()
        if not texts:
            return None
        tokens = self.windows().text_tokens
        unknown = set(np.unique(tokens).tolist()) - texts.keys()
        if unknown:
            raise DataFolderError(
                f"{Layout(self.path).token_texts} lacks the text of token {min(unknown)}",
                "delete it, and make it again: `featureinterp records` with the options of the folder",
            )
        return CorpusTokens.of(tokens, lambda ids: [texts[each] for each in ids])

    def activations(self, hook_name: str) -> SparseActivations:
        """Return the activations of a hook's captured latents on the corpus.

        Raises:
            DataFolderError: if they are missing or damaged.
        """
        return SparseActivations.open(Layout(self.path).activations_of(hook_name))

    def activation_records(
        self,
        hook_name: str,
        latent: int,
        windows: Iterable[int],
        token_strings: TokenStrings,
        source: ComplementaryRecordSource | None = ComplementaryRecordSource.OTHER,
    ) -> tuple[ActivationRecord, ...]:
        """Return records of any windows of the corpus, without holistic activations.

        Args:
            hook_name: the hook of the latent.
            latent: captured latent.
            windows: rows of the corpus; the records are in their order.
            token_strings: function from token ids to texts, such as `subject.model.token_strings`.
            source: source of the records; None for positives.

        Raises:
            InputError: if a window or the latent does not exist, or the latent was not captured.
            DataFolderError: if windows or activations are missing or damaged.
        """
        corpus, activations = self.windows(), self.activations(hook_name)
        rows = [int(window) for window in windows]
        outside = [row for row in rows if not 0 <= row < len(corpus)]
        if outside:
            raise InputError(f"window {outside[0]} does not exist", f"the corpus has windows 0 to {len(corpus) - 1}")
        largest = activations.max_activation(latent)
        texts = texts_of(corpus.text_tokens[rows], token_strings) if rows else ()
        values = activations.dense(latent, rows).tolist()
        return tuple(
            ActivationRecord(tokens, tuple(own), (), row, largest, source=source)
            for tokens, own, row in zip(texts, values, rows, strict=True)
        )

    @property
    def has_holistic(self) -> bool:
        """Whether the records have holistic activations."""
        made = self.manifest.stages.get("records")
        return made is not None and made.settings.get("holistic") is True

    def index_recall(self) -> IndexRecall | None:
        """Return the recall of the approximate index; None if none was used.

        Raises:
            DataFolderError: if the file is damaged.
        """
        made = self.manifest.stages.get("records")
        path = Layout(self.path).recall(made is not None and made.settings.get("centre") is True)
        return decode(read_file(path), IndexRecall, str(path)) if path.exists() else None

    def corpus_counts(self) -> Mapping[str, int]:
        """Return the counts of read and dropped documents and windows (see `WindowCounts`)."""
        return self.manifest.stages["tokens"].counts


def _told(items: Collection[object]) -> str:
    return ", ".join(map(str, items)) or "none"
