"""TopK sparse autoencoder that learns with sparse gradients: pure functions over tensors.

A latent is active on few tokens, so gradients are sums over the active ones alone; only the encoder's forward pass is
dense. The loss is the squared error plus an auxiliary one, by which latents that have long been silent learn to rebuild
what the others miss (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", sections 2.3 and A.2).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize


@dataclass
class TopKSae:
    """Weights of one TopK SAE; the rows of both matrices belong to latents."""

    w_enc: Tensor
    """[latents, width]."""
    b_enc: Tensor
    """[latents]."""
    w_dec: Tensor
    """[latents, width], rows of length 1."""
    b_dec: Tensor
    """[width], also subtracted from the input."""

    def tensors(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Active:
    """Active latents of a batch."""

    latents: Tensor
    """int64 [tokens, k]: the latents with the largest pre-activations, in no order."""
    values: Tensor
    """[tokens, k]: their activations, at least 0."""


@dataclass(frozen=True)
class Step:
    """What one batch teaches."""

    gradients: TopKSae
    active: Active
    error: Tensor
    """[tokens, width]: reconstruction minus input."""


def fresh_sae(sample: Tensor, n_latents: int, generator: torch.Generator) -> TopKSae:
    """Return an SAE whose bias is the geometric median of a sample [tokens, width], and whose matrices are equal."""
    rows = normalize(torch.randn(n_latents, sample.shape[1], generator=generator), dim=1).to(sample)
    return TopKSae(rows.clone(), sample.new_zeros(n_latents), rows, geometric_median(sample))


def geometric_median(points: Tensor, rounds: int = 100) -> Tensor:
    """Return the point [width] of the least summed distance to points [n, width], by Weiszfeld's iteration."""
    median = points.mean(dim=0)
    for _ in range(rounds):
        weights = 1 / (points - median).norm(dim=1).clamp(min=1e-6)
        median = (weights @ points) / weights.sum()
    return median


def pre_activations(sae: TopKSae, x: Tensor) -> Tensor:
    """Return the pre-activations [tokens, latents] of inputs [tokens, width]."""
    return torch.addmm(sae.b_enc, x - sae.b_dec, sae.w_enc.T)


def strongest(pre: Tensor, k: int) -> Active:
    """Return the k latents with the largest pre-activations; negative ones count as 0."""
    values, latents = pre.topk(k, dim=1, sorted=False)
    return Active(latents, values.relu())


def decoded(active: Active, rows: Tensor) -> Tensor:
    """Return the sums [tokens, width] of the active latents' rows of a matrix [latents, width], by their values."""
    return embedding_bag(active.latents, rows, per_sample_weights=active.values, mode="sum")


def learn(sae: TopKSae, x: Tensor, k: int, silent: Tensor, k_aux: int, aux_share: float) -> Step:
    """Return the gradients of the loss on a batch.

    The loss is the mean over tokens of |error|², plus, weighted by `aux_share`, that of the difference between what is
    missing and its reconstruction by the `k_aux` strongest silent latents; what is missing counts as a constant there.

    Args:
        sae: weights.
        x: inputs [tokens, width].
        k: active latents per token.
        silent: bool [latents], latents that the auxiliary loss revives.
        k_aux: number of silent latents per token; less if there are fewer.
        aux_share: weight of the auxiliary loss.
    """
    pre = pre_activations(sae, x)
    active = strongest(pre, k)
    error = decoded(active, sae.w_dec) + sae.b_dec - x
    gradients = _gradients(sae, x, active, 2 / len(x) * error)
    gradients.b_dec += 2 / len(x) * error.sum(dim=0)
    if n_silent := int(silent.sum()):
        among = silent.nonzero().squeeze(1)
        found = strongest(pre[:, among], min(k_aux, n_silent))
        aux = Active(among[found.latents], found.values)
        difference = decoded(aux, sae.w_dec) + error
        extra = _gradients(sae, x, aux, 2 * aux_share / len(x) * difference)
        for name, gradient in gradients.tensors().items():
            gradient += getattr(extra, name)
    return Step(gradients, active, error)


def _gradients(sae: TopKSae, x: Tensor, active: Active, upstream: Tensor) -> TopKSae:
    """Return gradients through the active latents, by the gradient [tokens, width] of their decoded sum."""
    values = active.values.detach().requires_grad_()
    with torch.enable_grad():
        summed = decoded(Active(active.latents, values), sae.w_dec)
    (of_values,) = torch.autograd.grad(summed, values, upstream)
    of_pre = of_values * (active.values > 0)
    by_latent = _ByLatent.of(active.latents, len(sae.w_dec))
    b_enc = torch.zeros_like(sae.b_enc).index_add_(0, active.latents.flatten(), of_pre.flatten())
    return TopKSae(
        w_enc=by_latent.sum(of_pre, x - sae.b_dec),
        b_enc=b_enc,
        w_dec=by_latent.sum(active.values, upstream),
        b_dec=-b_enc @ sae.w_enc,
    )


@dataclass(frozen=True)
class _ByLatent:
    """Active latents of a batch, sorted by latent: a sparse matrix [latents, tokens] without its values."""

    starts: Tensor
    order: Tensor
    n_tokens: int
    k: int

    @classmethod
    def of(cls, latents: Tensor, n_latents: int) -> _ByLatent:
        flat = latents.flatten()
        counts = torch.bincount(flat, minlength=n_latents)
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(starts, flat.argsort(stable=True), *latents.shape)

    def sum(self, weights: Tensor, vectors: Tensor) -> Tensor:
        """Return for each latent the sum [width] of the tokens' vectors [tokens, width], by weights [tokens, k]."""
        columns, size = self.order // self.k, (len(self.starts) - 1, self.n_tokens)
        values = weights.flatten()[self.order]
        return torch.sparse_csr_tensor(self.starts, columns, values, size, check_invariants=False) @ vectors


@torch.no_grad()
def keep_rows_unit(sae: TopKSae) -> None:
    """Scale the decoder's rows to length 1, in place."""
    sae.w_dec.div_(sae.w_dec.norm(dim=1, keepdim=True).clamp(min=1e-8))


def drop_radial(sae: TopKSae, gradients: TopKSae) -> None:
    """Remove in place what the decoder's gradient has along its unit rows: it would only change their length."""
    gradients.w_dec -= (gradients.w_dec * sae.w_dec).sum(dim=1, keepdim=True) * sae.w_dec


def in_own_units(sae: TopKSae, scale: float) -> TopKSae:
    """Return the SAE that does on inputs what this one does on inputs times `scale`; decoder rows keep their length."""
    return TopKSae(sae.w_enc, sae.b_enc / scale, sae.w_dec, sae.b_dec / scale)
