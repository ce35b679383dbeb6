"""Run store: one SQLite file, `RUN/run.sqlite`, with one row per finished feature.

A row is written in one transaction with a rollback journal and a full sync, so a process that is killed at any
moment leaves either the whole row or none of it, and a full disk leaves what was there. The file says which
configuration made it and which version of the schema it follows, and is refused where either differs from what
is asked for. A damaged row is told, and taken for a feature that is not finished: the rest is read.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from featureinterp import codec
from featureinterp.display import section_html, table_html
from featureinterp.errors import DamagedFeatureError, DataFolderError, InputError, StorageError
from featureinterp.experiment.configuration import canonical_json, completed, configuration_hash, differences
from featureinterp.experiment.result import NEVER_STORED, FeatureKey, FeatureResult, FeatureStatus
from featureinterp.experiment.stored import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    STATEMENTS,
    compressed,
    copy_rows,
    read_about,
    read_key,
    read_result,
    unreachable,
)
from featureinterp.files import atomic_path, check_regular, keep_private

FILE_NAME = "run.sqlite"
_SHOWN = 20
"""Features of a run that a notebook shows."""

_IDENTITY = ("experiment", "subject", "variant")
"""What a run says of its place in an experiment."""

logger = logging.getLogger(__name__)


class RunStore:
    """Results of one run; a context manager that closes the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path
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
        """Open or create the run in folder `run`.

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
            keep_private(path)
        except OSError as error:
            raise StorageError(f"the run's folder {run} cannot be made: {error.strerror}") from error
        store = cls(_connect(path), path)
        try:
            if store._is_empty():
                store._initialise(configuration, about or {})
            store._check_schema()
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
        self._connection.close()

    def about(self) -> dict[str, str]:
        """Return the run's metadata: `configuration` as JSON with its hash, `created`, and others.

        Raises:
            DataFolderError: if that is damaged.
        """
        with self._errors():
            return read_about(self._connection.execute("SELECT name, value FROM about").fetchall(), self.path)

    def note(self, name: str, value: str) -> None:
        """Add metadata; existing entries are kept."""
        with self._errors(), self._connection:
            self._connection.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, value))

    def ask(self, keys: Iterable[FeatureKey]) -> None:
        """Register the features that the run should explain."""
        rows = [(key.hook_name, key.layer, key.latent) for key in keys]
        mended = "ON CONFLICT DO UPDATE SET layer = excluded.layer WHERE layer IS NOT excluded.layer"
        statement = f"INSERT INTO asked VALUES (?, ?, ?) {mended}"
        with self._errors(), self._connection:
            self._connection.executemany(statement, rows)

    def asked(self) -> frozenset[FeatureKey]:
        """Return all registered features."""
        with self._errors():
            rows = self._connection.execute("SELECT hook_name, layer, latent FROM asked").fetchall()
        return frozenset(key for row in rows if (key := self._key(row)) is not None)

    def put(self, result: FeatureResult, shuffled_with: int | None = None) -> None:
        """Write one feature's result, replacing an older one, in one transaction.

        Args:
            result: the feature's whole result.
            shuffled_with: the latent whose explanation made the shuffled floor; None before that pass.

        Raises:
            StorageError: if it cannot be written; what was there before stays.
        """
        assert result.status not in NEVER_STORED, "it is tried again"
        key, body = result.key, compressed(result)
        with self._errors(), self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO feature VALUES (?, ?, ?, ?, ?, ?)",
                (key.hook_name, key.layer, key.latent, result.status, shuffled_with, body),
            )
        self._sound.add(key)
        self._damaged.pop(key, None)

    def get(self, key: FeatureKey) -> FeatureResult | None:
        """Return one feature's result, or None if not finished.

        Raises:
            DamagedFeatureError: if its row is damaged, or holds another feature.
        """
        question = "SELECT layer, status, result FROM feature WHERE hook_name = ? AND latent = ?"
        try:
            with self._errors():
                row = self._connection.execute(question, (key.hook_name, key.latent)).fetchone()
        except DataFolderError as error:
            self._is_malformed = True
            raise unreachable(key, self.path, error) from error
        return None if row is None else read_result(key, row, self.path)

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

        Quick: it is what columns say, whose rows may still turn out to be damaged.
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
            with self._errors():
                return self._connection.execute(columns).fetchall()
        except DataFolderError:
            self._is_malformed = True
            asked = sorted(self.asked(), key=lambda key: (key.layer, key.latent, key.hook_name))
        rows = []
        for key in asked:
            self.readable(key)
            if key not in self._damaged:
                where = " WHERE hook_name = ? AND latent = ?"
                rows += self._connection.execute(columns + where, (key.hook_name, key.latent)).fetchall()
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
            for statement in STATEMENTS:
                self._connection.execute(statement)
            self._connection.executemany("INSERT INTO about VALUES (?, ?)", rows.items())

    def _mend(self) -> None:
        """Copy readable rows of a structurally damaged file to a new one."""
        finished = self.finished()
        if not self._is_malformed:
            return
        with self._errors(), atomic_path(self.path) as temporary:
            copy_rows(self._connection, temporary, finished)
        self._connection.close()
        self._connection = _connect(self.path)
        logger.warning(
            "%s was damaged; it was written anew with the %d features that can be read", self.path, len(finished)
        )

    def _check_schema(self) -> None:
        with self._errors():
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise _not_a_run(self.path, "it is another program's database")
        if version != SCHEMA_VERSION:
            raise DataFolderError(
                f"{self.path} is a run of version {version}, this featureinterp reads version {SCHEMA_VERSION}",
                "use the featureinterp that made it, or make the run again",
            )

    def _check_configuration(self, wanted: Mapping[str, object], about: Mapping[str, str]) -> None:
        own = self.about()
        wanted_json = json.loads(canonical_json(wanted))  # tuples become lists, as in the file
        found = completed(json.loads(own["configuration"]), wanted_json)
        told = ", ".join(differences(found, wanted_json))
        if told:
            remedy = "name another folder, or give the settings it was made with"
            empty = "" if self.listed() else "it holds no result yet: remove it, "
            raise DataFolderError(f"{self.path} was made with {told}", empty + remedy)
        names = {name: (own.get(name, about[name]), about[name]) for name in _IDENTITY if name in about}
        codec.check_address(str(self.path), **names)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert SQLite errors: a full or read-only disk, a locked file, no database."""
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
        with suppress(FileNotFoundError):
            check_regular(path)
    except OSError as error:
        raise _not_a_run(path, str(error.strerror)) from error
    try:
        connection = sqlite3.connect(path, timeout=30)
        connection.text_factory = lambda text: text.decode(errors="replace")  # damaged text is no end of the run
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} cannot be opened: {error}", "check the folder and its permissions") from error
    except sqlite3.DatabaseError as error:
        raise _not_a_run(path, str(error)) from error
    return connection


def _not_a_run(path: Path, reason: str) -> DataFolderError:
    return DataFolderError(f"{path} is not a run of featureinterp: {reason}", "name the folder of a run, or a new one")
