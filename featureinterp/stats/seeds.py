"""Random generators derived from a seed and names, so that each purpose draws on its own."""

from __future__ import annotations

import hashlib
import json
import operator

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random generator of one purpose; equal seed and names give equal draws, on any machine.

    >>> int(generator(0, "blocks.1", 7, "latents").integers(1000)) == int(
    ...     generator(0, "blocks.1", 7, "latents").integers(1000)
    ... )
    True
    """
    return np.random.default_rng(derived_seed(seed, *names))


def derived_seed(seed: int, *names: str | int) -> int:
    """Return a 64-bit seed that depends on the seed and on every name, their order and their type."""
    words = [name if isinstance(name, str) else operator.index(name) for name in names]
    digest = hashlib.blake2b(json.dumps([operator.index(seed), *words]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
