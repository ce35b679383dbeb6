"""Audit of splits: near-duplicates that two splits share."""

from __future__ import annotations

import numpy as np

from featureinterp.dataset.retrieval.near_duplicates import near_duplicates
from featureinterp.record import Split, Splits


def near_duplicates_across(splits: Splits) -> int:
    """Return the number of pairs of windows in different splits whose token sets have a Jaccard similarity above 1/2.

    0 for records made by `featureinterp records`; imported and older ones may have some. A window that two splits share
    would count, but `Splits` refuses it.
    """
    split_of: dict[int, Split] = {}
    tokens: list[tuple[str, ...]] = []
    for split in Split:
        for record in splits.of(split):
            if record.tokens and record.dataset_index not in split_of:
                split_of[record.dataset_index] = split
                tokens.append(record.tokens)
    numbers: dict[str, int] = {}
    length = max(map(len, tokens), default=0)
    # a repeated token does not change a set, so it fills shorter windows
    padded = [
        [numbers.setdefault(token, len(numbers)) for token in row + row[:1] * (length - len(row))] for row in tokens
    ]
    kept = list(split_of.values())
    pairs = {
        pair
        for left, right in near_duplicates(np.array(padded, dtype=np.int64).reshape(len(tokens), length))
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    }
    return sum(kept[left] is not kept[right] for left, right in pairs)
