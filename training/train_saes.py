"""Train one TopK SAE after every layer of the embedded model: `python -m training.train_saes`.

All SAEs learn in one pass over the model, each by SAELens's own trainer, from windows cut like the corpus the
model will be studied on: BOS and 32 tokens, never across documents. BOS is neither learnt nor counted, its
residual stream is unlike any other. Half of every batch is of the default corpus, which is a small part of the
mixture: many latents learnt from the mixture alone never fire on it. A run is decided by its seed.

Writes SAELens folders `layer_{layer}/` and `figures.json` (held-out documents of the mixture) to `--out`;
`python -m training.export` puts them into the package.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer

from featureinterp.dataset.corpus.python_docs import python_documentation
from featureinterp.dataset.corpus.training_mixture import training_mixture
from featureinterp.dataset.corpus.windows import WindowParams, cut_windows
from featureinterp.subject.embedded import is_held_out
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import hook_name
from featureinterp.subject.quality import sae_quality
from featureinterp.subject.sae import load_sae
from featureinterp.subject.subject import Subject


@dataclass(frozen=True)
class SaeTrainingSpec:
    """Everything, beside the model, that decides the trained SAEs."""

    model_name: str = "embedded"
    """Name of the model in the SAEs' configuration."""
    n_latents: int = 1024
    k: int = 36
    window: int = 32
    """Tokens per window, without BOS."""
    windows_per_step: int = 128
    """Half from the whole mixture, half from its documents that are in the default corpus."""
    steps: int = 440
    lr: float = 1e-3
    warmup_steps: int = 20
    decay_fraction: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls linearly to zero."""
    aux_coefficient: float = 1.0
    dead_after_steps: int = 10
    """A latent that has not fired for so many steps is revived by the auxiliary loss."""
    seed: int = 0

    @property
    def tokens_per_step(self) -> int:
        return self.windows_per_step * self.window


def corpus_windows(documents: list[str], model: SubjectModel, spec: SaeTrainingSpec) -> np.ndarray:
    """Cut documents as a corpus is cut; returns int32 [windows, window + 1] with BOS in front."""
    windows, _ = cut_windows(
        documents, model, WindowParams(length=spec.window, max_windows=10_000_000, prepend_bos=True)
    )
    return windows.tokens


def training_batch(step: int, pools: Sequence[np.ndarray], spec: SaeTrainingSpec) -> torch.Tensor:
    """Windows of a step, as many from each pool, drawn with the seed and the step alone."""
    rng, share = np.random.default_rng([spec.seed, step]), spec.windows_per_step // len(pools)
    return torch.from_numpy(np.concatenate([pool[rng.choice(len(pool), share, replace=False)] for pool in pools]))


def residuals(model: SubjectModel, tokens: torch.Tensor, hooks: list[str]) -> dict[str, torch.Tensor]:
    """Residual streams [tokens, width] of a batch at every hook, without BOS."""
    streams = model.streams(tokens, hooks)
    return {hook: stream[:, 1:].flatten(0, 1).clone() for hook, stream in streams.items()}


def make_trainer(hook: str, first: torch.Tensor, model: SubjectModel, spec: SaeTrainingSpec) -> SAETrainer:
    """Make SAELens's trainer of one SAE; the first batch [tokens, width] sets its scale and its bias."""
    cfg = TopKTrainingSAEConfig(
        d_in=model.width, d_sae=spec.n_latents, k=spec.k, aux_loss_coefficient=spec.aux_coefficient,
        normalize_activations="expected_average_only_in", device=str(model.device),
        metadata=SAEMetadata(
            model_name=spec.model_name, model_class_name="AutoModelForCausalLM", hook_name=hook, hook_head_index=None,
            prepend_bos=True, context_size=spec.window + 1, exclude_special_tokens=True,
            model_from_pretrained_kwargs={}, dataset_path="python documentation",
        ),
    )  # fmt: skip
    sae = TopKTrainingSAE(cfg)
    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=spec.steps * spec.tokens_per_step, train_batch_size_samples=spec.tokens_per_step,
            lr=spec.lr, lr_end=0.0, lr_warm_up_steps=spec.warmup_steps,
            lr_decay_steps=int(spec.steps * spec.decay_fraction), dead_feature_window=spec.dead_after_steps,
            device=str(model.device),
        ),
        sae,
        data_provider=iter(()),
    )  # fmt: skip
    scale = model.width**0.5 / float(first.norm(dim=-1).mean())
    trainer.activation_scaler.scaling_factor = scale
    with torch.no_grad():
        sae.b_dec.copy_(first.mean(dim=0) * scale)
    return trainer


