"""Logit lens of residual stream directions, as in SAEDashboard.

SAEDashboard multiplies a latent's decoder direction, at length 1, by the unembedding of TransformerLens's processed
model. There the final norm's weight is folded into the unembedding, the direction loses its mean if that norm is a
LayerNorm, and the mean over the vocabulary is subtracted unless the model caps its logits. The norm's scale and bias
have no effect.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from featureinterp.subject.families import final_norm, is_layer_norm
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import SparseAutoencoder

_BLOCK = 1 << 15
"""Rows of the unembedding converted to float32 at a time."""

DIRECTIONS = 64
"""Directions multiplied at a time."""

Tokens = list[tuple[str, float]]
"""Tokens with their logits."""


def why_no_outputs(model: SubjectModel, sae: SparseAutoencoder) -> str:
    """Return the reason why an SAE has no logit lens; empty if it has one."""
    unembedding = _unembedding(model)
    if unembedding is None or final_norm(model.language_model) is None:
        return f"it is not known where model {model.name!r} keeps its final norm and its unembedding"
    if not sae.writes_residual:
        return f"its SAE does not write to the residual stream: it stands for what is at {sae.hook_name}"
    if sae.width_out != unembedding.shape[1]:
        return (
            f"its SAE writes {sae.width_out} wide, the unembedding of model {model.name!r} reads {unembedding.shape[1]}"
        )
    return ""


class Unembedding:
    """A model's final norm and unembedding, applied to directions."""

    def __init__(self, model: SubjectModel) -> None:
        norm, weight = final_norm(model.language_model), _unembedding(model)
        assert norm is not None
        assert weight is not None
        self._model = model
        self._weight = weight
        self._centred = is_layer_norm(norm)
        self._gain = _gain(norm, weight)
        self._capped = bool(getattr(model.language_model.config.get_text_config(), "final_logit_softcapping", None))

    @torch.inference_mode()
    def logits(self, directions: Float[Tensor, "n width"]) -> Float[Tensor, "n vocabulary"]:
        """Return the contribution of each direction to each token's logit, float32 on the CPU.

        A direction's numbers do not depend on the others.
        """
        return torch.cat([self._product(some) for some in directions.split(DIRECTIONS)])

    def _product(self, directions: Float[Tensor, "n width"]) -> Float[Tensor, "n vocabulary"]:
        """Multiply up to `DIRECTIONS` directions at once, always that many columns, which keeps each one's rounding."""
        read = directions.to(self._gain.device, torch.float32)
        read = (read - read.mean(dim=1, keepdim=True) if self._centred else read) * self._gain
        columns = nn.functional.pad(read, (0, 0, 0, DIRECTIONS - len(read))).T.contiguous()
        logits = torch.cat([block.float() @ columns for block in self._weight.split(_BLOCK)])[:, : len(read)].T
        return (logits if self._capped else logits - logits.mean(dim=1, keepdim=True)).cpu()

    def extremes(self, directions: Float[Tensor, "n width"], most: int) -> list[tuple[Tokens, Tokens]]:
        """Return for each direction the tokens with the largest and with the smallest logits, most extreme first.

        Of tokens with equal logits the largest begin with the lower id, the smallest with the higher.
        """
        logits = self.logits(directions)[:, : self._model.n_token_strings]
        most = min(most, logits.shape[1])
        found = []
        for row, large, small in zip(logits, logits.topk(most).values, (-logits).topk(most).values, strict=True):
            (high,), (low,) = torch.where(row >= large[-1]), torch.where(-row >= small[-1])
            high = high[row[high].argsort(descending=True, stable=True)][:most]
            low = low[row[low].argsort(descending=True, stable=True)].flip(0)[:most]
            found.append((self._named(row, high.tolist()), self._named(row, low.tolist())))
        return found

    def _named(self, logits: Tensor, ids: list[int]) -> Tokens:
        values = [round(value, 4) for value in logits[ids].tolist()]
        return list(zip(self._model.token_strings(ids), values, strict=True))


def _unembedding(model: SubjectModel) -> Float[Tensor, "vocabulary width"] | None:
    head: Any = model.language_model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return weight if isinstance(weight, Tensor) and weight.is_floating_point() and weight.ndim == 2 else None


@torch.inference_mode()
def _gain(norm: nn.Module, like: Tensor) -> Float[Tensor, " width"]:
    """Return the gain of a norm; for an RMSNorm, its output on ones."""
    if is_layer_norm(norm):
        weight = getattr(norm, "weight", None)
        return torch.ones(like.shape[1], device=like.device) if weight is None else weight.detach().float()
    return norm(torch.ones(like.shape[1], dtype=torch.float32, device=like.device)).float()
