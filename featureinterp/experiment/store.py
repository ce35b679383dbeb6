"""Run store: one SQLite file, `RUN/run.sqlite`, with one row per finished feature.

A row is written in one transaction with a rollback journal and a full sync: a process killed at any moment leaves the
whole row or none of it, and a full disk leaves the file as it was. The file holds the configuration of the run;
opening it with another one is an error. A damaged row is a warning, and its feature counts as not finished.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from featureinterp import codec
from featureinterp.display import section_html, table_html
from featureinterp.errors import DamagedFeatureError, DataFolderError, InputError, StorageError
from featureinterp.experiment.configuration import canonical_json, changed_settings, configuration_hash
from featureinterp.experiment.result import NEVER_STORED, FeatureKey, FeatureResult, FeatureStatus
from featureinterp.experiment.stored import RUN, compressed, copy_rows, read_about, read_key, read_result, unreachable
from featureinterp.files import atomic_path
from featureinterp.sqlite_file import SqliteFile

FILE_NAME = "run.sqlite"
_SHOWN = 20
"""Number of features in the notebook view."""

_IDENTITY = ("experiment", "subject", "variant")
"""Metadata that names a run's place in an experiment."""

logger = logging.getLogger(__name__)


class RunStore:
    """Results of one run; a context manager that closes the file."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self.path = file.path
        self._sound: set[FeatureKey] = set()
        """Features whose rows were read well."""
        self._damaged: dict[FeatureKey, str] = {}
        """Features whose rows cannot be read, and why."""
        self._is_malformed = False
        """Whether SQLite could not follow the file's structure somewhere."""
        self._told: set[str] = set()

    @classmethod
    def open(cls, run: Path) -> RunStore:
        """Open the run in folder `run`.

        Raises:
            DataFolderError: if there is no run, or the file is something else, or of another version.
            StorageError: if the file cannot be opened.
        """
        path = run / FILE_NAME
        if not path.is_file():
            raise DataFolderError(f"there is no run in {run}: {path} is missing", "`featureinterp explain` makes one")
        return cls(SqliteFile.open(path, RUN))

    @classmethod
    def create(cls, run: Path, configuration: Mapping[str, object], about: Mapping[str, str] | None = None) -> RunStore:
        """Open or create the run in folder `run`.

        Args:
            run: the run's folder, made if missing.
            configuration: every setting that decides the results, as JSON values; stored in the file.
            about: metadata such as the `command`; stored when the run is created, compared with nothing.

        Raises:
            DataFolderError: as `open`, and if the run was made with another configuration.
            StorageError: if the file cannot be written.
        """
        text = canonical_json(configuration)
        rows = {
            **(about or {}),
            "configuration": text,
            "configuration_hash": configuration_hash(configuration),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        store = cls(
            SqliteFile.create(
                run / FILE_NAME, RUN, lambda made: made.executemany("INSERT INTO about VALUES (?, ?)", rows.items())
            )
        )
        try:
            store._mend()
            store._check_configuration(configuration, about or {})
        except (DataFolderError, StorageError):
            store.close()
            raise
        return store

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def about(self) -> dict[str, str]:
        """Return the run's metadata: `configuration` as JSON with its hash, `created`, and others.

        Raises:
            DataFolderError: if that is damaged.
        """
        return read_about(self._file.read("SELECT name, value FROM about"), self.path)

    def note(self, name: str, value: str) -> None:
        """Add metadata; existing entries are kept."""
        self._file.write("INSERT OR IGNORE INTO about VALUES (?, ?)", [(name, value)])

    def ask(self, keys: Iterable[FeatureKey]) -> None:
        """Register the features that the run should explain."""
        rows = [(key.hook_name, key.layer, key.latent) for key in keys]
        mended = "ON CONFLICT DO UPDATE SET layer = excluded.layer WHERE layer IS NOT excluded.layer"
        self._file.write(f"INSERT INTO asked VALUES (?, ?, ?) {mended}", rows)

    def asked(self) -> frozenset[FeatureKey]:
        """Return all registered features."""
        rows = self._file.read("SELECT hook_name, layer, latent FROM asked")
        return frozenset(key for row in rows if (key := self._key(row)) is not None)

    def put(self, result: FeatureResult, shuffled_with: int | None = None) -> None:
        """Write one feature's result, replacing an older one, in one transaction.

        Args:
            result: the feature's whole result.
            shuffled_with: the latent whose explanation made the shuffled floor; None before that pass.

        Raises:
            StorageError: if it cannot be written; the older result is kept.
        """
        assert result.status not in NEVER_STORED, "it is tried again"
        key = result.key
        row = (key.hook_name, key.layer, key.latent, result.status, shuffled_with, compressed(result))
        self._file.write("INSERT OR REPLACE INTO feature VALUES (?, ?, ?, ?, ?, ?)", [row])
        self._sound.add(key)
        self._damaged.pop(key, None)

    def get(self, key: FeatureKey) -> FeatureResult | None:
        """Return one feature's result, or None if not finished.

        Raises:
            DamagedFeatureError: if its row is damaged, or holds another feature.
        """
        question = "SELECT layer, status, result FROM feature WHERE hook_name = ? AND latent = ?"
        try:
            rows = self._file.read(question, (key.hook_name, key.latent))
        except DataFolderError as error:
            self._is_malformed = True
            raise unreachable(key, self.path, error) from error
        return self._with_simulator(read_result(key, rows[0], self.path)) if rows else None

    def _with_simulator(self, result: FeatureResult) -> FeatureResult:
        """Name the simulator of a result made before results did, by the run's configuration."""
        if result.simulator or not result.explainer:
            return result
        return replace(result, simulator=self._simulator)

    @cached_property
    def _simulator(self) -> str:
        method = json.loads(self.about()["configuration"]).get("method", {})
        return method.get("simulator", "")

    def readable(self, key: FeatureKey) -> FeatureResult | None:
        """Return one feature's result, or None if not finished or (with a warning) damaged."""
        try:
            result = None if key in self._damaged else self.get(key)
        except DamagedFeatureError as error:
            self._damaged[key] = error.problem
            self._tell(error)
            return None
        self._sound.add(key)
        return result

    def find(self, layer: int, latent: int) -> FeatureResult:
        """Return the result of a latent of a layer.

        Raises:
            InputError: if the run has no such feature.
            DamagedFeatureError: if its row is damaged.
        """
        finished = sorted(self.listed(), key=lambda key: (key.layer, key.latent))
        for key in finished:
            if (key.layer, key.latent) == (layer, latent) and (result := self.get(key)) is not None:
                return result
        of_layer = [key.latent for key in finished if key.layer == layer]
        hint = f"`featureinterp results {self.path.parent}` lists its features"
        if not of_layer:
            layers = ", ".join(map(str, dict.fromkeys(key.layer for key in finished))) or "none"
            raise InputError(f"{self.path} has no feature of layer {layer}; its layers: {layers}", hint)
        raise InputError(f"{self.path} has no latent {latent} of layer {layer}, but {len(of_layer)} others", hint)

    def results(self) -> Iterator[FeatureResult]:
        """Yield every finished feature in the order of layer and latent, one in memory at a time.

        Damaged ones are left out, each with a warning.
        """
        for key in sorted(self.listed(), key=lambda key: (key.layer, key.latent, key.hook_name)):
            result = self.readable(key)
            if result is not None:
                yield result

    def finished(self) -> dict[FeatureKey, FeatureStatus]:
        """Return every readable feature and its status. Reads every row once."""
        return {key: status for key, (status, _) in self.listed().items() if self._is_sound(key)}

    def damaged(self) -> Mapping[FeatureKey, str]:
        """Return every damaged feature with a reason; these count as not finished."""
        self.finished()
        return dict(self._damaged)

    def listed(self) -> dict[FeatureKey, tuple[Any, int | None]]:
        """Return every stored feature, its status, and the latent of its shuffled baseline.

        Quick: only columns are read, so a row may still turn out to be damaged.
        """
        rows = self._rows()
        return {key: (status, partner) for *name, status, partner in rows if (key := self._key(name)) is not None}

    def _repr_html_(self) -> str:
        statuses = Counter(self.finished().values())
        waiting = len(self.asked() - self.finished().keys())
        told = [f"{n} {status}" for status, n in sorted(statuses.items())] + [f"{waiting} waiting"] * bool(waiting)
        shown = list(islice(self.results(), _SHOWN))
        rows = [
            (
                f"{result.key.layer}/{result.key.latent}",
                result.reason if result.explanation is None else "; ".join(str(result.explanation).splitlines()),
                next((str(scores.correlation) for scores in result.scores.values()), "–"),
            )
            for result in shown
        ]
        about = self.about()
        names = [f"{name} {about[name]}" for name in ("model", "SAE", "corpus") if about.get(name)]
        note = "; ".join([*names, ", ".join(told)])
        more = len(self.finished()) - len(shown)
        table = table_html(("layer/latent", "explanation", "test correlation"), rows)
        return section_html(
            f"run {self.path.parent.name}", table, note=note + (f"; the first {_SHOWN}" if more else "")
        )

    def explained(self) -> dict[FeatureKey, int | None]:
        """Return every explained feature, and the latent of its shuffled baseline (None: not computed)."""
        rows = self.listed().items()
        return {key: partner for key, (status, partner) in rows if status == "explained" and self._is_sound(key)}

    def _rows(self) -> list[tuple[Any, ...]]:
        """Return the columns of every feature except its result; of a damaged table, the readable ones."""
        columns = "SELECT hook_name, layer, latent, status, shuffled_with FROM feature"
        try:
            return self._file.read(columns)
        except DataFolderError:
            self._is_malformed = True
            asked = sorted(self.asked(), key=lambda key: (key.layer, key.latent, key.hook_name))
        rows = []
        for key in asked:
            self.readable(key)
            if key not in self._damaged:
                rows += self._file.read(f"{columns} WHERE hook_name = ? AND latent = ?", (key.hook_name, key.latent))
        return rows

    def _is_sound(self, key: FeatureKey) -> bool:
        return key in self._sound or self.readable(key) is not None

    def _key(self, columns: Sequence[Any]) -> FeatureKey | None:
        try:
            return read_key(columns, self.path)
        except DataFolderError as error:
            self._tell(error)
            return None

    def _tell(self, error: DataFolderError) -> None:
        if error.problem not in self._told:
            self._told.add(error.problem)
            logger.warning("%s", error)

    def _mend(self) -> None:
        """Copy readable rows of a structurally damaged file to a new one."""
        finished = self.finished()
        if not self._is_malformed:
            return
        with atomic_path(self.path) as temporary:
            copy_rows(self._file, temporary, finished)
        self._file.close()
        self._file = SqliteFile.open(self.path, RUN)
        logger.warning(
            "%s was damaged; it was written anew with the %d features that can be read", self.path, len(finished)
        )

    def _check_configuration(self, wanted: Mapping[str, object], about: Mapping[str, str]) -> None:
        own = self.about()
        changed = ", ".join(changed_settings(own["configuration"], wanted))
        if changed:
            remedy = "name another folder, or give the settings it was made with"
            empty = "" if self.listed() else "it holds no result yet: remove it, "
            raise DataFolderError(f"{self.path} was made with {changed}", empty + remedy)
        names = {name: (own.get(name, about[name]), about[name]) for name in _IDENTITY if name in about}
        codec.check_address(str(self.path), **names)
