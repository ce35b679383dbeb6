"""Hashes of a run's prompts, checked on resumption.

The prompt version covers the packaged texts. The chat template and the tokenizer of a local model can change too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from featureinterp.complexity import registry as complexity_registry
from featureinterp.errors import DataFolderError
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from featureinterp.simulator import registry as simulator_registry

_NAMES = {"simulator": "simulator prompt hash", "complexity": "complexity prompt hash"}
"""Name of the hashes in a run's metadata."""


def hold_prompts(store: RunStore, method: MethodSpec, keys: Sequence[FeatureKey]) -> None:
    """Compare the prompt hashes of a run's simulator and complexity model with the stored ones, or store them.

    A run of an earlier version has none: it continues with the current ones, with a warning.

    Args:
        store: the run.
        method: method of the run.
        keys: requested features; if all are finished, no model is loaded and nothing is compared.

    Raises:
        DataFolderError: if a prompt has changed.
        SubjectError: if the tokenizer of a local model cannot be loaded, or cannot render the prompt.
        StorageError: if the run cannot be written.
    """
    if not set(keys) - store.finished().keys():
        return
    about = store.about()
    hashes = {
        "simulator": simulator_registry.prompt_hash(method.simulator),
        "complexity": complexity_registry.prompt_hash(method.complexity),
    }
    for part, found in hashes.items():
        if found is None:
            continue
        noted = about.get(_NAMES[part])
        if noted is None:
            _note(store, part, found)
        elif noted != found:
            raise DataFolderError(
                f"{store.path} was made with another prompt of its {part} model {getattr(method, part)!r}: its chat "
                "template, its tokenizer or the worked examples have changed",
                "put the old tokenizer files back, or name another folder",
            )


def _note(store: RunStore, part: str, found: str) -> None:
    if store.finished():
        logging.getLogger(__name__).warning(
            "%s holds no hash of its %s model's prompt: it continues with the current prompt", store.path, part
        )
    store.note(_NAMES[part], found)
