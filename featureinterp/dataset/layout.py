"""Where a data folder keeps what, and its records, compared with their address when they are read."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from featureinterp.codec import (
    check_address,
    decode,
    decode_index_record,
    decode_more_records,
    encode,
    encode_index_record,
    encode_more_records,
)
from featureinterp.dataset.activations.latent_stats import LatentProfile, ProfileTable
from featureinterp.dataset.records.build import LatentReport
from featureinterp.errors import DamagedFeatureError, DataFolderError
from featureinterp.files import atomic_write, read_file
from featureinterp.record import SAEIndexRecord

_ROUNDED = 1e-2
"""Relative tolerance of the largest activation of imported float16 records."""
_AGAIN = "make it again: `featureinterp records` with the options of the folder, or import it again"


@dataclass(frozen=True)
class LatentTable:
    """Reports of the examined latents of one hook."""

    reports: tuple[LatentReport, ...]
    """Entries by latent, ascending."""
    hook: str = ""
    """Hook of the latents; empty in older folders."""


TableT = TypeVar("TableT", LatentTable, ProfileTable)
EntryT = TypeVar("EntryT", LatentReport, LatentProfile)


@dataclass(frozen=True)
class TokenTexts:
    """Texts of the tokens that occur in the windows."""

    ids: tuple[int, ...]
    """Ascending."""
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The paths of a data folder."""

    folder: Path

    @property
    def tokens(self) -> Path:
        """The windows."""
        return self.folder / "tokens.safetensors"

    @property
    def token_texts(self) -> Path:
        """The texts of the windows' tokens (missing in older and imported folders)."""
        return self.folder / "token_texts.json"

    def read_token_texts(self) -> dict[int, str]:
        """Read the text of each token that occurs in the windows; empty if they are not stored.

        Raises:
            DataFolderError: if the file is damaged.
        """
        try:
            table = decode(read_file(self.token_texts), TokenTexts, str(self.token_texts))
        except FileNotFoundError:
            return {}
        if len(table.ids) != len(table.texts):
            raise DataFolderError(
                f"{self.token_texts} has {len(table.texts)} texts for {len(table.ids)} tokens", _AGAIN
            )
        return dict(zip(table.ids, table.texts, strict=True))

    def write_token_texts(self, texts: Mapping[int, str]) -> None:
        """Write the text of each token that occurs in the windows.

        Raises:
            StorageError: if it cannot be written.
        """
        ids = sorted(texts)
        atomic_write(self.token_texts, encode(TokenTexts(tuple(ids), tuple(texts[each] for each in ids))))

    @property
    def activations(self) -> Path:
        """Folder of the activations, a file per hook."""
        return self.folder / "sae_acts"

    def activations_of(self, hook_name: str) -> Path:
        """Return the path of one hook's activations."""
        return self.activations / f"{hook_name}.safetensors"

    @property
    def holistic(self) -> Path:
        """Folder of the holistic activations, a file per hook."""
        return self.folder / "holistic_acts"

    def holistic_of(self, hook_name: str) -> Path:
        """Return the path of one hook's holistic activations."""
        return self.holistic / f"{hook_name}.safetensors"

    @property
    def embeddings(self) -> Path:
        """The embedding of every window."""
        return self.folder / "similarity_retriever" / "embeddings.safetensors"

    @property
    def centred_embeddings(self) -> Path:
        """The embeddings minus their mean over the corpus."""
        return self.folder / "similarity_retriever" / "centred.safetensors"

    def index(self, centred: bool) -> Path:
        """Return the path of the approximate index of the embeddings, as they are or centred."""
        return self.folder / "similarity_retriever" / ("centred.faiss" if centred else "index.faiss")

    def recall(self, centred: bool) -> Path:
        """Return the path of the recall of the approximate index."""
        return self.folder / "similarity_retriever" / ("centred.recall.json" if centred else "recall.json")

    @property
    def records(self) -> Path:
        """Folder of the records."""
        return self.folder / "records"

    def record(self, hook_name: str, latent: int) -> Path:
        """Return the path of one latent's records."""
        return self.records / hook_name / f"{latent}.json"

    def more_records(self, hook_name: str, latent: int) -> Path:
        """Return the path of what the original's schema has no keys for (missing in older folders)."""
        return self.folder / "more_records" / hook_name / f"{latent}.json"

    def latents(self, hook_name: str) -> Path:
        """Return the path of the reports of a hook's latents."""
        return self.records / f"{hook_name}.latents.json"

    def profiles(self, hook_name: str) -> Path:
        """Return the path of the statistics of a hook's latents (missing in older folders)."""
        return self.records / f"{hook_name}.profiles.json"

    def latent_reports(self, hook_name: str, n_latents: int) -> dict[int, LatentReport]:
        """Read the reports of a hook's latents; empty if none were examined.

        Args:
            hook_name: hook of the latents.
            n_latents: number of latents of its SAE.

        Raises:
            DataFolderError: if the file is damaged, belongs to another hook, or has latents that the SAE does not.
        """
        table = _read_table(self.latents(hook_name), LatentTable, hook_name)
        return {} if table is None else _by_latent(self.latents(hook_name), table.reports, n_latents)

    def write_latents(self, hook_name: str, reports: Iterable[LatentReport]) -> None:
        """Write the reports of a hook's latents.

        Raises:
            StorageError: if it cannot be written.
        """
        ordered = sorted(reports, key=lambda report: report.latent)
        atomic_write(self.latents(hook_name), encode(LatentTable(tuple(ordered), hook_name)))

    def latent_profiles(self, hook_name: str, n_latents: int) -> dict[int, LatentProfile]:
        """Read the profiles of a hook's latents; empty where there are none, as in folders made before.

        Args:
            hook_name: hook of the latents.
            n_latents: number of latents of its SAE.

        Raises:
            DataFolderError: if the file is damaged, belongs to another hook, or has latents that the SAE does not.
        """
        table = _read_table(self.profiles(hook_name), ProfileTable, hook_name)
        return {} if table is None else _by_latent(self.profiles(hook_name), table.profiles, n_latents)

    def read_record(self, hook_name: str, layer: int, latent: int, report: LatentReport | None) -> SAEIndexRecord:
        """Read the records of a latent.

        Args:
            hook_name: hook of the latent.
            layer: layer of the hook.
            latent: index of the latent.
            report: its report, with the checksum of the file.

        Raises:
            FileNotFoundError: if it has no records.
            DamagedFeatureError: if they are damaged, or belong to another latent.
        """
        path = self.record(hook_name, latent)
        try:
            encoded = read_file(path)
            record = decode_index_record(encoded, str(path))
            check_address(str(path), layer=(record.id.layer_index, layer), latent=(record.id.latent_index, latent))
        except DataFolderError as error:
            raise DamagedFeatureError(error.problem, _AGAIN) from error
        if report is not None and not _is_as_written(encoded, record, report):
            raise DamagedFeatureError(f"{path} is not the file that was written: it was changed or replaced", _AGAIN)
        if report is None or report.more_checksum is None:
            return record
        return _with_more(record, self.more_records(hook_name, latent), report.more_checksum)

    def write_record(self, hook_name: str, record: SAEIndexRecord, report: LatentReport) -> LatentReport:
        """Write the records of a latent, and return its report with the checksums of the files.

        What the original has no keys for, where there is any, goes into a second file.

        Raises:
            StorageError: if it cannot be written.
        """
        latent, encoded = record.id.latent_index, encode_index_record(record)
        more = encode_more_records(record) if record.strata else None
        atomic_write(self.record(hook_name, latent), encoded)
        if more is not None:
            atomic_write(self.more_records(hook_name, latent), more)
        more_checksum = None if more is None else zlib.crc32(more)
        return replace(report, checksum=zlib.crc32(encoded), more_checksum=more_checksum)


