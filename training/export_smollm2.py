"""Put the SAEs of SmolLM2 into the package in 16 bit, with their card: `python -m training.export_smollm2`.

Reads the checkpoint of `training.train_smollm2_saes`, at any step; the weights of an unfinished run are noisier, for
its learning rate has not yet fallen.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file

from featureinterp.files import atomic_write
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.smollm2 import SAES
from training.export import export_saes
from training.sae_learner import LayerLearner, LearningSpec
from training.splicing import spliced_loss
from training.topk_learning import TopKSae
from training.train_smollm2_saes import Run, export, measure

SPLICED = 512
"""Held-out windows on which the loss is measured."""


def shipped(folder: Path, learner: LayerLearner) -> LayerLearner:
    """Return the SAE in a folder, which a learner was written to, as a learner of inputs in the model's own units."""
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "sae_weights.safetensors").items()}
    sae = TopKSae(tensors["W_enc"].T.contiguous(), tensors["b_enc"], tensors["W_dec"], tensors["b_dec"])
    found = LayerLearner(sae, scale=1.0, norm_limit=learner.norm_limit)
    found.quiet = learner.quiet
    return found


def figures(run: Run, target: Path) -> dict[str, dict[str, float]]:
    """Measure the SAEs below `target` on held-out documents."""
    learners = {layer: shipped(target / f"layer_{layer}", learner) for layer, learner in run.learners.items()}
    held_out = measure(run.model, learners, run.held_out, run.spec)
    found = {}
    for layer, learner in learners.items():
        loss = spliced_loss(run.model, learner, layer, run.held_out[:SPLICED], run.spec.k)
        told = {**held_out[layer], "dead": learner.dead(run.spec), "norm_limit": learner.norm_limit}
        told |= {**asdict(loss), "loss_recovered": loss.recovered}
        found[f"layer_{layer}"] = {name: round(value, 4) for name, value in told.items()}
        print(f"layer {layer}: {found[f'layer_{layer}']}", flush=True)
    return found


def write(run: Run, target: Path) -> None:
    """Write `saes/layer_{layer}/` in float16, and `card.json` with the figures of these weights."""
    with tempfile.TemporaryDirectory() as temporary:
        export(run.learners, Path(temporary), run.spec)
        export_saes(Path(temporary), target / "saes")
    card = {
        "python": platform.python_version(),
        "held_out": figures(run, target / "saes"),
        "held_out_windows": len(run.held_out),
        "training_tokens": run.step * run.spec.tokens_per_step,
        "sources": json.loads((run.out / "text" / "sources.json").read_text(encoding="utf-8")),
        "spec": asdict(run.spec),
    }
    atomic_write(target / "card.json", (json.dumps(card, indent=2) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="name or folder of the model (default: %(default)s)")
    parser.add_argument("--run", type=Path, default=Path("training/checkpoints/smollm2"))
    parser.add_argument("--target", type=Path, default=SAES.parent)
    args = parser.parse_args()
    write(Run(SubjectModel.load(args.model), args.run, LearningSpec()), args.target)


if __name__ == "__main__":
    main()
