"""Helpers of exports: safe file names, JSON lines, positives, one-line explanations."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping

import msgspec

from featureinterp.codec import json_safe
from featureinterp.core import StructuredExplanation
from featureinterp.experiment.result import FeatureResult
from featureinterp.record import ActivationRecord

_LONGEST_NAME = 80


def plain_name(text: str, otherwise: str) -> str:
    """Return text as a name for a file or a web address: letters of ASCII, digits, `.`, `_` and `-` only.

    Args:
        text: name to convert.
        otherwise: name if no character of the text remains.

    >>> plain_name("../../etc/<passwd>", "run")
    'etc-passwd'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)[:_LONGEST_NAME].strip(".-") or otherwise


def json_line(row: Mapping[str, object]) -> bytes:
    """Return a row as one line of JSON; lone surrogates become U+FFFD, NaN and infinity null."""
    return msgspec.json.encode(json_safe(row)) + b"\n"


def gzip_lines(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return rows as gzipped JSON lines, the same bytes whenever they are written."""
    return gzip.compress(b"".join(map(json_line, rows)), compresslevel=6, mtime=0)


def positives_of(result: FeatureResult) -> list[ActivationRecord]:
    """Return a feature's positives of train and test, each window once, the most active first.

    Complementary windows are omitted even if the feature fires on them: they were sampled as negatives.
    """
    test = [sequence.record for sequence in result.test_sequences if sequence.record.source is None]
    unique = {record.dataset_index: record for record in (*test, *result.train_positives) if record.is_active}
    return sorted(unique.values(), key=lambda record: (-max(record.expressions), record.dataset_index))


def one_sentence(explanation: StructuredExplanation) -> str:
    """Return an explanation in one line, with strengths if it has several rules."""
    if len(explanation.rules) == 1:
        return explanation.rules[0].activates_on
    return "; ".join(f"{rule.activates_on} ({rule.strength} of 5)" for rule in explanation.rules)
