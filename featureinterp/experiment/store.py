"""Where the results of a run are kept: one SQLite file, `RUN/run.sqlite`, one row per finished feature.

A row is written in one transaction with a rollback journal and a full sync, so a process that is killed at any
moment leaves either the whole row or none of it, and a full disk leaves what was there. The file says which
configuration made it and which version of the schema it follows, and is refused where either differs from what
is asked for.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from featureinterp import codec
from featureinterp.display import section_html, table_html
from featureinterp.errors import DataFolderError, InputError, StorageError
from featureinterp.experiment.configuration import canonical_json, completed, configuration_hash, differences
from featureinterp.experiment.result import FeatureKey, FeatureResult, FeatureStatus

SCHEMA_VERSION = 1
FILE_NAME = "run.sqlite"
_SHOWN = 20
"""Features of a run that a notebook shows."""
_APPLICATION_ID = 0x46495250  # "FIRP" in SQLite's header: tells a run from any other database

_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE asked (
    hook_name TEXT NOT NULL,
    layer INTEGER NOT NULL,
    latent INTEGER NOT NULL,
    PRIMARY KEY (hook_name, latent)
) WITHOUT ROWID;
CREATE TABLE feature (
    hook_name TEXT NOT NULL,
    layer INTEGER NOT NULL,
    latent INTEGER NOT NULL,
    status TEXT NOT NULL,
    shuffled_with INTEGER,
    result BLOB NOT NULL,
    PRIMARY KEY (hook_name, latent)
) WITHOUT ROWID;
"""