def train(
    model: SubjectModel, pools: Sequence[np.ndarray], spec: SaeTrainingSpec, layers: Sequence[int]
) -> dict[int, TopKTrainingSAE]:
    """Train the SAEs of layers side by side; returns them by layer, in the model's own units."""
    hooks = [hook_name(layer) for layer in layers]
    torch.manual_seed(spec.seed)
    first = residuals(model, training_batch(0, pools, spec), hooks)
    trainers = {hook: make_trainer(hook, first[hook], model, spec) for hook in hooks}
    began = time.monotonic()
    for step in range(spec.steps):
        streams = residuals(model, training_batch(step, pools, spec), hooks)
        for hook, trainer in trainers.items():
            out = trainer.step(streams[hook])
            trainer.n_training_steps += 1
            if step % 20 == 19:
                explained = 1 - float(out.losses["mse_loss"].detach()) / float(out.sae_in.var(dim=0).sum())
                print(f"{hook}: variance explained {explained:.3f}, {int(trainer.dead_neurons.sum())} dead")
        if step % 20 == 19:
            rate = (step + 1) * spec.tokens_per_step / (time.monotonic() - began)
            print(f"step {step + 1}/{spec.steps}, {rate:.0f} tokens/s", flush=True)
    saes = {}
    for layer, trainer in zip(layers, trainers.values(), strict=True):
        trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
        saes[layer] = trainer.sae.eval()
    return saes


def evaluate(
    model: SubjectModel, folder: Path, windows: np.ndarray, layers: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Measure the SAEs that were saved in `folder` on windows; returns the figures by hook name."""
    saes = [load_sae(str(folder), "layer_{layer}", layer) for layer in layers]
    quality = sae_quality(Subject(model, {sae.hook_name: sae for sae in saes}), windows, has_bos=True)
    return {hook: asdict(figures) for hook, figures in quality.items()}


def train_and_save(model: SubjectModel, out: Path, spec: SaeTrainingSpec, layers: Sequence[int]) -> None:
    """Train the SAEs of layers, and write them and their figures into a folder."""
    mixture, default_corpus = training_mixture(), list(python_documentation())
    pools = [
        corpus_windows([t for t in texts if not is_held_out(t)], model, spec) for texts in (mixture, default_corpus)
    ]
    held_out = corpus_windows([text for text in mixture if is_held_out(text)], model, spec)
    sizes = f"{len(pools[0])} windows to learn from, {len(pools[1])} of them of the default corpus"
    print(f"{sizes}; {len(held_out)} held out", flush=True)

    began = time.monotonic()
    saes = train(model, pools, spec, layers)
    seconds = time.monotonic() - began
    for layer, sae in saes.items():
        sae.save_inference_model(out / f"layer_{layer}")
    figures = {
        "held_out": evaluate(model, out, held_out, layers),
        "training_windows": {"mixture": len(pools[0]), "default_corpus": len(pools[1])},
        "training_tokens": spec.steps * spec.tokens_per_step,
        "held_out_windows": len(held_out),
        "seconds": round(seconds),
        "spec": asdict(spec),
    }
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="training/checkpoints/model/final")
    parser.add_argument("--out", type=Path, default=Path("training/checkpoints/saes"))
    parser.add_argument("--steps", type=int, default=SaeTrainingSpec.steps)
    parser.add_argument("--k", type=int, default=SaeTrainingSpec.k)
    args = parser.parse_args()
    model, spec = SubjectModel.load(args.model), SaeTrainingSpec(steps=args.steps, k=args.k)
    train_and_save(model, args.out, spec, range(model.n_layers))


if __name__ == "__main__":
    main()
