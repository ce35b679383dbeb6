"""Runs below a folder: their metadata and progress."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError
from featureinterp.experiment.result import SIMULATOR_WARNING, FeatureKey, RunSummary, method_words
from featureinterp.experiment.store import FILE_NAME, RunStore
from featureinterp.files import real_path

OUTCOMES = ("explained", "failed", "rare", "dead")
"""Statuses of a finished feature."""


@dataclass(frozen=True)
class RunInfo:
    """Metadata and progress of a run."""

    path: Path
    """The run's folder."""
    experiment: str
    """Empty for a run of no experiment."""
    subject: str
    """Name of the data folder: `{dataset}_{model}`."""
    variant: str
    """Name of the method within the experiment; the folder's name for a run of no experiment."""
    about: Mapping[str, str]
    configuration: Mapping[str, Any]
    counts: Mapping[str, int]
    """Number of features: `asked` (registered), `finished`, and finished ones by status."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the identifying labels of the run: `experiment`, `subject`, `variant`."""
        return {"experiment": self.experiment, "subject": self.subject, "variant": self.variant}

    @property
    def made_by(self) -> str:
        """Explainer and simulator in words."""
        return _made_by(self.configuration)


def list_runs(path: Path) -> list[RunInfo]:
    """Return every run in or below a folder, in the order of their paths.

    Raises:
        DataFolderError: if there is none, or one cannot be read.
    """
    return [run_info(store) for store in open_runs(path)]


def open_runs(path: Path) -> Iterator[RunStore]:
    """Yield the run in a folder, or those below it in the order of their paths; each is closed before the next.

    Raises:
        DataFolderError: if there is none, or one cannot be read.
    """
    files = [path / FILE_NAME] if (path / FILE_NAME).is_file() else sorted(path.rglob(FILE_NAME))
    if not files:
        raise DataFolderError(f"there is no run in {path}, nor below it", "`featureinterp explain` makes one")
    named: dict[tuple[str, ...], Path] = {}
    for file in files:
        with RunStore.open(file.parent) as store:
            _check_name(store, named)
            yield store


def _check_name(store: RunStore, named: dict[tuple[str, ...], Path]) -> None:
    """Raise an error for a second run of the same variant (a copy would count twice)."""
    about = store.about()
    name = tuple(about.get(part, "") for part in ("experiment", "subject", "variant"))
    first = named.setdefault(name, store.path.parent) if name[0] else store.path.parent
    if first != store.path.parent:
        raise DataFolderError(
            f"{first} and {store.path.parent} are both variant {name[2]} of {name[1]} in experiment {name[0]}",
            "one is a copy: move it out of the folder",
        )


def run_labels(store: RunStore) -> dict[str, str]:
    """Return the identifying labels of an open run: `experiment`, `subject`, `variant`. Decodes no result."""
    about = store.about()
    names = DataSpec(dataset_name=about.get("corpus", ""), model_name=about.get("model", ""))
    return {
        "experiment": about.get("experiment", ""),
        "subject": about.get("subject", names.folder_name if "model" in about else ""),
        "variant": about.get("variant", real_path(store.path).parent.name),
    }


def run_info(store: RunStore) -> RunInfo:
    """Return the metadata and progress of an open run. Decodes each result that the store has not read yet."""
    about, finished = store.about(), store.finished()
    outcomes = Counter(finished.values())
    return RunInfo(
        path=store.path.parent,
        **run_labels(store),
        about=about,
        configuration=json.loads(about["configuration"]),
        counts={
            "asked": len(store.asked() | finished.keys()),
            "finished": len(finished),
            **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        },
    )


def _made_by(configuration: Mapping[str, Any]) -> str:
    method = configuration.get("method", {})
    explainer = "/".join(filter(None, (method.get("explainer", ""), method.get("proposer", ""))))
    return method_words(explainer, method.get("simulator", ""))


WAITING = "waiting"
DAMAGED = "damaged"
_OWN_PLACE = ("command", "configuration", "configuration_hash", "created", SIMULATOR_WARNING)


def run_summary(store: RunStore, damaged: Collection[FeatureKey] | None = None) -> RunSummary:
    """Return the settings of a run and its feature counts by status.

    Args:
        store: the run.
        damaged: features whose rows cannot be read; None: decode every result that the store has not read yet.
    """
    about = store.about()
    names = {name: value for name, value in about.items() if name not in _OWN_PLACE}
    damaged = store.damaged() if damaged is None else damaged
    listed = store.listed()
    counts: Counter[str] = Counter(status for key, (status, _) in listed.items() if key not in damaged)
    if waiting := len(store.asked() - listed.keys()):
        counts[WAITING] = waiting
    if damaged:
        counts[DAMAGED] = len(damaged)
    configuration = json.loads(about["configuration"])
    return RunSummary(
        title=real_path(store.path).parent.name,
        command=about.get("command", ""),
        created=about["created"],
        made_by=_made_by(configuration),
        settings=dict(_in_words({**names, **configuration})),
        finished=not waiting and not damaged,
        counts=dict(sorted(counts.items())),
        warning=about.get(SIMULATOR_WARNING, ""),
    )


def _in_words(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _in_words(value, f"{words}: ")
        elif isinstance(value, list):
            yield words, ", ".join(map(str, value)) or "none"
        else:
            yield words, str(value)
