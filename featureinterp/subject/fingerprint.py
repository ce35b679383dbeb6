"""Fast hashes of weights, from a sample of their values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

_SAMPLED_WEIGHTS = 65_536
"""Number of evenly spaced values of each tensor in a fingerprint."""


def hash_weights(tensors: Mapping[str, Tensor], described: str) -> str:
    """Return a SHA-256 over a description and, of each tensor, its name, shape and evenly spaced numbers."""
    digest = hashlib.sha256(described.encode())
    for name in sorted(tensors):
        flat = tensors[name].detach().flatten()
        sample = flat[:: max(1, len(flat) // _SAMPLED_WEIGHTS)].to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()
