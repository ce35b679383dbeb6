"""A GPT-2 of any size with random weights and standard SAEs on it: what the benchmarks of speed and memory run on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from featureinterp.subject.model import SubjectModel
from featureinterp.subject.sae import SparseAutoencoder
from featureinterp.subject.subject import Subject

SHARE_ACTIVE = 0.002
"""How often a latent fires; biases are set so that it does."""


class NoText:
    """Stands for a tokenizer where token numbers are drawn at random."""

    def get_vocab(self) -> dict[str, int]:
        """Return no vocabulary."""
        return {}


def random_subject(
    blocks: int,
    width: int,
    vocabulary: int,
    layers: Sequence[int],
    n_latents: int,
    device: str = "cpu",
    dtype: str = "float32",
) -> Subject:
    """Make a model of so many blocks, with an SAE of `n_latents` in float32 after each of some layers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    heads = max(1, width // 64)
    config = GPT2Config(vocab_size=vocabulary, n_positions=64, n_embd=width, n_layer=blocks, n_head=heads)
    config._attn_implementation = "eager"
    language_model = nn.Module.to(GPT2LMHeadModel(config), device, getattr(torch, dtype))
    model = SubjectModel(f"random GPT-2 of {blocks} x {width}", language_model, NoText())
    hooks = [f"blocks.{layer}.hook_resid_post" for layer in layers]
    streams = model.streams(torch.from_numpy(random_tokens(8, 32, vocabulary)), hooks)
    return Subject(model, {hook: random_sae(hook, streams[hook], n_latents) for hook in hooks})


def random_sae(hook: str, stream: torch.Tensor, n_latents: int) -> SparseAutoencoder:
    """Make an SAE with random directions whose latents fire on `SHARE_ACTIVE` of the tokens of a stream."""
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    width = stream.shape[-1]
    metadata = SAEMetadata(hook_name=hook, prepend_bos=False)
    config = StandardSAEConfig(d_in=width, d_sae=n_latents, apply_b_dec_to_input=False, metadata=metadata)
    sae = StandardSAE(config)
    directions = nn.functional.normalize(torch.randn(n_latents, width), dim=1)
    before = stream.flatten(0, 1).float().cpu() @ directions[:256].T
    bias = -before.flatten().quantile(1 - SHARE_ACTIVE)
    weights = {"W_enc": directions.T, "W_dec": directions, "b_enc": bias.expand(n_latents), "b_dec": torch.zeros(width)}
    sae.load_state_dict({name: tensor.contiguous() for name, tensor in weights.items()})
    return SparseAutoencoder(sae.to(stream.device), "random")


def random_tokens(sequences: int, length: int, vocabulary: int) -> NDArray[np.int32]:
    """Draw token numbers, int32 [sequences, length]."""
    return np.random.default_rng(0).integers(1, vocabulary, (sequences, length)).astype(np.int32)
