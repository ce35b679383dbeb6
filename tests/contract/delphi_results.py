"""A run of delphi in small: its own cache of latents over the embedded model, made by its own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from delphi.config import CacheConfig
from delphi.latents.cache import LatentCache
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from featureinterp.subject.embedded import model_folder

WORDS = (
    "the a of to in is that for it as with on this by from or be are at an not return value list object string name "
    "file type function method class number call error argument default true false none key set if when else"
)
CONTEXT, LATENTS = 64, 12


class Made(NamedTuple):
    """What delphi wrote, and what it should have."""

    folder: Path
    hookpoint: str
    tokens: np.ndarray
    activations: np.ndarray
    """Computed from Hugging Face's own hidden states, float32 [rows, context, latents]."""


def make_results(folder: Path, n_rows: int = 96) -> Made:
    """Cache latents of a random encoder behind a block, with one row that holds special tokens."""
    source = str(model_folder())
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source).eval()
    text = " ".join(np.random.default_rng(0).choice(WORDS.split(), n_rows * CONTEXT))
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][: n_rows * CONTEXT]
    tokens = torch.tensor(ids).reshape(n_rows, CONTEXT)
    tokens[3, 10] = tokenizer.all_special_ids[0]
    tokens[5, :32] = tokens[4, :32]
    hookpoint = next(name for name, _ in model.named_modules() if name.endswith(".1"))
    states, activations = _measure(model, tokens)

    cache = LatentCache(model, {hookpoint: activations}, batch_size=16, log_path=_made(folder / "log"))
    cache.run(n_rows * CONTEXT, tokens)
    cache.save_splits(n_splits=3, save_dir=_made(folder / "latents"))
    cache.save_config(folder / "latents", CacheConfig(cache_ctx_len=CONTEXT), source)
    return Made(folder, hookpoint, tokens.numpy(), activations(states).numpy())


def _measure(model, tokens: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The states behind the second block, and an encoder whose latents fire on a few per cent of them."""
    with torch.no_grad():
        states = model(tokens, output_hidden_states=True).hidden_states[2]
    directions = torch.randn(states.shape[-1], LATENTS, generator=torch.Generator().manual_seed(0))
    projected = states @ directions
    thresholds = torch.quantile(projected.flatten(0, 1), 0.97, dim=0)
    thresholds[LATENTS - 1] = 1e9
    return states, lambda stream: torch.relu(stream @ directions - thresholds)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
