"""Attention over a prefix shared by all rows of a batch, without copies of its keys and values.

A prefix is a chain of segments, such as worked examples and then a rule's words; each segment's keys and values are
kept once. The scores of a query against a segment are one product for all rows together; softmax runs over all
segments and the row's own tokens at once, so the result is that of plain attention over the whole prompt.

Trap: the model's attention must go through Hugging Face's attention interface; `LocalModel` checks that when it loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.masking_utils import eager_mask

SHARED_PREFIX = "featureinterp_shared_prefix"
"""Name under which the attention is registered with transformers."""


@dataclass(frozen=True)
class Prefix:
    """Key-value cache of a prefix."""

    n_tokens: int
    segments: tuple[tuple[tuple[Tensor, Tensor], ...], ...]
    """For each layer, keys and values of each segment, [1, key heads, tokens, head width]."""


@dataclass(frozen=True)
class Segments:
    """Keys (or values) of one layer: shared one-row segments, then those of the batch."""

    parts: tuple[Tensor, ...]


class SegmentLayer(CacheLayerMixin):
    """Cache layer that prepends the shared segments to the batch's keys."""

    is_sliding = False

    def __init__(self, shared: tuple[tuple[Tensor, Tensor], ...]) -> None:
        super().__init__()
        self._shared = shared
        self._length = sum(keys.shape[-2] for keys, _ in shared)
        self.own: tuple[Tensor, Tensor] | None = None
        """Keys and values of the last tokens."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """No-op."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Return all keys and values, those of the batch last."""
        self.own = (key_states, value_states)
        keys, values = (tuple(part[i] for part in self._shared) for i in (0, 1))
        return Segments((*keys, key_states)), Segments((*values, value_states))

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys and the position of the first."""
        return self._length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of tokens in the shared segments."""
        return self._length

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1


def cache_of(prefix: Prefix | None, n_layers: int) -> Cache:
    """Return a prefix as a cache for a model."""
    shared = prefix.segments if prefix is not None else ((),) * n_layers
    return Cache(layers=[SegmentLayer(segments) for segments in shared])


def extend(prefix: Prefix | None, cache: Cache, n_tokens: int) -> Prefix:
    """Return the prefix extended by one segment: the cache of a one-row pass."""
    segments = []
    for layer in cache.layers:
        if not isinstance(layer, SegmentLayer) or layer.own is None:
            raise TypeError("the model did not use the cache it was given")
        segments.append((*layer._shared, layer.own))
    return Prefix(n_tokens + (prefix.n_tokens if prefix else 0), tuple(segments))


def shared_prefix_attention(
    module: Any, query: Tensor, key: Any, value: Any, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attend to shared segments and a row's own tokens; equals eager attention over their concatenation.

    Args:
        module: layer, with the scale if none is passed.
        query: [batch, heads, tokens, head width].
        key: `Segments`.
        value: `Segments`.
        attention_mask: 0 or the least number of the dtype, [1, 1, tokens, all tokens].
        options: `scaling`, and `softcap` if scores are capped before the softmax (Gemma 2).

    Returns:
        [batch, tokens, heads, head width], and None in place of the weights.
    """
    batch, heads, length, width = query.shape
    key_heads = key.parts[0].shape[1]
    queries = query.transpose(0, 1).reshape(key_heads, heads // key_heads, batch, length, width)
    queries = queries.transpose(1, 2).reshape(key_heads, -1, width)  # rows are (batch, group, token)
    scores = [_times(queries, keys.transpose(-1, -2), batch) for keys in key.parts]
    weights = torch.cat(scores, dim=-1)
    del scores
    scaling = options.get("scaling")
    weights *= module.head_dim**-0.5 if scaling is None else scaling
    softcap = options.get("softcap")
    if softcap is not None:
        weights.div_(softcap).tanh_().mul_(softcap)
    if attention_mask is not None:
        weights.view(key_heads, -1, length, weights.shape[-1]).add_(attention_mask[0])
    weights = weights.float()
    weights.sub_(weights.amax(dim=-1, keepdim=True)).exp_()  # softmax in place: these are the largest tensors
    weights = weights.div_(weights.sum(dim=-1, keepdim=True)).to(query.dtype)
    lengths = [part.shape[-2] for part in value.parts]
    pieces = zip(weights.split(lengths, dim=-1), value.parts, strict=True)
    summed = sum(_times(piece, values, batch) for piece, values in pieces)
    summed = torch.as_tensor(summed).view(key_heads, batch, heads // key_heads, length, width)
    return summed.permute(1, 3, 0, 2, 4).reshape(batch, length, heads, width), None


def _times(rows: Tensor, matrices: Tensor, batch: int) -> Tensor:
    """Multiply rows [key heads, batch·n, a] with matrices of one row for all [1, key heads, a, b] or one for each."""
    if matrices.shape[0] == 1:
        return torch.matmul(rows, matrices[0])
    heads, _, inner = rows.shape
    product = torch.matmul(rows.reshape(heads, batch, -1, inner), matrices.transpose(0, 1))
    return product.view(heads, -1, product.shape[-1])


def one_mask_for_all(*, batch_size: int, **options: Any) -> Tensor:
    """Return the eager mask of one row (rows differ only in trailing padding)."""
    del batch_size
    return eager_mask(batch_size=1, **options)


def register() -> None:
    """Register the attention in transformers as `SHARED_PREFIX`."""
    AttentionInterface.register(SHARED_PREFIX, shared_prefix_attention)
    AttentionMaskInterface.register(SHARED_PREFIX, one_mask_for_all)