def _read_table(path: Path, kind: type[TableT], hook: str) -> TableT | None:
    """Read a table of a hook's latents; None if there is no file.

    Raises:
        DataFolderError: if it is damaged, or belongs to another hook.
    """
    try:
        table = decode(read_file(path), kind, str(path))
    except FileNotFoundError:
        return None
    check_address(str(path), hook=(table.hook or hook, hook))  # older folders do not name the hook
    return table


def _by_latent(path: Path, entries: Sequence[EntryT], n_latents: int) -> dict[int, EntryT]:
    """Return the entries of a table by latent.

    Raises:
        DataFolderError: if a latent is not one of the SAE's, or occurs twice.
    """
    found = {entry.latent: entry for entry in entries}
    unknown = [latent for latent in found if not 0 <= latent < n_latents]
    if unknown:
        raise DataFolderError(f"{path} holds latent {unknown[0]}, the SAE has latents 0 to {n_latents - 1}", _AGAIN)
    if len(found) < len(entries):
        raise DataFolderError(f"{path} holds a latent twice", _AGAIN)
    return found


def _with_more(record: SAEIndexRecord, path: Path, checksum: int) -> SAEIndexRecord:
    """Return records with what the file beside them holds."""
    try:
        encoded = read_file(path)
        made = decode_more_records(encoded, record, str(path))
    except FileNotFoundError as error:
        raise DamagedFeatureError(f"{path} is missing", _AGAIN) from error
    except DataFolderError as error:
        raise DamagedFeatureError(error.problem, _AGAIN) from error
    if zlib.crc32(encoded) != checksum:
        raise DamagedFeatureError(f"{path} is not the file that was written: it was changed or replaced", _AGAIN)
    return made


def _is_as_written(encoded: bytes, record: SAEIndexRecord, report: LatentReport) -> bool:
    """Compare records with their latent's report: the checksum, or in older folders the largest activation."""
    if report.checksum is not None:
        return zlib.crc32(encoded) == report.checksum
    return math.isclose(record.max_expression, report.max_activation, rel_tol=_ROUNDED)
