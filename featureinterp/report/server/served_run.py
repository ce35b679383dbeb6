"""Served run: features by page name, and pages rendered on request.

The run is read again for each request, so a growing run is served in its current state. The data of lists is
cached; new and changed features are read again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from featureinterp.analysis.runs import run_summary
from featureinterp.experiment.result import FeatureKey, FeatureResult, RunSummary
from featureinterp.experiment.store import RunStore
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.pages.index import INDEX_SCRIPT, index_script, render_index, script_json
from featureinterp.report.pages.run_pages import (
    ASSETS,
    FeaturePage,
    asset_bytes,
    feature_json,
    file_name,
    make_environment,
    render_feature,
)
from featureinterp.report.server.limits import RefusalError

SERVED_ASSETS = (*ASSETS, "bench.js")


@dataclass(frozen=True)
class Entry:
    """Data of a feature for lists."""

    name: str
    row: FeatureRow
    max_activation: float

    @property
    def key(self) -> FeatureKey:
        """Key of the feature."""
        return self.row.key


class ServedRun:
    """The pages of one run; thread-safe."""

    def __init__(self, run: Path) -> None:
        """Open a run.

        Raises:
            DataFolderError: if it does not exist, or has another version.
        """
        self._run = run
        with RunStore.open(run) as store:
            self._about = store.about()
            self.layers = frozenset(key.layer for key in store.asked() | store.listed().keys())
            """Layers of the features that the run is to hold."""
        self._lock = threading.Lock()
        self._state: Mapping[FeatureKey, object] = {}
        self._entries: dict[str, Entry] = {}
        self._damaged: frozenset[FeatureKey] = frozenset()
        self._index: tuple[RunSummary, Mapping[FeatureKey, object], bytes, bytes] | None = None

    @property
    def about(self) -> Mapping[str, str]:
        """Metadata of the run."""
        return self._about

    @cached_property
    def configuration(self) -> Mapping[str, Any]:
        """All settings that determine the run's results."""
        return json.loads(self._about["configuration"])

    @cached_property
    def environment(self) -> Environment:
        """The templates' environment, for pages with a bench."""
        environment = make_environment()
        environment.globals["served"] = True
        environment.filters["script_json"] = lambda value: Markup(script_json(value))
        return environment

    def summary(self) -> RunSummary:
        """Return the run's metadata and progress."""
        self.entries()
        with RunStore.open(self._run) as store:
            return run_summary(store, self._damaged)

    def entries(self) -> Mapping[str, Entry]:
        """Return all finished features by name, in the order of their pages."""
        with self._lock, RunStore.open(self._run) as store:
            self._refresh(store)
            return self._entries

    def result(self, name: str) -> FeatureResult:
        """Return the result of a feature.

        Raises:
            RefusalError: 404, if no page has that name.
        """
        entry = self.entries().get(name)
        with RunStore.open(self._run) as store:
            result = None if entry is None else store.readable(entry.key)
        if result is None:
            raise RefusalError(404, "the run has no feature of that name", "open the list of features")
        return result

    def find(self, layer: int, latent: int, hook: str | None) -> FeatureResult:
        """Return the result of a feature.

        Raises:
            RefusalError: 404, if the run has no such feature; 422, if it has several.
        """
        found = [
            entry
            for entry in self.entries().values()
            if (entry.key.layer, entry.key.latent) == (layer, latent) and hook in (None, entry.key.hook_name)
        ]
        if not found:
            where = "" if hook is None else " on that hook"
            told = f"the run has no latent {latent} of layer {layer}{where}"
            raise RefusalError(404, told, "GET /api/features lists its features")
        if len(found) > 1:
            hooks = ", ".join(entry.key.hook_name for entry in found)
            raise RefusalError(422, f"layer {layer} has several hooks with a latent {latent}", f"give one: {hooks}")
        return self.result(found[0].name)

    def index_page(self) -> bytes:
        """Return the page of all features."""
        return self._index_files()[0]

    def feature_page(self, name: str) -> bytes:
        """Return the page of one feature.

        Raises:
            RefusalError: 404, if no page has that name.
        """
        page, names = FeaturePage(name, self.result(name)), list(self.entries())
        at = names.index(name)
        before, after = names[at - 1] if at else None, names[at + 1] if at + 1 < len(names) else None
        return render_feature(self.environment, page, before, after, self.summary()).encode()

    def feature_json(self, name: str) -> bytes:
        """Return the result of a feature as JSON; raises as `feature_page`."""
        return feature_json(self.result(name))

    def asset(self, name: str) -> bytes:
        """Return a file shared by pages.

        Raises:
            RefusalError: 404, if it does not exist.
        """
        if name == INDEX_SCRIPT:
            return self._index_files()[1]
        if name not in SERVED_ASSETS:
            raise RefusalError(404, "there is nothing here", "open the list of features")
        return asset_bytes(self.environment, name)

    def page(self, template: str, **values: object) -> bytes:
        """Return a page outside the run."""
        return self.environment.get_template(template).render(**values).encode()

    def _index_files(self) -> tuple[bytes, bytes]:
        """Return the page of all features and its table; cached for each state of the run."""
        entries, summary, state = self.entries(), self.summary(), self._state
        if self._index is None or self._index[:2] != (summary, state):
            rows, names = [entry.row for entry in entries.values()], list(entries)
            page = render_index(self.environment, rows, names, summary).encode()
            self._index = (summary, state, page, index_script(rows, names))
        return self._index[2:]

    def _refresh(self, store: RunStore) -> None:
        """Read new features, and those with a new baseline."""
        state = store.listed()
        if state == self._state:
            return
        known = {entry.key: entry for entry in self._entries.values()}
        taken: set[str] = set()
        entries: dict[str, Entry] = {}
        damaged = set()
        for key in sorted(state, key=lambda key: (key.layer, key.latent, key.hook_name)):
            name = file_name(key, taken)
            entry = known.get(key)
            if entry is None or self._state.get(key) != state[key]:
                result = store.readable(key)
                if result is None:
                    damaged.add(key)
                    continue
                entry = Entry(name, FeatureRow.of(result), result.max_activation)
            entries[name] = Entry(name, entry.row, entry.max_activation)
        self._entries, self._state, self._damaged = entries, state, frozenset(damaged)
