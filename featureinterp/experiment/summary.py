"""What a run is and how far it has come, for the head of a report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from featureinterp.experiment.result import RunSummary
from featureinterp.experiment.store import RunStore
from featureinterp.files import real_path

WAITING = "waiting"
_OWN_PLACE = ("command", "configuration", "configuration_hash", "created")


def run_summary(store: RunStore) -> RunSummary:
    """Tell what decides the run's results, and count its features by what became of them."""
    about = store.about()
    names = {name: value for name, value in about.items() if name not in _OWN_PLACE}
    finished = store.finished()
    counts: Counter[str] = Counter(finished.values())
    if waiting := len(store.asked() - finished.keys()):
        counts[WAITING] = waiting
    return RunSummary(
        title=real_path(store.path).parent.name,
        command=about.get("command", ""),
        created=about["created"],
        settings=dict(_in_words({**names, **json.loads(about["configuration"])})),
        finished=not waiting,
        counts=dict(sorted(counts.items())),
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
