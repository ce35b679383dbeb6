"""The embedded subject: a small language model with one SAE after each layer.

This folder contains `model/` (Hugging Face format), `saes/layer_{layer}/` (SAELens format), both with 16-bit
weights, and `card.json`, their quality figures. `training/` in the repository creates all three.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"
"""Name of the embedded model and its SAEs, wherever a model or SAE is named."""


def model_folder() -> Path:
    """Return the folder of the shipped language model."""
    return Path(__file__).parent / "model"


def sae_folder(layer: int) -> Path:
    """Return the folder of the shipped SAE that reads the residual stream after `layer`."""
    return Path(__file__).parent / "saes" / f"layer_{layer}"


def card_file() -> Path:
    """Return the path of the released weights' figures."""
    return Path(__file__).parent / "card.json"


def card() -> dict[str, Any]:
    """Return the figures of the released weights."""
    return json.loads(card_file().read_text(encoding="utf-8"))


def weights_bytes() -> int:
    """Return the size of all shipped weights in bytes."""
    return sum(path.stat().st_size for path in Path(__file__).parent.rglob("*.safetensors"))


def is_held_out(text: str) -> bool:
    """Return whether a document is held out from training: 1 in 64, by the first byte of its SHA-256.

    The split of a document is independent of the other documents and of the machine.
    """
    return hashlib.sha256(text.encode()).digest()[0] < 4
