"""Projected similarity: a linear map trained per latent to bring its positives close together.

The map is the identity plus a part of low rank, x + (x·down)·up, trained with InfoNCE: seen from each positive, every
other positive should be closer (by cosine) than all of a sample of silent sentences. It begins as the identity, so what
it ranks begins as plain similarity. It is trained on positives of the train split and on silent sentences of documents
that no valid or test record is from: valid and test records do not enter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

RANK = 16
STEPS = 100
LEARNING_RATE = 0.01
TEMPERATURE = 0.1
NEGATIVES = 256
"""Silent sentences that a map is trained on, at most."""

_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class Projection:
    """A linear map of sentence embeddings."""

    down: NDArray[np.float32]
    """float32 [d, RANK]"""
    up: NDArray[np.float32]
    """float32 [RANK, d]"""

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the normalised images of rows."""
        mapped = embeddings + (embeddings @ self.down) @ self.up
        return mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)

    def rank(self, embeddings: NDArray[np.float32], sequences: NDArray[np.integer]) -> NDArray[np.int64]:
        """Rank the corpus by similarity to some of its rows; ties by number.

        The similarity is the mean cosine between images.
        """
        mean = self.apply(embeddings[sequences]).mean(axis=0)
        blocks = range(0, len(embeddings), _ROWS_AT_A_TIME)
        scores = [self.apply(embeddings[start : start + _ROWS_AT_A_TIME]) @ mean for start in blocks]
        return np.argsort(-np.concatenate(scores), kind="stable")


def train_projection(
    positives: NDArray[np.float32], negatives: NDArray[np.float32], random: np.random.Generator
) -> Projection:
    """Train the map of one latent; the identity for fewer than two positives or no negatives.

    Args:
        positives: embeddings of sentences that it fires on, float32 [m, d].
        negatives: of sentences that it is silent on, float32 [n, d].
        random: draws the directions to begin with.
    """
    width = positives.shape[1]
    down = torch.from_numpy(random.normal(scale=width**-0.5, size=(width, RANK)).astype(np.float32))
    up = torch.zeros(RANK, width)
    if len(positives) > 1 and len(negatives) > 0:
        rows = torch.from_numpy(np.concatenate([positives, negatives]))
        optimizer = torch.optim.Adam([down.requires_grad_(), up.requires_grad_()], lr=LEARNING_RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            info_nce(rows + (rows @ down) @ up, len(positives)).backward()
            optimizer.step()
    return Projection(down.detach().numpy(), up.detach().numpy())


def info_nce(rows: torch.Tensor, n_positives: int) -> torch.Tensor:
    """Return the InfoNCE loss: the mean of −log(p / (p + Σ q)) over ordered pairs of positives.

    p is exp(cosine of the pair / TEMPERATURE), q the same of the pair's first row and each negative.

    Args:
        rows: [positives and then negatives, d].
        n_positives: how many are positives, at least 2.
    """
    cosines = normalize(rows, dim=1)[:n_positives] @ normalize(rows, dim=1).T / TEMPERATURE
    pairs = cosines[:, :n_positives]
    against = cosines[:, n_positives:].logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(pairs, against) - pairs
    return losses[~torch.eye(n_positives, dtype=torch.bool)].mean()
