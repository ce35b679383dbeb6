"""SAEs of SmolLM2-135M-Instruct, which `pretrained.smollm2` fetches.

This folder contains `saes/layer_{layer}/` (SAELens format, 16-bit weights) where SAEs are shipped.
"""

from __future__ import annotations

from pathlib import Path

from featureinterp.errors import SubjectError
from featureinterp.pretrained.smollm2 import SMOLLM2

SAES = Path(__file__).parent / "saes"
"""Folder of the shipped SAEs."""


def layers() -> tuple[int, ...]:
    """Return the layers with a shipped SAE, sorted."""
    return tuple(sorted(int(path.name.removeprefix("layer_")) for path in SAES.glob("layer_[0-9]*")))


def sae_folder(layer: int) -> Path:
    """Return the folder of the shipped SAE that reads the residual stream after `layer`.

    Raises:
        SubjectError: if none is shipped for this layer.
    """
    found = layers()
    if not found:
        raise SubjectError(
            f"this version ships no SAEs of model {SMOLLM2!r}", "give --sae-name a folder of SAEs trained on it"
        )
    if layer not in found:
        shown = ",".join(map(str, found))
        raise SubjectError(f"there is no SAE of model {SMOLLM2!r} after layer {layer}", f"use --layers {shown}")
    return SAES / f"layer_{layer}"
