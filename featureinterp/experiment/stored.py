"""Validated reading of a run store's rows.

A feature's row identifies the feature twice, in its columns and in its result, and its body has the checksum of zlib.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from featureinterp import codec
from featureinterp.errors import DamagedFeatureError, DataFolderError
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.sqlite_file import DatabaseKind, SqliteFile

RUN = DatabaseKind(
    noun="run",
    application_id=0x46495250,  # "FIRP"
    version=1,
    tables="""
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
        ) WITHOUT ROWID""",
    kept="finished features are kept",
    other_file="name the folder of a run, or a new one",
    other_version="use the featureinterp that made it, or make the run again",
)
"""The file of a run."""

_AGAIN = "the `explain` command of the run makes this feature again, the others stay"


def compressed(result: FeatureResult) -> bytes:
    """Return the compressed body of a feature's row."""
    return zlib.compress(codec.encode(result), level=6)


def read_result(key: FeatureKey, columns: Sequence[Any], path: Path) -> FeatureResult:
    """Read and validate the result in a feature's row.

    Args:
        key: feature of the row.
        columns: layer, status and result of the row.
        path: file of the run, for errors.

    Raises:
        DamagedFeatureError: if it cannot be read, or belongs to another feature.
    """
    (layer, status, body), where = columns, f"the result of latent {key.latent} of {key.hook_name} in {path}"
    try:
        result = codec.decode(codec.decompress(body, where), FeatureResult, where)
        inside = result.key
        codec.check_address(
            where,
            hook=(inside.hook_name, key.hook_name),
            layer=(inside.layer, layer),
            latent=(inside.latent, key.latent),
            status=(result.status, status),
        )
    except DataFolderError as error:
        raise DamagedFeatureError(error.problem, _AGAIN) from error
    return result


def unreachable(key: FeatureKey, path: Path, error: DataFolderError) -> DamagedFeatureError:
    """Return the error of a feature whose row SQLite cannot reach."""
    told = f"the result of latent {key.latent} of {key.hook_name} in {path} is damaged: {error.__cause__}"
    return DamagedFeatureError(told, _AGAIN)


def read_key(columns: Sequence[Any], path: Path) -> FeatureKey:
    """Return the feature key of a row.

    Raises:
        DataFolderError: if they are not text and integers.
    """
    wanted = (str, int, int)
    if all(isinstance(value, kind) for value, kind in zip(columns, wanted, strict=True)):
        return FeatureKey(*columns)
    told = ", ".join(map(_kind, columns))
    raise DataFolderError(f"a row of {path} names no feature: it holds {told}", "only this row is lost")


def read_about(rows: Iterable[tuple[Any, Any]], path: Path) -> dict[str, str]:
    """Return a run's metadata.

    Raises:
        DataFolderError: if a value is not text, or the configuration is missing.
    """
    about = dict(rows)
    for name, value in about.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _nameless(path, f"{name!r} is {_kind(value)}")
    missing = [name for name in ("configuration", "created") if name not in about]
    if missing:
        raise _nameless(path, f"{missing[0]!r} is missing")
    codec.decode_json(about["configuration"], dict, f"the configuration in {path}")
    if not about.get("n_layers", "0").isdecimal():
        raise _nameless(path, f"'n_layers' is {about['n_layers']!r}")
    return about


def _nameless(path: Path, told: str) -> DataFolderError:
    return DataFolderError(f"{path} does not record how it was made: {told}", "make the run again in another folder")


def _kind(value: object) -> str:
    kind = {bytes: "bytes", str: "text", int: "a whole number", float: "a number"}.get(type(value), "nothing")
    return kind if isinstance(value, bytes) or value is None else f"{kind} ({str(value)[:40]!r})"


def copy_rows(source: SqliteFile, target: Path, keys: Iterable[FeatureKey]) -> None:
    """Copy the readable rows of a damaged run into a new file.

    Args:
        source: the damaged run.
        target: the file, which is created.
        keys: features whose rows can be read.

    Raises:
        DataFolderError: if the metadata or a feature's row cannot be read.
        StorageError: if the file cannot be written.
    """
    where = "WHERE hook_name = ? AND latent = ?"
    with SqliteFile.create(target, RUN) as made:
        for name, width in (("about", 2), ("asked", 3)):
            rows = source.read(f"SELECT * FROM {name}")
            made.write(f"INSERT OR REPLACE INTO {name} VALUES ({', '.join('?' * width)})", rows)
        rows = (source.read(f"SELECT * FROM feature {where}", (key.hook_name, key.latent))[0] for key in keys)
        made.write("INSERT INTO feature VALUES (?, ?, ?, ?, ?, ?)", rows)
