"""Import of delphi's results: windows, activations, and records with similar negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.dataset.corpus.local_files import hash_files
from featureinterp.dataset.corpus.window_texts import TokenStrings, texts_of
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.manifest import IMPORTED, HookEntry, Manifest, StageEntry, current_versions
from featureinterp.dataset.records.hook_records import HookData
from featureinterp.dataset.retrieval.embeddings import EmbedderSource, embed_corpus
from featureinterp.dataset.retrieval.exact import ExactRanker
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError
from featureinterp.files import atomic_folder
from featureinterp.interop.delphi.latent_cache import Cutting, LatentCache, blocks, cut_rows, open_caches
from featureinterp.interop.delphi.results import latent_of
from featureinterp.interop.original.importing import Imported
from featureinterp.interop.original.tensors import write_entries
from featureinterp.subject.loading import open_tokenizer
from featureinterp.subject.names import layer_of
from featureinterp.subject.pieces import token_texts

if TYPE_CHECKING:
    from featureinterp.dataset.stages import Progress


@dataclass(frozen=True)
class _Import:
    """Validated inputs of an import."""

    caches: Mapping[str, LatentCache]
    layers: Mapping[str, int]
    latents: Mapping[str, Sequence[int]]
    """Latents with records, by hookpoint."""
    cutting: Cutting
    strings: TokenStrings
    spec: DataSpec


def import_delphi(
    source: Path, folder: Path, spec: DataSpec | None = None, on_progress: Progress | None = None
) -> Imported:
    """Make a data folder from the results of a run of delphi.

    Records are made for the latents with a file in `explanations/`; without any for a hookpoint, for
    `spec.max_features` random latents. The activations of all latents are kept.

    Args:
        source: a folder with `latents/{hookpoint}/`.
        folder: output data folder.
        spec: embedder, sizes of the record lists, and seed; model and texts are those of the cache.
        on_progress: called as `on_progress(stage, done, total)`.

    Raises:
        InputError: if `folder` already exists, or a hookpoint's name holds no layer number.
        DataFolderError: if a file is missing or damaged, or tokens do not belong to the tokenizer.
        SubjectError: if the tokenizer or the embedder cannot be loaded.
        StorageError: if a file cannot be written. In each case no output is left.
    """
    found = _look(source, spec or DataSpec())
    with atomic_folder(folder) as temporary:
        layout, windows = Layout(temporary), found.cutting.windows
        windows.save(layout.tokens)
        for hook, cache in found.caches.items():
            write_entries(layout.activations_of(hook), blocks(cache, found.cutting), windows, cache.n_latents)
        embedder = EmbedderSource.of(found.spec.embedder)
        _write_records(layout, found, embedder, on_progress or (lambda *_: None))
        _write_manifest(temporary, found, embedder)
    return Imported(len(windows), len(found.caches), sum(map(len, found.latents.values())), 0)


def _look(source: Path, spec: DataSpec) -> _Import:
    caches = open_caches(source / "latents")
    layers = {hook: layer_of(hook) for hook in caches}
    one = next(iter(caches.values()))
    tokenizer = open_tokenizer(one.config.model_name)
    least, largest = int(one.tokens.min()), int(one.tokens.max())
    if not 0 <= least <= largest < len(tokenizer):
        raise DataFolderError(
            f"{source} has token ids from {least} to {largest}",
            f"the tokenizer of {one.config.model_name} has {len(tokenizer)}; config.json names the model",
        )
    cutting = cut_rows(one.tokens, frozenset(tokenizer.all_special_ids))
    spec = replace(
        spec, model_name=one.config.model_name, sae_name="delphi", dataset_name=one.config.dataset_repo or "unknown",
        max_dataset_size=len(cutting.windows), max_seq_length=cutting.windows.tokens.shape[1], latents=None,
    )  # fmt: skip
    latents = spec.latents_of({hook: (layers[hook], cache.n_latents) for hook, cache in caches.items()})
    latents |= _explained(source / "explanations", caches)
    ordered = dict(sorted(caches.items(), key=lambda item: (layers[item[0]], item[0])))
    return _Import(ordered, layers, latents, cutting, partial(token_texts, tokenizer), spec)


def _explained(folder: Path, caches: Mapping[str, LatentCache]) -> dict[str, tuple[int, ...]]:
    """Return the explained latents by hookpoint, ascending."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.txt")):
        hook, latent = latent_of(path)
        if hook in caches:
            if latent >= caches[hook].n_latents:
                told = f"{path} is of latent {latent}, {hook} has latents 0 to {caches[hook].n_latents - 1}"
                raise DataFolderError(told, "explanations and cache belong to different sparse coders")
            found.setdefault(hook, []).append(latent)
    return {hook: tuple(sorted(latents)) for hook, latents in found.items()}


def _write_records(layout: Layout, found: _Import, embedder: EmbedderSource, told: Progress) -> None:
    windows, spec = found.cutting.windows, found.spec

    def texts(rows: range) -> list[str]:
        return ["".join(row) for row in texts_of(windows.tokens[rows.start : rows.stop], found.strings)]

    vectors = embed_corpus(layout.embeddings, len(windows), texts, embedder, partial(told, "similarity_retriever"))
    # Rows of a cache are its documents; near-duplicates among them are not looked for.
    index = replace(WindowIndex.of(windows, found.strings), groups=windows.documents.astype(np.int64))
    for hook, layer in found.layers.items():
        activations = SparseActivations.open(layout.activations_of(hook))
        ranker = ExactRanker(vectors, spec.max_memory)
        data = HookData(hook, layer, windows, vectors, ranker, index, activations, found.strings)
        reports = []
        for latent, plan in data.plans(found.latents[hook], spec):
            report = plan.report
            if plan.selection is not None:
                report = layout.write_record(hook, data.record(latent, plan.selection, None), report)
            reports.append(report)
            told(f"records of {hook}", len(reports), len(found.latents[hook]))
        layout.write_latents(hook, reports)
    ids = np.unique(windows.text_tokens).tolist()
    layout.write_token_texts(dict(zip(ids, found.strings(ids), strict=True)))


def _write_manifest(folder: Path, found: _Import, embedder: EmbedderSource) -> None:
    files = tuple(file.path for cache in found.caches.values() for file in cache.files)
    made = {IMPORTED: hash_files(files), "holistic": False, "embedder": embedder.identity, "seed": found.spec.seed}
    stages = {name: StageEntry(made) for name in ("sae_acts", "similarity_retriever", "records")}
    stages["tokens"] = StageEntry(made, asdict(found.cutting.counts))
    hooks = {hook: HookEntry(found.layers[hook], cache.n_latents, IMPORTED) for hook, cache in found.caches.items()}
    Manifest(found.spec, current_versions(), hooks, stages).save(folder)
