"""SAEs of several layers that learn side by side, and their checkpoint.

BOS and tokens of massive norm (attention sinks: more than five times the median of the first batch) are neither learnt
nor counted: their residual streams are unlike any other, and a squared error would be about them alone. Inputs are
scaled so that their mean square norm is the width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from featureinterp.errors import InputError
from featureinterp.files import atomic_path
from training.topk_learning import (
    TopKSae,
    decoded,
    drop_radial,
    fresh_sae,
    in_own_units,
    keep_rows_unit,
    learn,
    pre_activations,
    strongest,
)


@dataclass(frozen=True)
class LearningSpec:
    """What decides the SAEs, beside model, windows and number of steps."""

    layers: tuple[int, ...] = (6, 12, 20)
    n_latents: int = 4096
    k: int = 32
    window: int = 64
    """Tokens per window, without BOS."""
    windows_per_step: int = 32
    lr: float = 6e-4
    warmup_steps: int = 50
    decay_fraction: float = 0.2
    """Share of the steps, at the end, over which the learning rate falls linearly to zero."""
    silent_after: int = 64
    """A latent that has not fired for so many steps is revived by the auxiliary loss, and counts as dead."""
    k_aux: int = 256
    aux_share: float = 1 / 32
    massive: float = 5.0
    """Tokens of more than so many times the median norm of the first batch are left out."""
    seed: int = 0

    @property
    def tokens_per_step(self) -> int:
        return self.windows_per_step * self.window

    def learning_rate(self, step: int, steps: int) -> float:
        """Return the rate of a step of a run of `steps`: warm-up, constant, linear decay."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        return self.lr * min(warm, (steps - step) / max(1.0, self.decay_fraction * steps))


class LayerLearner:
    """One SAE, its optimizer, and what it knows of its inputs."""

    def __init__(self, sae: TopKSae, scale: float, norm_limit: float) -> None:
        self.sae, self.scale, self.norm_limit = sae, scale, norm_limit
        self.quiet = torch.zeros(len(sae.w_dec), dtype=torch.int64, device=sae.w_dec.device)
        """Steps since each latent fired."""
        self.optimizer = torch.optim.Adam(sae.tensors().values(), betas=(0.9, 0.999), fused=True)

    @classmethod
    def fresh(cls, stream: Tensor, layer: int, spec: LearningSpec) -> LayerLearner:
        """Begin from the first batch [windows, window + 1, width] of the residual stream."""
        x = stream[:, 1:].flatten(0, 1)
        norms = x.norm(dim=1)
        limit = spec.massive * float(norms.median())
        kept = x[norms <= limit]
        scale = math.sqrt(x.shape[1] / float(kept.square().sum(dim=1).mean()))
        generator = torch.Generator().manual_seed(1000 * spec.seed + layer)
        return cls(fresh_sae(kept * scale, spec.n_latents, generator), scale, limit)

    def inputs(self, stream: Tensor) -> Tensor:
        """Return the SAE's inputs [tokens, width] of a batch: without BOS and massive tokens, scaled."""
        x = stream[:, 1:].flatten(0, 1)
        return x[x.norm(dim=1) <= self.norm_limit] * self.scale

    def step(self, stream: Tensor, rate: float, spec: LearningSpec) -> float:
        """Learn from a batch; returns the share of its variance that was explained before."""
        x, sae = self.inputs(stream), self.sae
        found = learn(sae, x, spec.k, self.quiet >= spec.silent_after, spec.k_aux, spec.aux_share)
        drop_radial(sae, found.gradients)
        for name, tensor in sae.tensors().items():
            tensor.grad = getattr(found.gradients, name)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        keep_rows_unit(sae)
        self.quiet += 1
        self.quiet[found.active.latents[found.active.values > 0]] = 0
        return 1 - float(found.error.square().sum() / (x - x.mean(dim=0)).square().sum())

    def dead(self, spec: LearningSpec) -> float:
        """Return the share of latents that have long been silent, 0..1."""
        return float((self.quiet >= spec.silent_after).float().mean())

    def exported(self) -> TopKSae:
        """Return the SAE in the model's own units."""
        return in_own_units(self.sae, self.scale)


