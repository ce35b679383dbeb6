"""Import of the original's data folders: `tokens.pt`, dense activations, and records.

Three things change. Dense activations become sparse. Holistic activations are converted (`own_holistic`). And the lists
of a latent's records are ordered so that no window is in two splits, which drops a few records; positives
on which the latent is silent are dropped too.

The original keeps no document numbers: here each window counts as a document of its own, so windows of one document can
still be in two splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featureinterp.codec import decode_index_record
from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations
from featureinterp.dataset.corpus.local_files import hash_files
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.manifest import IMPORTED, HookEntry, Manifest, StageEntry, current_versions
from featureinterp.dataset.records.build import LatentReport, report_latent
from featureinterp.dataset.records.selection import N_SPLITS, interleave
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError
from featureinterp.files import atomic_folder, read_file, real_path
from featureinterp.interop.original.tensors import (
    ACTIVATIONS,
    HOLISTIC,
    own_holistic,
    read_tokens,
    write_holistic,
    write_sparse,
)
from featureinterp.record import ActivationRecord, SAEIndexRecord
from featureinterp.subject.names import layer_of

_LISTS = (
    "most_act_records",
    "similar_no_act_records",
    "similar_records",
    "random_no_act_records",
    "random_records",
    "similar_projected_no_act_records",
    "similar_projected_records",
)
"""Order of the lists, most specific first: a window stays in the first list that holds it."""


@dataclass(frozen=True)
class Imported:
    """Summary of an imported folder."""

    windows: int
    """Windows in `tokens.pt`; 0 without the file."""
    hooks: int
    latents: int
    """Latents with records."""
    left_out: int
    """Dropped records: their window is in another split or list of positives, or the latent is silent."""


def import_original(source: Path, folder: Path) -> Imported:
    """Make a data folder from one of the original's; its records can be explained.

    Args:
        source: folder with `records/{hook}/{latent}.json`, and `tokens.pt`, `sae_acts/{hook}.pt` and
            `holistic_acts/{hook}.pt` if available: without them a latent's density is estimated from
            its random records, and holistic activations are those of the records.
        folder: output data folder.

    Raises:
        InputError: if the target already exists.
        DataFolderError: if a file of the original is missing, damaged, of another shape, or does not belong to the
            others; no output is left.
        StorageError: if a file cannot be written; no output is left.
    """
    files = {path.name: sorted(path.glob("*.json")) for path in sorted(source.glob("records/*")) if path.is_dir()}
    if not any(files.values()):
        raise DataFolderError(f"{source} holds no records/{{hook}}/{{latent}}.json", "name a folder of the original")
    with atomic_folder(folder) as temporary:
        return _import(source, Layout(temporary), files)


def _import(source: Path, layout: Layout, files: Mapping[str, list[Path]]) -> Imported:
    windows = read_tokens(source / "tokens.pt") if (source / "tokens.pt").exists() else None
    if windows is not None:
        windows.save(layout.tokens)
    hooks, latents, left_out = {}, 0, 0
    for hook, paths in files.items():
        measured = _import_activations(source, layout, hook, windows)
        activations = measured.activations
        reports = []
        for path in paths:
            report, n_left = _import_record(path, layout, hook, measured)
            reports.append(report)
            left_out += n_left
        reports.sort(key=lambda report: report.latent)
        latents += len(reports)
        layout.write_latents(hook, reports)
        n_latents = reports[-1].latent + 1 if activations is None else activations.n_latents
        hooks[hook] = HookEntry(layer_of(hook), n_latents, IMPORTED)
    digest = hash_files(tuple(path for paths in files.values() for path in paths))
    _write_manifest(source, layout.folder, windows, hooks, digest)
    return Imported(0 if windows is None else len(windows), len(hooks), latents, left_out)


@dataclass(frozen=True)
class _Measured:
    """Imported data of one hook, except records."""

    activations: SparseActivations | None
    holistic: HolisticActivations | None


def _import_activations(source: Path, layout: Layout, hook: str, windows: Windows | None) -> _Measured:
    path, causes = (source / folder / f"{hook}.pt" for folder in (ACTIVATIONS, HOLISTIC))
    for found in (path, causes):
        if found.exists() and windows is None:
            raise DataFolderError(f"{found} comes without tokens.pt", "add it: its first column is compared with BOS")
    activations, holistic = layout.activations_of(hook), layout.holistic_of(hook)
    if windows is not None and path.exists():
        write_sparse(path, activations, windows)
    if windows is not None and causes.exists():
        write_holistic(causes, path, holistic, windows)
    return _Measured(
        SparseActivations.open(activations) if activations.exists() else None,
        HolisticActivations.open(holistic) if holistic.exists() else None,
    )


def _import_record(path: Path, layout: Layout, hook: str, measured: _Measured) -> tuple[LatentReport, int]:
    """Write a latent's records, and return its report and the number of dropped records."""
    found = decode_index_record(read_file(path), str(path))
    latent = found.id.latent_index
    if path.stem != str(latent) or found.id.layer_index != layer_of(hook):
        raise DataFolderError(
            f"{path} holds latent {latent} of layer {found.id.layer_index}", "it was renamed or moved"
        )
    if measured.activations is not None:
        _check_belonging(path, found, measured.activations)
    record = place_records(found)
    if measured.holistic is not None:
        record = _with_measured(record, measured.holistic)
    report = store_record(layout, hook, record, _report(record, measured.activations))
    return report, n_records(found) - n_records(record)


