"""Latent statistics: activation histogram and logit-lens tokens.

Both are small, so they are stored with the feature's result and no report needs the data folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.store import SparseActivations
from featureinterp.record import MAX_LEVEL, scale_to_levels

if TYPE_CHECKING:
    from featureinterp.subject.subject import Subject

BINS_PER_LEVEL = 10
N_BINS = MAX_LEVEL * BINS_PER_LEVEL
N_OUTPUT_TOKENS = 10
"""Number of promoted, and of suppressed, tokens that are kept."""


@dataclass(frozen=True)
class OutputToken:
    """An output token and its logit under the latent's decoder direction."""

    text: str
    logit: float


@dataclass(frozen=True)
class LatentProfile:
    """Activation histogram of a latent over the corpus, and its promoted and suppressed tokens."""

    latent: int
    histogram: tuple[int, ...]
    """Active tokens in `N_BINS` equal bins from 0 to the largest activation, `BINS_PER_LEVEL` per level."""
    n_tokens: int
    """Tokens of the corpus, active or not."""
    promoted: tuple[OutputToken, ...] = ()
    """Tokens with the largest logits, in descending order."""
    suppressed: tuple[OutputToken, ...] = ()
    """Tokens with the smallest logits, in ascending order."""
    reason: str = ""
    """Reason for missing output tokens; empty if there are any."""

    @property
    def share_active(self) -> float:
        """Share of the corpus tokens on which the latent is active, 0..1."""
        return sum(self.histogram) / self.n_tokens if self.n_tokens else 0.0


@dataclass(frozen=True)
class ProfileTable:
    """The profiles of one hook's latents."""

    profiles: tuple[LatentProfile, ...]
    """Entries by latent, ascending."""
    hook: str = ""
    """Hook of the latents; empty in older folders."""


def histogram(values: NDArray[np.floating]) -> tuple[int, ...]:
    """Count activations above 0 in equal bins (lower bound included; the last bin includes the maximum).

    >>> counts = histogram(np.array([0.5, 2.0, 10.0]))
    >>> [part for part, count in enumerate(counts) if count]
    [2, 10, 49]
    """
    levels = scale_to_levels(values.astype(np.float64), float(values.max(initial=0.0)))
    parts = np.minimum(levels * BINS_PER_LEVEL, N_BINS - 1).astype(np.int64)
    return tuple(np.bincount(parts, minlength=N_BINS).tolist())


def profile_latents(
    subject: Subject, hook_name: str, latents: Sequence[int], activations: SparseActivations
) -> Iterable[LatentProfile]:
    """Yield the profile of each latent, in order; independent of the other latents.

    Args:
        subject: the model and its SAEs.
        hook_name: hook of the SAE.
        latents: latents of that SAE, captured in `activations`.
        activations: activations of the hook over the corpus.
    """
    from featureinterp.subject.unembedding import DIRECTIONS, Unembedding, why_no_outputs

    sae = subject.saes[hook_name]
    reason = why_no_outputs(subject.model, sae)
    unembedding = None if reason else Unembedding(subject.model)
    n_tokens = activations.n_sequences * activations.length
    for first in range(0, len(latents), DIRECTIONS):
        some = latents[first : first + DIRECTIONS]
        outputs = [([], [])] * len(some)
        if unembedding is not None:
            outputs = unembedding.extremes(sae.directions(some), N_OUTPUT_TOKENS)
        for latent, found in zip(some, outputs, strict=True):
            named = (tuple(OutputToken(*token) for token in tokens) for tokens in found)
            yield LatentProfile(latent, histogram(activations.latent(latent).value), n_tokens, *named, reason=reason)