@dataclass
class HeldOut:
    """Running sums over held-out inputs, in float64."""

    tokens: int = 0
    active: float = 0.0
    missed: float = 0.0
    squares: float = 0.0
    total: Tensor | float = 0.0
    fired: Tensor | bool = False

    def add(self, learner: LayerLearner, stream: Tensor, k: int) -> None:
        """Add a batch [windows, window + 1, width]; BOS and massive tokens do not count."""
        x = learner.inputs(stream)
        found = strongest(pre_activations(learner.sae, x), k)
        rebuilt = decoded(found, learner.sae.w_dec) + learner.sae.b_dec
        exact = x.double()
        self.tokens += len(x)
        self.active += float((found.values > 0).sum())
        self.missed += float((rebuilt.double() - exact).square().sum())
        self.squares += float(exact.square().sum())
        self.total = self.total + exact.sum(dim=0)
        fired = torch.zeros(len(learner.sae.w_dec), dtype=torch.bool, device=x.device)
        fired[found.latents[found.values > 0]] = True
        self.fired = fired | self.fired

    def figures(self) -> dict[str, float]:
        """Return L0, variance explained and the share of silent latents.

        Variance explained is 1 - squared error / squared distance from the mean, both summed over tokens and width.
        """
        total, fired = torch.as_tensor(self.total), torch.as_tensor(self.fired)
        variance = self.squares - float(total.square().sum()) / self.tokens
        return {
            "l0": self.active / self.tokens,
            "variance_explained": 1 - self.missed / variance,
            "silent": 1 - float(fired.float().mean()),
            "tokens": self.tokens,
        }


def save(learners: Mapping[int, LayerLearner], step: int, run: str, spec: LearningSpec, path: Path) -> None:
    """Write a checkpoint, atomically; `run` names the model and the windows."""
    tensors: dict[str, Tensor] = {}
    for layer, learner in learners.items():
        tensors |= {f"{layer}/{name}": tensor for name, tensor in learner.sae.tensors().items()}
        tensors[f"{layer}/quiet"] = learner.quiet
        tensors[f"{layer}/scalars"] = torch.tensor([learner.scale, learner.norm_limit], dtype=torch.float64)
        for index, state in learner.optimizer.state_dict()["state"].items():
            tensors |= {f"{layer}/optimizer/{index}/{name}": value for name, value in state.items()}
    facts = {"step": str(step), "run": run, "spec": json.dumps(asdict(spec))}
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, facts)


def restore(path: Path, run: str, spec: LearningSpec, device: torch.device) -> tuple[dict[int, LayerLearner], int]:
    """Read a checkpoint of the same run to a device; returns its learners and its step.

    Raises:
        InputError: if it is of another model, other windows, or another specification.
    """
    with safe_open(path, framework="pt", device=str(device)) as file:
        facts = file.metadata() or {}
        if facts.get("run") != run or facts.get("spec") != json.dumps(asdict(spec)):
            raise InputError(f"{path} is of another run: {facts}", "name another --out, or remove it to begin anew")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    return {layer: _restored(tensors, layer) for layer in spec.layers}, int(facts["step"])


def _restored(tensors: Mapping[str, Tensor], layer: int) -> LayerLearner:
    own = {name.removeprefix(f"{layer}/"): each for name, each in tensors.items() if name.startswith(f"{layer}/")}
    scale, limit = own["scalars"].tolist()
    learner = LayerLearner(TopKSae(own["w_enc"], own["b_enc"], own["w_dec"], own["b_dec"]), scale, limit)
    learner.quiet = own["quiet"]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in own.items():
        if name.startswith("optimizer/"):
            _, index, part = name.split("/")
            state.setdefault(int(index), {})[part] = tensor
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": state, "param_groups": groups})
    return learner


def batch_windows(step: int, windows: Tensor, spec: LearningSpec) -> Tensor:
    """Return the windows of a step: each once, in an order of the seed and the epoch, before any comes again."""
    per_epoch = len(windows) // spec.windows_per_step
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(1_000_003 * spec.seed + epoch))
    return windows[order[place * spec.windows_per_step : (place + 1) * spec.windows_per_step]]


def cut(ids: Sequence[Sequence[int]], length: int, bos: int, special: frozenset[int]) -> Tensor:
    """Cut documents of token ids into windows, int32 [windows, length + 1] with BOS in front; their ends are dropped.

    A window holds no special token but BOS and does not cross documents.
    """
    rows = [
        [bos, *document[at : at + length]]
        for document in ids
        for at in range(0, len(document) - length + 1, length)
        if special.isdisjoint(document[at : at + length])
    ]
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, length + 1)
