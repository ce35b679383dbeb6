"""Hugging Face datasets as corpora: streamed from the hub, or saved in a local folder."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featureinterp.dataset.corpus.documents import (
    DEFAULT_SPLIT,
    FILE_KINDS,
    CorpusSpec,
    Document,
    as_document,
    choose_column,
)
from featureinterp.dataset.corpus.local_files import hash_files
from featureinterp.errors import CorpusError
from featureinterp.pretrained.hub import broken_connection, transport_error, why_silent

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder, DatasetDict, IterableDataset

_ROWS = 1024
_LOCAL = f"or give the path of a local file or folder: {FILE_KINDS}, or a saved dataset"


_OF_VALUES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of the dataset library for a saved dataset with invalid values."""


class HubDataset:
    """A dataset on the hub, streamed."""

    def __init__(self, spec: CorpusSpec, made: str = "") -> None:
        """Resolve the dataset's latest revision, or use that of an earlier fingerprint.

        Raises:
            CorpusError: if the hub cannot be reached, or has no such dataset or configuration.
        """
        self._spec = spec
        parts = (f"hub {spec.name}", spec.config or "default", spec.split, spec.text_column)
        self._identity = ", ".join(parts) + " @ "
        self._builder: DatasetBuilder | None = None
        self._revision = made.removeprefix(self._identity) if made.startswith(self._identity) else self._newest()

    def fingerprint(self) -> str:
        """Return name, configuration, split, column and revision."""
        return self._identity + self._revision

    def documents(self) -> Iterator[Document]:
        """Yield the documents, streamed over the network."""
        where = f"dataset {self._spec.name!r}"
        with _told(where):
            builder = self._builder or self._open(self._revision)
            dataset: Any = builder.as_streaming_dataset(self._spec.split)
            yield from _documents(dataset, self._spec.text_column, where)

    def _newest(self) -> str:
        self._builder = self._open(None)
        base, at, revision = (self._builder.base_path or "").partition("@")
        return revision.partition("/")[0] if at and base.startswith("hf://") else "unknown revision"

    def _open(self, revision: str | None) -> DatasetBuilder:
        import datasets
        from datasets import config

        where = f"dataset {self._spec.name!r}"
        if not config.HF_HUB_OFFLINE:
            silent = why_silent(config.HF_ENDPOINT)
            if silent:
                raise CorpusError(
                    f"{where} is not a local path, and {config.HF_ENDPOINT} cannot be reached: {silent}", _LOCAL
                )
        with _told(where):
            return datasets.load_dataset_builder(self._spec.name, self._spec.config or None, revision=revision)


class SavedDataset:
    """A folder written by `save_to_disk`: a dataset, or one per split."""

    def __init__(self, spec: CorpusSpec) -> None:
        self._spec = spec

    @staticmethod
    def is_at(path: Path) -> bool:
        """Return whether a folder is a saved dataset, or has one per split."""
        return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()

    def fingerprint(self) -> str:
        """Return a SHA-256 over the folder's files, and split and column."""
        return f"sha256 {hash_files(self._paths)}, {self._spec.split}, {self._spec.text_column}"

    @property
    def _paths(self) -> tuple[Path, ...]:
        return tuple(sorted(Path(self._spec.name).rglob("*.arrow")))

    def documents(self) -> Iterator[Document]:
        """Yield the documents."""
        import datasets

        if not self._paths:
            return
        where = f"saved dataset {self._spec.name}"
        with _told(where):
            loaded = datasets.load_from_disk(self._spec.name)
            self._check_config(loaded)
            if isinstance(loaded, datasets.DatasetDict):
                if self._spec.split not in loaded:
                    raise CorpusError(
                        f"{where} has no split {self._spec.split!r}", f"it has {', '.join(map(str, loaded))}"
                    )
                loaded = loaded[self._spec.split]
            elif self._spec.split not in (DEFAULT_SPLIT, str(loaded.split)):
                own = f"it is the split {loaded.split}" if loaded.split else "it has no splits"
                raise CorpusError(f"{where} has no split {self._spec.split!r}", f"{own}; omit --dataset-split")
            yield from _documents(loaded.with_format(None), self._spec.text_column, where)

    def _check_config(self, loaded: Dataset | DatasetDict) -> None:
        """Raise an error if the requested configuration is not that of the dataset."""
        tables = loaded.values() if isinstance(loaded, dict) else [loaded]
        names = {str(table.info.config_name) for table in tables if table.info.config_name}
        if self._spec.config and names != {self._spec.config}:
            told = ", ".join(sorted(names)) or "unknown"
            raise CorpusError(
                f"saved dataset {self._spec.name} does not have the configuration {self._spec.config!r}",
                f"its configuration is {told}; omit --dataset-config",
            )


def _documents(dataset: Dataset | IterableDataset, wanted: str, where: str) -> Iterator[Document]:
    """Yield one column of a dataset."""
    columns = dataset.column_names or list(next(iter(dataset), {}))
    column, before = choose_column(columns, wanted, where), 0
    batches: Iterable[Mapping[str, list]] = dataset.select_columns([column]).iter(_ROWS)  # pyright: ignore
    for batch in batches:
        for row, value in enumerate(batch[column], start=before + 1):
            yield as_document(value, f"{column!r} in row {row} of {where}")
        before += len(batch[column])


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Convert errors of the dataset libraries to a CorpusError."""
    from datasets import config
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException
    from zstandard import ZstdError

    damaged = (DatasetsError, ArrowException, ZstdError, zlib.error, *_OF_VALUES)
    try:
        yield
    except (OSError, transport_error(), *damaged) as error:
        broken = broken_connection(error)
        if broken and config.HF_HUB_OFFLINE:
            raise CorpusError(f"{where} cannot be reached on the Hugging Face hub: {broken}", _LOCAL) from error
        if broken:
            told = f"the connection to the Hugging Face hub failed while {where} was read: {broken}"
            raise CorpusError(told, f"repeat the command, {_LOCAL}") from error
        told = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CorpusError(
            f"{where} cannot be read: {told}", f"check its name, set HF_TOKEN if it is gated or private, {_LOCAL}"
        ) from error
