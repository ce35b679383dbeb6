"""Run configurations as JSON values, and their comparison."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping


def canonical_json(configuration: Mapping[str, object]) -> str:
    """Return the canonical JSON of a configuration: keys sorted, no spaces.

    >>> canonical_json({"seed": 0, "explainer": "tree"})
    '{"explainer":"tree","seed":0}'
    """
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)


LACKING = {"method": {"answer_tokens": 1024}}
"""Settings that are missing in runs of older versions, with their values."""


def completed(found: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    """Return a stored configuration completed with the values of newer settings.

    >>> completed({"method": {"width": 3}}, {"method": {"width": 3, "answer_tokens": 8192}})
    {'method': {'answer_tokens': 1024, 'width': 3}}
    """
    made: dict[str, object] = dict(found)
    for section, values in LACKING.items():
        mine, theirs = found.get(section), wanted.get(section)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            made[section] = {**{name: value for name, value in values.items() if name in theirs}, **mine}
    return made


def configuration_hash(configuration: Mapping[str, object]) -> str:
    """Return the SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(configuration).encode()).hexdigest()


def differences(found: object, wanted: object, name: str = "") -> Iterator[str]:
    """Yield every setting that differs between two configurations, nested ones by dotted name.

    >>> list(differences({"seed": 0, "tree": {"width": 3}}, {"seed": 0, "tree": {"width": 5}}))
    ['tree.width=3 instead of 5']
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        for inner in sorted({*found, *wanted}):
            yield from differences(found.get(inner), wanted.get(inner), f"{name}.{inner}" if name else inner)
    elif found != wanted:
        yield f"{name}={json.dumps(found)} instead of {json.dumps(wanted)}"


def changed_settings(stored: str, wanted: Mapping[str, object]) -> Iterator[str]:
    """Yield every setting in which a stored configuration differs, after newer settings got their old values.

    Args:
        stored: canonical JSON.
        wanted: configuration to compare with.

    >>> list(changed_settings('{"seed":0}', {"seed": 1}))
    ['seed=0 instead of 1']
    """
    as_stored = json.loads(canonical_json(wanted))  # tuples become lists
    yield from differences(completed(json.loads(stored), as_stored), as_stored)
