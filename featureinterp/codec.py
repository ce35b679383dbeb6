"""JSON encoding of the data types, with exact error paths.

Two encodings: any frozen dataclass of the package as versioned JSON (`encode`, `decode`), and one latent's records in
the original's schema (`encode_index_record`, `decode_index_record`), with what it has no keys for in a second file
(`encode_more_records`, `decode_more_records`). Floats survive a round trip bit for bit: they are
written as the shortest decimal that reads back as the same double.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from featureinterp.errors import DataFolderError, FeatureInterpError, InputError
from featureinterp.record import ActivationRecord, ComplementaryRecordSource, SAEIndexId, SAEIndexRecord, Stratum

SCHEMA_VERSION = 1
"""Incremented if an encoded class changes so that older readers would misread it."""

_LARGEST_STORED = 2**28
"""Maximum bytes of a row; the result of a feature with thousands of windows has some ten million."""

Noun = TypeVar("Noun")


class _Envelope(msgspec.Struct):
    schema: int
    type: str
    data: msgspec.Raw


def encode(noun: object) -> bytes:
    """Return a frozen dataclass as JSON that names its type and the schema's version.

    Raises:
        InputError: if a number in it is NaN or infinite, or a text holds a lone surrogate: JSON cannot represent them.
    """
    return msgspec.json.encode(_Envelope(SCHEMA_VERSION, type(noun).__name__, msgspec.Raw(_written(noun))))


def decode(encoded: bytes | str, noun_type: type[Noun], where: str = "stored data") -> Noun:
    """Decode the output of `encode`.

    Args:
        encoded: the JSON.
        noun_type: class of the encoded object.
        where: source for errors: a file, a row of a table.

    Raises:
        DataFolderError: if it is not JSON, of another version or type, or a field is invalid (with its path).
    """
    envelope = decode_json(encoded, _Envelope, where)
    if envelope.schema != SCHEMA_VERSION:
        raise DataFolderError(
            f"{where} has schema version {envelope.schema}, this featureinterp reads version {SCHEMA_VERSION}",
            "make it again, or use the version of featureinterp that wrote it",
        )
    if envelope.type != noun_type.__name__:
        raise DataFolderError(f"{where} holds a {envelope.type}; expected a {noun_type.__name__}")
    return decode_json(envelope.data, noun_type, where)


def decode_json(encoded: bytes | str | msgspec.Raw, wanted: type[Noun], where: str) -> Noun:
    """Decode untrusted JSON into a type supported by msgspec.

    Args:
        encoded: the JSON.
        wanted: expected class, or a list of one.
        where: what is being read, for the error.

    Raises:
        DataFolderError: if it is not JSON, or a field is missing or invalid (with its path).
    """
    try:
        return msgspec.json.decode(encoded, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, FeatureInterpError) as error:
        raise DataFolderError(f"{where} cannot be read: {error}", "it is damaged or in another format") from error


def check_address(where: str, **pairs: tuple[object, object]) -> None:
    """Compare a stored object's identity with the path it was read from.

    Args:
        where: source for errors: a file, a row of a table.
        pairs: by part of the address: the value inside, and that of the path.

    Raises:
        DataFolderError: if they differ.
    """
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if differing:
        inside, wanted = (", ".join(f"{name} {pair[side]}" for name, pair in differing.items()) for side in (0, 1))
        raise DataFolderError(f"{where} holds {inside}, but its path names {wanted}", "it was copied or renamed")


def decompress(stored: object, where: str) -> bytes:
    """Return the decompressed (zlib) value of a column of a database of the package.

    Args:
        stored: value of the column; of any type, since SQLite accepts any.
        where: source for errors.

    Raises:
        DataFolderError: if it is not bytes, damaged, or above the size limit.
    """
    hint = "remove the file and repeat the command that created it"
    if not isinstance(stored, bytes):
        raise DataFolderError(f"{where} is damaged: expected compressed text, found a {type(stored).__name__}", hint)
    decompressor = zlib.decompressobj()
    try:
        plain = decompressor.decompress(stored, _LARGEST_STORED)
    except zlib.error as error:
        raise DataFolderError(f"{where} is damaged: {error}", hint) from error
    if not decompressor.eof:
        larger = decompressor.unconsumed_tail or len(plain) == _LARGEST_STORED
        told = f"it has more than {_LARGEST_STORED // 2**20} MiB" if larger else "it is cut short"
        raise DataFolderError(f"{where} is damaged: {told}", hint)
    return plain


_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def _written(value: object) -> bytes:
    """Return the JSON of a value, which is searched for a fault only where its JSON may hide one.

    Raises:
        InputError: if a number in it is NaN or infinite, or a text holds a lone surrogate.
    """
    try:
        written = msgspec.json.encode(value)
    except UnicodeEncodeError:
        written = b""
    if not written or b"null" in written:  # NaN and infinities are written as null
        _refuse_what_json_cannot_say(msgspec.to_builtins(value), "$")
    return written or msgspec.json.encode(value)


def _refuse_what_json_cannot_say(value: Any, path: str) -> None:  # noqa: ANN401 - any JSON value
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path} is {value}; expected a finite number")
    if isinstance(value, str) and _HALF_CHARACTER.search(value):
        raise InputError(f"{path} is {value!r}, which holds a lone surrogate", "replace it with U+FFFD")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_what_json_cannot_say(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _refuse_what_json_cannot_say(inner, f"{path}[{index}]")


def whole_characters(text: str) -> str:
    """Return text with U+FFFD for each lone surrogate, which no encoding can write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def json_safe(value: object) -> object:
    """Return JSON values that can always be written: lone surrogates become U+FFFD, NaN and infinities null.

    For exported rows, where one replaced value is better than no row; `encode` raises an error instead.
    """
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {json_safe(key): json_safe(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(inner) for inner in value]
    return value


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    """A record in the original's format; empty `holistic_expressions` mean not measured."""

    tokens: list[str]
    expressions: list[float]
    holistic_expressions: list[float]
    dataset_index: int


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    layer_index: int
    latent_index: int


class _IndexRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A latent's records in the original's format and key order."""

    id: _Id
    max_expression: float
    max_holistic_expression: float
    most_act_records: list[_Record]
    random_records: list[_Record]
    random_no_act_records: list[_Record]
    similar_records: list[_Record]
    similar_no_act_records: list[_Record]
    similar_projected_records: list[_Record] = []
    similar_projected_no_act_records: list[_Record] = []


_LISTS: dict[str, ComplementaryRecordSource | None] = {
    "most_act_records": None,
    "random_records": ComplementaryRecordSource.RANDOM,
    "random_no_act_records": ComplementaryRecordSource.RANDOM_NEGATIVE,
    "similar_records": ComplementaryRecordSource.SIMILAR,
    "similar_no_act_records": ComplementaryRecordSource.SIMILAR_NEGATIVE,
    "similar_projected_records": ComplementaryRecordSource.SIMILAR_PROJECTED,
    "similar_projected_no_act_records": ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED,
}

_MORE_LISTS = {
    "same_token_no_act_records": ComplementaryRecordSource.SAME_TOKEN_NEGATIVE,
    "corpus_records": ComplementaryRecordSource.CORPUS,
    "other_records": ComplementaryRecordSource.OTHER,
}


def encode_index_record(record: SAEIndexRecord) -> bytes:
    """Return one latent's records as JSON with exactly the original's keys.

    Raises:
        InputError: if an activation is NaN or infinite, or a token holds a lone surrogate.
    """
    lists = {name: [_Record(*_fields(one)) for one in getattr(record, name)] for name in _LISTS}
    wire = _IndexRecord(
        id=_Id(record.id.layer_index, record.id.latent_index),
        max_expression=record.max_expression,
        max_holistic_expression=record.max_holistic_expression,
        **lists,
    )
    return _written(wire)


def decode_index_record(encoded: bytes | str, where: str = "record file") -> SAEIndexRecord:
    """Read one latent's records; each record gets its maxima from the latent and its source from its list.

    Raises:
        DataFolderError: if it is not JSON, or a field is missing, unknown or of another type (with its path).
    """
    wire = decode_json(encoded, _IndexRecord, where)
    lists: dict[str, Any] = {name: _records(getattr(wire, name), name, wire, where) for name in _LISTS}
    return SAEIndexRecord(
        id=SAEIndexId(wire.id.layer_index, wire.id.latent_index),
        max_expression=wire.max_expression,
        max_holistic_expression=wire.max_holistic_expression,
        **lists,
    )


class _CorpusRecord(_Record, forbid_unknown_fields=True):
    """A corpus record; its stratum by its place among the strata."""

    stratum: int


class _MoreRecords(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A latent's records that the original's schema has no keys for."""

    id: _Id
    same_token_no_act_records: list[_Record]
    corpus_records: list[_CorpusRecord]
    strata: list[Stratum]
    other_records: list[_Record] = []


def encode_more_records(record: SAEIndexRecord) -> bytes:
    """Return what `encode_index_record` leaves out as JSON: same-token negatives, corpus records, strata and others.

    Raises:
        InputError: as `encode_index_record`, or if a corpus record is from none of the strata.
    """
    places = {stratum.name: place for place, stratum in enumerate(record.strata)}
    unknown = [one.stratum for one in record.corpus_records if one.stratum not in places]
    if unknown:
        raise InputError(f"a corpus record is from stratum {unknown[0]!r}", f"the strata are {', '.join(places)}")
    wire = _MoreRecords(
        id=_Id(record.id.layer_index, record.id.latent_index),
        same_token_no_act_records=[_Record(*_fields(one)) for one in record.same_token_no_act_records],
        corpus_records=[_CorpusRecord(*_fields(one), places[one.stratum]) for one in record.corpus_records],
        strata=list(record.strata),
        other_records=[_Record(*_fields(one)) for one in record.other_records],
    )
    return _written(wire)


def decode_more_records(encoded: bytes | str, record: SAEIndexRecord, where: str = "record file") -> SAEIndexRecord:
    """Return a latent's records with what `encode_more_records` wrote beside them.

    Raises:
        DataFolderError: as `decode_index_record`, or if it is of another latent.
    """
    wire = decode_json(encoded, _MoreRecords, where)
    check_address(
        where,
        layer=(wire.id.layer_index, record.id.layer_index),
        latent=(wire.id.latent_index, record.id.latent_index),
    )
    outside = [one.stratum for one in wire.corpus_records if not 0 <= one.stratum < len(wire.strata)]
    if outside:
        raise DataFolderError(f"{where} has a record of stratum {outside[0]}, there are {len(wire.strata)} strata")
    same_token = _records(wire.same_token_no_act_records, "same_token_no_act_records", record, where)
    corpus = _records(wire.corpus_records, "corpus_records", record, where)
    names = [wire.strata[one.stratum].name for one in wire.corpus_records]
    return replace(
        record,
        same_token_no_act_records=same_token,
        other_records=_records(wire.other_records, "other_records", record, where),
        corpus_records=tuple(replace(one, stratum=name) for one, name in zip(corpus, names, strict=True)),
        strata=tuple(wire.strata),
    )


def _fields(record: ActivationRecord) -> tuple[list[str], list[float], list[float], int]:
    return list(record.tokens), list(record.expressions), list(record.holistic_expressions), record.dataset_index


def _records(
    records: Sequence[_Record], name: str, parent: _IndexRecord | SAEIndexRecord, where: str
) -> tuple[ActivationRecord, ...]:
    made = []
    for position, record in enumerate(records):
        try:
            made.append(
                ActivationRecord(
                    tokens=tuple(record.tokens),
                    expressions=tuple(record.expressions),
                    holistic_expressions=tuple(record.holistic_expressions),
                    dataset_index=record.dataset_index,
                    max_expression=parent.max_expression,
                    max_holistic_expression=parent.max_holistic_expression,
                    source=(_LISTS | _MORE_LISTS)[name],
                )
            )
        except InputError as error:
            raise DataFolderError(
                f"{where} cannot be read: {error.problem} - at `$.{name}[{position}]`", error.hint
            ) from error
    return tuple(made)
