"""Quality of a language model and its SAEs: bits per byte, L0, variance explained, dead latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from featureinterp.errors import InputError
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.subject import Subject

_BATCH = 64
_NO_LIMIT = 2048
"""Tokens of a window if the model has no limit."""


@dataclass(frozen=True)
class SaeQuality:
    """Quality figures of one SAE on a corpus, without BOS."""

    l0: float
    """Mean number of active latents per token."""
    variance_explained: float
    """1 - squared reconstruction error / squared distance from the mean, both summed over tokens and width."""
    dead: float
    """Share of latents that are active on no token, 0..1."""


@torch.inference_mode()
def bits_per_byte(model: SubjectModel, texts: Sequence[str]) -> float:
    """Return a model's mean bits per UTF-8 byte; each text is scored separately, in windows after a BOS.

    Raises:
        InputError: if there is no text, or the model has no BOS.
    """
    total_bytes = sum(len(text.encode()) for text in texts)
    if total_bytes == 0 or model.bos_token_id is None:
        raise InputError("bits per byte need some text and a model with a BOS token")
    width = (model.max_length or _NO_LIMIT) - 1
    windows = [ids[i : i + width] for ids in model.tokenize(texts) for i in range(0, len(ids), width)]
    nats = 0.0
    for length in sorted({len(ids) for ids in windows}):  # rows of equal length need no padding
        rows = [[model.bos_token_id, *ids] for ids in windows if len(ids) == length]
        for start in range(0, len(rows), _BATCH):
            tokens = torch.tensor(rows[start : start + _BATCH], device=model.device)
            logits = model.language_model(tokens[:, :-1]).logits.float()
            loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="sum")
            nats += float(loss)
    return nats / math.log(2) / total_bytes


@torch.inference_mode()
def sae_quality(subject: Subject, tokens: NDArray[np.int32], has_bos: bool) -> dict[str, SaeQuality]:
    """Measure every SAE of the subject in one pass over int32 [N, S] tokens; returns the figures by hook name."""
    sums = {hook: _Sums(sae.n_latents, sae.width) for hook, sae in subject.saes.items()}
    for start in range(0, len(tokens), _BATCH):
        batch = torch.from_numpy(np.array(tokens[start : start + _BATCH]))
        streams = subject.model.streams(batch, [*subject.saes])
        for hook, sae in subject.saes.items():
            stream = streams.pop(hook)[:, int(has_bos) :].flatten(0, 1)
            latents = sae.encode(stream)
            sums[hook].add(sae.part(stream), latents, sae.decode(latents))
    return {hook: each.quality() for hook, each in sums.items()}


class _Sums:
    """Running sums for `SaeQuality`, in float64."""

    def __init__(self, n_latents: int, width: int) -> None:
        self.tokens = 0
        self.active = self.missed = self.squares = 0.0
        self.total = torch.zeros(width, dtype=torch.float64)
        self.fired = torch.zeros(n_latents, dtype=torch.bool)

    def add(self, stream: torch.Tensor, latents: torch.Tensor, rebuilt: torch.Tensor) -> None:
        """Add [tokens, width] of the residual stream, its latents and its reconstruction."""
        is_active = latents > 0
        self.tokens += len(stream)
        self.active += float(is_active.sum())
        exact = stream.cpu().double()  # mps has no float64
        self.missed += float((stream - rebuilt).cpu().double().square().sum())
        self.squares += float(exact.square().sum())
        self.total += exact.sum(dim=0)
        self.fired |= is_active.any(dim=0).cpu()

    def quality(self) -> SaeQuality:
        """Return the figures of all added tokens."""
        variance = self.squares - float(self.total.square().sum()) / self.tokens
        dead = 1 - float(self.fired.float().mean())
        return SaeQuality(self.active / self.tokens, 1 - self.missed / variance, dead)
