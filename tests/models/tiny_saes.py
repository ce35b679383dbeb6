"""SAEs of every kind with random weights, made and saved by SAELens itself."""

from __future__ import annotations

from pathlib import Path

import sae_lens
import torch

N_LATENTS = 48
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
KINDS = ("standard", "gated", "topk", "jumprelu", "batchtopk", "matryoshka", "matching_pursuit", *TRANSCODERS)

_CLASSES = {
    "standard": ("StandardSAE", "StandardSAEConfig", {}),
    "gated": ("GatedSAE", "GatedSAEConfig", {}),
    "topk": ("TopKSAE", "TopKSAEConfig", {"k": 5, "rescale_acts_by_decoder_norm": True}),
    "jumprelu": ("JumpReLUSAE", "JumpReLUSAEConfig", {}),
    "batchtopk": ("BatchTopKTrainingSAE", "BatchTopKTrainingSAEConfig", {"k": 5}),
    "matryoshka": (
        "MatryoshkaBatchTopKTrainingSAE",
        "MatryoshkaBatchTopKTrainingSAEConfig",
        {"k": 5, "matryoshka_widths": [12, N_LATENTS]},
    ),
    "matching_pursuit": ("MatchingPursuitSAE", "MatchingPursuitSAEConfig", {"max_iterations": 6}),
    "transcoder": ("Transcoder", "TranscoderConfig", {}),
    "skip_transcoder": ("SkipTranscoder", "SkipTranscoderConfig", {}),
    "jumprelu_transcoder": ("JumpReLUTranscoder", "JumpReLUTranscoderConfig", {}),
    "jumprelu_skip_transcoder": ("JumpReLUSkipTranscoder", "JumpReLUSkipTranscoderConfig", {}),
}


def save_sae(folder: Path, kind: str, hook_name: str, width: int, metadata: dict | None = None, **settings) -> Path:
    """Save an SAE for a point of the model, whose latents are active on some of its values and silent on others."""
    sae_class, config_class, own = _CLASSES[kind]
    if kind in TRANSCODERS:
        own = {**own, "d_out": width - 1, "apply_b_dec_to_input": False}
    elif hook_name.endswith("hook_z"):
        own = {**own, "reshape_activations": "hook_z"}
    config = getattr(sae_lens, config_class)(d_in=width, d_sae=N_LATENTS, **{**own, **settings})
    for name, value in {"hook_name": hook_name, "prepend_bos": True, **(metadata or {})}.items():
        setattr(config.metadata, name, value)
    sae = getattr(sae_lens, sae_class)(config)
    generator = torch.Generator().manual_seed(sum(map(ord, kind + hook_name)))
    with torch.no_grad():
        for name, tensor in sae.state_dict().items():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
            if "threshold" in name:
                tensor.abs_().add_(0.5)
            if kind == "matching_pursuit" and name == "W_dec":  # which is made for rows of length 1
                tensor.copy_(torch.nn.functional.normalize(tensor, dim=-1))
    save = sae.save_inference_model if kind in ("batchtopk", "matryoshka") else sae.save_model
    save(folder)
    return folder
