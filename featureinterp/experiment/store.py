"""Where the results of a run are kept: one SQLite file, `RUN/run.sqlite`, one row per finished feature.

A row is written in one transaction with a rollback journal and a full sync, so a process that is killed at any
moment leaves either the whole row or none of it, and a full disk leaves what was there. The file says which
configuration made it and which version of the schema it follows, and is refused where either differs from what
is asked for.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from featureinterp import codec
from featureinterp.errors import DataFolderError, StorageError
from featureinterp.experiment.result import FeatureKey, FeatureResult

SCHEMA_VERSION = 1
FILE_NAME = "run.sqlite"
_APPLICATION_ID = 0x46495250  # "FIRP" in SQLite's header: tells a run from any other database

_TABLES = """
CREATE TABLE configuration (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
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


def canonical_json(configuration: Mapping[str, object]) -> str:
    """Write a configuration so that equal ones are equal texts: keys sorted, no spaces.

    >>> canonical_json({"seed": 0, "explainer": "tree"})
    '{"explainer":"tree","seed":0}'
    """
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)


def configuration_hash(configuration: Mapping[str, object]) -> str:
    """Return the SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(configuration).encode()).hexdigest()


def differences(found: object, wanted: object, name: str = "") -> Iterator[str]:
    """Yield every setting in which two configurations differ, nested ones by their dotted name.

    >>> list(differences({"seed": 0, "tree": {"width": 3}}, {"seed": 0, "tree": {"width": 5}}))
    ['tree.width=3 instead of 5']
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        for inner in sorted({*found, *wanted}):
            yield from differences(found.get(inner), wanted.get(inner), f"{name}.{inner}" if name else inner)
    elif found != wanted:
        yield f"{name}={json.dumps(found)} instead of {json.dumps(wanted)}"


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
    def create(cls, run: Path, configuration: Mapping[str, object]) -> RunStore:
        """Open the run in folder `run`, or begin it where there is none.

        Args:
            run: the run's folder, made if missing.
            configuration: all that decides the results, as JSON values; kept in the file.

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
                store._initialise(configuration)
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

    def configuration(self) -> dict[str, object]:
        """Return the configuration that the run was made with."""
        with self._errors():
            rows = self._connection.execute("SELECT value FROM configuration WHERE name = 'configuration'").fetchall()
        if not rows:
            raise DataFolderError(f"{self.path} does not say how it was made", "make the run again")
        return json.loads(rows[0][0])

    def put(self, result: FeatureResult, shuffled_with: int | None = None) -> None:
        """Write one feature's result, replacing an older one, in one transaction.

        Args:
            result: the feature's whole result.
            shuffled_with: the latent whose explanation made the shuffled floor; None before that pass.

        Raises:
            StorageError: if it cannot be written; what was there before stays.
        """
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

    def results(self) -> Iterator[FeatureResult]:
        """Yield every finished feature in the order of layer and latent, one in memory at a time."""
        for key in sorted(self.finished(), key=lambda key: (key.layer, key.latent, key.hook_name)):
            result = self.get(key)
            if result is not None:
                yield result

    def finished(self) -> frozenset[FeatureKey]:
        """Return every feature that has a result, explained or not."""
        return frozenset(self._partners("TRUE"))

    def explained(self) -> dict[FeatureKey, int | None]:
        """Return every explained feature, and the latent that made its shuffled floor (None: not made yet)."""
        return self._partners("status = 'explained'")

    def _partners(self, condition: str) -> dict[FeatureKey, int | None]:
        query = f"SELECT hook_name, layer, latent, shuffled_with FROM feature WHERE {condition}"
        with self._errors():
            rows = self._connection.execute(query).fetchall()
        return {FeatureKey(hook, layer, latent): partner for hook, layer, latent, partner in rows}

    def _is_empty(self) -> bool:
        with self._errors():
            return self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0

    def _initialise(self, configuration: Mapping[str, object]) -> None:
        text = canonical_json(configuration)
        with self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _TABLES.split(";")):
                self._connection.execute(statement)
            rows = (("configuration", text), ("configuration_hash", hashlib.sha256(text.encode()).hexdigest()))
            self._connection.executemany("INSERT INTO configuration VALUES (?, ?)", rows)
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
        found = self.configuration()
        told = ", ".join(differences(found, json.loads(canonical_json(wanted))))  # tuples become lists, as in the file
        if told:
            raise DataFolderError(
                f"{self.path} was made with {told}", "name another folder, or give the settings it was made with"
            )

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
