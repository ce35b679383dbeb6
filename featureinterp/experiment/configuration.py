"""Configurations: all that decides a run's results, as JSON values, and how two of them are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping


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
