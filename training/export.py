"""Put the trained model and SAEs into the package in 16 bit, with their card: `python -m training.export`."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from featureinterp.experiment.doctor import measure_embedded
from featureinterp.subject.embedded import card_file, model_folder, sae_folder

_MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def write_16_bit(source: Path, target: Path) -> None:
    """Copy a safetensors file with every tensor in float16; the files beside it say what to compute in.

    Raises ValueError where a weight is too large for float16.
    """
    tensors = {name: tensor.to(torch.float16).contiguous() for name, tensor in load_file(source).items()}
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ValueError(f"{source} holds weights that float16 cannot")
    save_file(tensors, target, {"format": "pt"})


def export_model(source: Path) -> None:
    """Replace the package's model by the one in `source`."""
    target = model_folder()
    target.mkdir(parents=True, exist_ok=True)
    for name in _MODEL_FILES:
        shutil.copyfile(source / name, target / name)
    write_16_bit(source / "model.safetensors", target / "model.safetensors")


def export_saes(source: Path, target: Path) -> None:
    """Replace the SAEs `layer_*/` of a folder of the package by those in `source`."""
    for folder in sorted(source.glob("layer_*")):
        shipped = target / folder.name
        shipped.mkdir(parents=True, exist_ok=True)
        config = json.loads((folder / "cfg.json").read_text())
        (shipped / "cfg.json").write_text(json.dumps(config | {"device": "cpu", "dtype": "float32"}, indent=2) + "\n")
        write_16_bit(folder / "sae_weights.safetensors", shipped / "sae_weights.safetensors")


def write_card(model: Path, saes: Path) -> None:
    """Write the card: how both were trained, and what the exported weights measure on this machine.

    `python -m training.random_control` adds the scores of the control.
    """
    figures = {
        "python": platform.python_version(),
        "model": json.loads((model / "figures.json").read_text()),
        "saes": json.loads((saes / "figures.json").read_text()),
        "measured": {figure.name: round(figure.measured, 4) for figure in measure_embedded()},
    }
    text = json.dumps(figures, indent=2) + "\n"
    card_file().write_text(text)
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("training/checkpoints/model/final"))
    parser.add_argument("--saes", type=Path, default=Path("training/checkpoints/saes"))
    args = parser.parse_args()
    export_model(args.model)
    export_saes(args.saes, sae_folder(0).parent)
    write_card(args.model, args.saes)


if __name__ == "__main__":
    main()
