"""Loss of a language model whose residual stream is replaced by an SAE's reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from featureinterp.subject.families import decoder_blocks
from featureinterp.subject.model import SubjectModel
from training.sae_learner import LayerLearner
from training.topk_learning import decoded, pre_activations, strongest


@dataclass(frozen=True)
class SplicedLoss:
    """Mean next-token losses in nats."""

    clean: float
    spliced: float
    """With the reconstruction in place of the residual stream."""
    zeroed: float
    """With zeros in its place."""

    @property
    def recovered(self) -> float:
        """Share of the loss between zeros and the model itself that the reconstruction recovers; 1 is perfect."""
        return (self.zeroed - self.spliced) / (self.zeroed - self.clean)


def rebuilt(learner: LayerLearner, stream: Tensor, k: int) -> Tensor:
    """Return a stream [windows, window + 1, width] with every learnt token rebuilt; BOS and massive tokens stay."""
    norms = stream.norm(dim=-1, keepdim=True)
    is_learnt = norms <= learner.norm_limit
    is_learnt[:, 0] = False
    x = stream.flatten(0, 1) * learner.scale
    found = strongest(pre_activations(learner.sae, x), k)
    made = (decoded(found, learner.sae.w_dec) + learner.sae.b_dec) / learner.scale
    return torch.where(is_learnt, made.view_as(stream), stream)


def zeroed(learner: LayerLearner, stream: Tensor) -> Tensor:
    """Return a stream with zeros for every learnt token."""
    is_learnt = stream.norm(dim=-1, keepdim=True) <= learner.norm_limit
    is_learnt[:, 0] = False
    return torch.where(is_learnt, torch.zeros_like(stream), stream)


@torch.no_grad()
def loss_after(
    model: SubjectModel, windows: Tensor, layer: int, change: Callable[[Tensor], Tensor] | None = None, batch: int = 16
) -> float:
    """Return the mean loss in nats of the tokens after BOS, with the output of a block changed."""

    def replace(_: Any, __: Any, output: Any) -> Any:
        if change is None:
            return output
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    block = decoder_blocks(model.name, model.language_model)[layer]
    handle, total = block.register_forward_hook(replace), 0.0
    try:
        for start in range(0, len(windows), batch):
            tokens = windows[start : start + batch].to(model.device, torch.long)
            logits = model.language_model(input_ids=tokens, use_cache=False).logits[:, :-1]
            total += float(cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="sum"))
    finally:
        handle.remove()
    return total / windows[:, 1:].numel()


def spliced_loss(model: SubjectModel, learner: LayerLearner, layer: int, windows: Tensor, k: int) -> SplicedLoss:
    """Return the losses on windows, int32 [windows, window + 1] with BOS in front."""
    return SplicedLoss(
        clean=loss_after(model, windows, layer),
        spliced=loss_after(model, windows, layer, lambda stream: rebuilt(learner, stream, k)),
        zeroed=loss_after(model, windows, layer, lambda stream: zeroed(learner, stream)),
    )
