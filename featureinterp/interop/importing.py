"""Import of other tools' data: format detection and an atomic data folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from featureinterp.dataset.corpus.local_files import hash_files
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.manifest import IMPORTED, HookEntry, Manifest, StageEntry, current_versions
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import InputError
from featureinterp.files import atomic_folder, real_path
from featureinterp.interop.openai.formats import NeuronRecord, read_neuron_record, records_of
from featureinterp.interop.original.importing import Imported, import_original, n_records, place_records, store_record

if TYPE_CHECKING:
    from featureinterp.dataset.stages import Progress

NEURON_HOOK = "blocks.{layer}.mlp.hook_post"
"""Hook point of OpenAI's neurons: after the MLP's activation function."""


def import_data(
    source: Path, folder: Path, spec: DataSpec | None = None, on_progress: Progress | None = None
) -> Imported:
    """Make a data folder from data of another tool; its latents can be explained.

    Args:
        source: a folder of the original (`records/`), results of delphi (`latents/`), or OpenAI's NeuronRecords: one
            file, or a folder with `{layer}/{neuron}.json`, itself or in `collated-activations/`.
        folder: output data folder.
        spec: embedder, sizes of the record lists and seed, for records made from delphi's latents.
        on_progress: called as `on_progress(stage, done, total)` while texts are embedded and records made.

    Raises:
        InputError: if `source` is none of these, or `folder` already exists.
        DataFolderError: if a file cannot be read; no output is left.
        StorageError: if a file cannot be written; no output is left.
    """
    if neurons := neuron_files(source):
        return _import_neurons(source, neurons, folder)
    if (source / "latents").is_dir():
        from featureinterp.interop.delphi.importing import (
            import_delphi,
        )  # opens a tokenizer, which the other formats do not need

        return import_delphi(source, folder, spec, on_progress)
    if (source / "records").is_dir():
        return import_original(source, folder)
    raise InputError(
        f"{source} holds no data that can be imported",
        "name a folder of the original (records/), of delphi (latents/) or with NeuronRecords ({layer}/{neuron}.json)",
    )


def neuron_files(source: Path) -> list[Path]:
    """Return the NeuronRecord files of a folder, or the given file; empty for other data."""
    if source.is_file():
        return [source]
    place = source / "collated-activations" if (source / "collated-activations").is_dir() else source
    found = (path for path in place.glob("*/*.json") if path.stem.isdecimal() and path.parent.name.isdecimal())
    return sorted(found, key=lambda path: (int(path.parent.name), int(path.stem)))


def _import_neurons(source: Path, paths: Iterable[Path], folder: Path) -> Imported:
    paths = list(paths)
    neurons: dict[int, dict[int, NeuronRecord]] = {}
    for path in paths:
        found = read_neuron_record(path)
        layer, index = found.neuron_id.layer_index, found.neuron_id.neuron_index
        if index in neurons.setdefault(layer, {}):
            raise InputError(f"neuron {index} of layer {layer} occurs twice, once in {path}", "remove one")
        neurons[layer][index] = found
    with atomic_folder(folder) as temporary:
        layout, hooks, left_out = Layout(temporary), {}, 0
        for layer, by_index in sorted(neurons.items()):
            hook = NEURON_HOOK.format(layer=layer)
            reports = []
            for _, neuron in sorted(by_index.items()):
                given = records_of(neuron)
                record = place_records(given)
                reports.append(store_record(layout, hook, record))
                left_out += n_records(given) - n_records(record)
            layout.write_latents(hook, reports)
            hooks[hook] = HookEntry(layer, max(by_index) + 1, IMPORTED)
        spec = DataSpec(model_name="unknown", sae_name="neurons", dataset_name=real_path(source).stem or "neurons")
        made = {"records": StageEntry({IMPORTED: hash_files(tuple(paths)), "holistic": False}, {})}
        Manifest(spec, current_versions(), hooks, made).save(temporary)
    return Imported(0, len(hooks), sum(map(len, neurons.values())), left_out)