class RunStore:
    """The results of one run. A context manager; close it or leave the block to let go of the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, run: Path) -> RunStore:
        """Open the run in folder `run`.

        Raises:
            DataFolderError: if there is no run, or it is not one, or one of another schema version.
        """
        path = run / FILE_NAME
        if not path.is_file():
            raise DataFolderError(f"there is no run in {run}: {path} is missing", "`featureinterp explain` makes one")
        store = cls(_connect(path), path)
        try:
            store._check_schema()
        except DataFolderError:
            store.close()
            raise
        return store

    @classmethod
    def create(cls, run: Path, configuration: Mapping[str, object], about: Mapping[str, str] | None = None) -> RunStore:
        """Open the run in folder `run`, or begin it where there is none.

        Args:
            run: the run's folder, made if missing.
            configuration: all that decides the results, as JSON values; kept in the file.
            about: what else is worth knowing, such as the `command`; kept where the run begins, compared with nothing.

        Raises:
            DataFolderError: as `open`, and if the run was made with another configuration.
            StorageError: if the file cannot be written.
        """
        path = run / FILE_NAME
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the run's folder {run} cannot be made: {error.strerror}") from error
        store = cls(_connect(path), path)
        try:
            if store._is_empty():
                store._initialise(configuration, about or {})
            store._check_schema()
            store._check_configuration(configuration)
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
        """Let go of the file."""
        self._connection.close()

    def about(self) -> dict[str, str]:
        """Return what the run says of itself: its `configuration` as JSON with its hash, `created`, and the rest."""
        with self._errors():
            return dict(self._connection.execute("SELECT name, value FROM about").fetchall())

    def note(self, name: str, value: str) -> None:
        """Add to what the run says of itself; what it says already stays."""
        with self._errors(), self._connection:
            self._connection.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, value))

    def ask(self, keys: Iterable[FeatureKey]) -> None:
        """Note features that the run is to hold, so that it can tell how many it waits for."""
        rows = [(key.hook_name, key.layer, key.latent) for key in keys]
        with self._errors(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", rows)

    def asked(self) -> frozenset[FeatureKey]:
        """Return all features that the run is to hold."""
        with self._errors():
            rows = self._connection.execute("SELECT hook_name, layer, latent FROM asked").fetchall()
        return frozenset(FeatureKey(*row) for row in rows)

    def put(self, result: FeatureResult, shuffled_with: int | None = None) -> None:
        """Write one feature's result, replacing an older one, in one transaction.

        Args:
            result: the feature's whole result.
            shuffled_with: the latent whose explanation made the shuffled floor; None before that pass.

        Raises:
            StorageError: if it cannot be written; what was there before stays.
        """
        assert result.status not in ("unfinished", "refused"), "such a feature is tried again"
        key, body = result.key, zlib.compress(codec.encode(result), level=6)
        with self._errors(), self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO feature VALUES (?, ?, ?, ?, ?, ?)",
                (key.hook_name, key.layer, key.latent, result.status, shuffled_with, body),
            )

    def get(self, key: FeatureKey) -> FeatureResult | None:
        """Return one feature's result, or None where it is not finished."""
        with self._errors():
            row = self._connection.execute(
                "SELECT result FROM feature WHERE hook_name = ? AND latent = ?", (key.hook_name, key.latent)
            ).fetchone()
        return None if row is None else self._decode(row[0])

    def find(self, layer: int, latent: int) -> FeatureResult:
        """Return the result of a latent of a layer.

        Raises:
            InputError: if the run has no such feature.
        """
        finished = sorted(self.finished(), key=lambda key: (key.layer, key.latent))
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
        """Yield every finished feature in the order of layer and latent, one in memory at a time."""
        for key in sorted(self.finished(), key=lambda key: (key.layer, key.latent, key.hook_name)):
            result = self.get(key)
            if result is not None:
                yield result

    def finished(self) -> dict[FeatureKey, FeatureStatus]:
        """Return every feature that has a result, and what became of it."""
        return {FeatureKey(*name): status for *name, status in self._rows("status")}

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
        """Return every explained feature, and the latent that made its shuffled floor (None: not made yet)."""
        rows = self._rows("status, shuffled_with")
        return {FeatureKey(*name): partner for *name, status, partner in rows if status == "explained"}

    def _rows(self, columns: str) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(f"SELECT hook_name, layer, latent, {columns} FROM feature").fetchall()

    def _is_empty(self) -> bool:
        with self._errors():
            return self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0

    def _initialise(self, configuration: Mapping[str, object], about: Mapping[str, str]) -> None:
        text = canonical_json(configuration)
        rows = {
            **about,
            "configuration": text,
            "configuration_hash": configuration_hash(configuration),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        with self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _TABLES.split(";")):
                self._connection.execute(statement)
            self._connection.executemany("INSERT INTO about VALUES (?, ?)", rows.items())
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_schema(self) -> None:
        with self._errors():
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID:
            raise _not_a_run(self.path, "it is another program's database")
        if version != SCHEMA_VERSION:
            raise DataFolderError(
                f"{self.path} is a run of version {version}, this featureinterp reads version {SCHEMA_VERSION}",
                "use the featureinterp that made it, or make the run again",
            )

    def _check_configuration(self, wanted: Mapping[str, object]) -> None:
        wanted_json = json.loads(canonical_json(wanted))  # tuples become lists, as in the file
        found = completed(json.loads(self.about()["configuration"]), wanted_json)
        told = ", ".join(differences(found, wanted_json))
        if told:
            remedy = "name another folder, or give the settings it was made with"
            empty = "" if self.finished() else "it holds no result yet: remove it, "
            raise DataFolderError(f"{self.path} was made with {told}", empty + remedy)

    def _decode(self, body: bytes) -> FeatureResult:
        try:
            return codec.decode(zlib.decompress(body), FeatureResult)
        except zlib.error as error:
            raise DataFolderError(f"a result in {self.path} is damaged: {error}", "make the run again") from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours: a full or read-only disk, a locked file, no database at all."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self.path} cannot be read or written: {error}; finished features are kept",
                "make room or check the permissions, then give the same command again",
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataFolderError(
                f"{self.path} is not a run of featureinterp: {error}", "name another folder"
            ) from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=30)
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} cannot be opened: {error}", "check the folder and its permissions") from error
    except sqlite3.DatabaseError as error:
        raise _not_a_run(path, str(error)) from error
    return connection


def _not_a_run(path: Path, reason: str) -> DataFolderError:
    return DataFolderError(f"{path} is not a run of featureinterp: {reason}", "name the folder of a run, or a new one")