def store_record(layout: Layout, hook: str, record: SAEIndexRecord, report: LatentReport | None = None) -> LatentReport:
    """Write a latent's placed records if they suffice for three splits, and return its report.

    Args:
        layout: layout of the data folder.
        hook: hook name of the latent.
        record: its records from `place_records`.
        report: its frequency; estimated from its random records by default.
    """
    report = report or _report(record, None)
    sizes = {name: len(getattr(record, name)) for name in _LISTS}
    if sizes["most_act_records"] < N_SPLITS:
        reason = f"its records have {sizes['most_act_records']} windows on which it fires, at least 3 are needed"
        return replace(report, status="rare", reason=reason)
    named = {name.removesuffix("_records").replace("no_act", "negative"): n for name, n in sizes.items() if n}
    named["positives"] = named.pop("most_act")
    return layout.write_record(hook, record, replace(report, status="ok", reason="", list_sizes=named))


def n_records(record: SAEIndexRecord) -> int:
    """Return the number of a latent's records in all lists."""
    return sum(len(getattr(record, name)) for name in _LISTS)


def place_records(record: SAEIndexRecord) -> SAEIndexRecord:
    """Return a latent's records with converted holistic activations, in lists whose `i::3` slices share no window."""
    lists: dict[str, dict[int, ActivationRecord]] = {}
    for name in _LISTS:
        kept = (r for r in getattr(record, name) if name != "most_act_records" or r.is_active)
        lists[name] = {r.dataset_index: _with_own_holistic(r) for r in kept}
    last = max((index for records in lists.values() for index in records), default=0)
    sizes = [len(records) for records in lists.values()]
    placed = interleave([list(records) for records in lists.values()], sizes, np.arange(last + 1))
    ordered = {
        name: tuple(records[index] for index in indices)
        for (name, records), indices in zip(lists.items(), placed, strict=True)
    }
    every = [r.holistic_expressions for records in ordered.values() for r in records]
    return replace(record, max_holistic_expression=max((v for values in every for v in values), default=0.0), **ordered)


def _with_own_holistic(record: ActivationRecord) -> ActivationRecord:
    if not record.holistic_expressions:
        return record
    values = own_holistic(np.array(record.holistic_expressions), np.array(record.expressions))
    return replace(record, holistic_expressions=tuple(values.tolist()))


def _with_measured(record: SAEIndexRecord, holistic: HolisticActivations) -> SAEIndexRecord:
    """Return records with the holistic activations of the whole corpus in place of their own."""
    latent = record.id.latent_index
    lists = {}
    for name in _LISTS:
        records = getattr(record, name)
        values = holistic.dense(latent, [one.dataset_index for one in records]).tolist()
        pairs = zip(records, values, strict=True)
        lists[name] = tuple(replace(one, holistic_expressions=tuple(row)) for one, row in pairs)
    return replace(record, max_holistic_expression=holistic.max_activation(latent), **lists)


def _check_belonging(path: Path, record: SAEIndexRecord, activations: SparseActivations) -> None:
    """Raise an error for records whose activations differ from the imported ones."""
    wrong = DataFolderError(
        f"{path} does not belong to the activations beside it", "they belong to another corpus or SAE"
    )
    for one in record.most_act_records:
        if one.dataset_index >= activations.n_sequences or len(one.tokens) != activations.length:
            raise wrong
        truth = activations.dense(record.id.latent_index, [one.dataset_index])[0]
        if not np.allclose(one.expressions, truth, rtol=1e-2, atol=1e-3 * record.max_expression):  # may be float16
            raise wrong


def _report(record: SAEIndexRecord, activations: SparseActivations | None) -> LatentReport:
    latent = record.id.latent_index
    if activations is not None:
        active, maxima = activations.latent(latent).sequence_maxima()
        return report_latent(latent, active, maxima, np.arange(activations.n_sequences), N_SPLITS)
    fires = [r.is_active for r in record.random_records]
    n = len(record.most_act_records)
    density = sum(fires) / len(fires) if fires else 0.0
    return LatentReport(latent, "ok", "", density, record.max_expression, n, n)


def _write_manifest(
    source: Path, folder: Path, windows: Windows | None, hooks: Mapping[str, HookEntry], digest: str
) -> None:
    dataset, _, model = real_path(source).name.partition("_")
    spec = DataSpec(model_name=model or "unknown", sae_name="unknown", dataset_name=dataset)
    if windows is not None:
        spec = replace(spec, max_dataset_size=len(windows), max_seq_length=windows.text_tokens.shape[1])
    entry = StageEntry({IMPORTED: digest, "holistic": True}, {})
    made = {"records": entry} if windows is None else {"tokens": entry, "sae_acts": entry, "records": entry}
    Manifest(spec, current_versions(), hooks, made).save(folder)
