"""Put the SAEs of SmolLM2 into the package in 16 bit, with their card: `python -m training.export_smollm2`.

Reads the checkpoint of `training.train_smollm2_saes`, at any step; the weights of an unfinished run are noisier, for
its learning rate has not yet fallen.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from featureinterp.files import atomic_folder, atomic_write
from featureinterp.subject.model import SubjectModel
from training.export import write_16_bit
from training.sae_learner import LearningSpec
from training.splicing import spliced_loss
from training.train_smollm2_saes import Run, export, measure

SPLICED = 512
"""Held-out windows on which the loss is measured."""


def figures(run: Run) -> dict[str, Any]:
    """Measure a run's SAEs on held-out documents."""
    held_out = measure(run.model, run.learners, run.held_out, run.spec)
    found = {}
    for layer, learner in run.learners.items():
        loss = spliced_loss(run.model, learner, layer, run.held_out[:SPLICED], run.spec.k)
        told = {**held_out[layer], "dead": learner.dead(run.spec), **asdict(loss), "loss_recovered": loss.recovered}
        found[f"layer_{layer}"] = {name: round(value, 4) for name, value in told.items()}
        print(f"layer {layer}: {found[f'layer_{layer}']}", flush=True)
    return found


def write(run: Run, target: Path) -> None:
    """Write `saes/layer_{layer}/` in float16, and `card.json`."""
    with atomic_folder(target / "saes") as folder:
        export(run.learners, folder, run.spec)
        for layer in run.spec.layers:
            weights = folder / f"layer_{layer}" / "sae_weights.safetensors"
            write_16_bit(weights, weights.with_suffix(".16"))
            weights.with_suffix(".16").replace(weights)
    card = {
        "python": platform.python_version(),
        "held_out": figures(run),
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
    parser.add_argument("--target", type=Path, default=Path("featureinterp/subject/smollm2"))
    args = parser.parse_args()
    write(Run(SubjectModel.load(args.model), args.run, LearningSpec()), args.target)


if __name__ == "__main__":
    main()
