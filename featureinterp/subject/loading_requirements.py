"""Requirements of an SAE's `model_from_pretrained_kwargs` on model loading.

SAELens loads models without TransformerLens's weight processing, except for the settings of a release in
`model_from_pretrained_kwargs`. Most of these change only how the model computes, not the values that an SAE
reads; those that do change them are followed, or are an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featureinterp.errors import SubjectError
from featureinterp.subject.names import HookPoint

_NO_EFFECT = frozenset({
    "center_unembed", "fold_ln", "fold_value_biases", "refactor_factored_attn_matrices", "first_n_layers", "n_ctx",
    "default_prepend_bos", "default_padding_side", "device", "n_devices", "device_map", "move_to_device",
    "attn_implementation", "low_cpu_mem_usage", "cache_dir",
})  # fmt: skip
"""Settings that leave the values at hook points unchanged, except for the pairs in `_CHANGED`."""

_CHANGED = frozenset({
    ("fold_value_biases", "attn.hook_z"), ("refactor_factored_attn_matrices", "attn.hook_z"), ("fold_ln", "mlp.hook_in")
})  # fmt: skip
"""Unsupported processing that changes the values at hook points."""


@dataclass(frozen=True)
class LoadingRequirements:
    """Requirements of an SAE on its model."""

    centred: bool = False
    """Whether the weights that write to the residual stream are centred (`center_writing_weights`)."""
    dtype: str | None = None
    """Dtype of the training; None if unknown."""
    revision: str | None = None
    """Revision of the model on the hub."""


def loading_requirements(kwargs: Mapping[str, Any], point: HookPoint, sae_name: str) -> LoadingRequirements:
    """Parse an SAE's `model_from_pretrained_kwargs`; raise an error for unsupported settings.

    Args:
        kwargs: keyword arguments as stored by SAELens.
        point: hook point of the SAE.
        sae_name: name of the SAE for errors.

    Raises:
        SubjectError: if they are not a mapping, or contain an unsupported setting that changes the numbers.
    """
    if not isinstance(kwargs, Mapping) or not isinstance(kwargs.get("revision"), str | None):
        raise SubjectError(
            f"SAE {sae_name!r} has model_from_pretrained_kwargs {str(kwargs)[:80]!r}, which is not an object",
            "use the cfg.json that was saved with the SAE",
        )
    asked = {key: value for key, value in kwargs.items() if value not in (None, False)}
    dtype = asked.pop("torch_dtype", None) or asked.pop("dtype", None)
    asked.pop("dtype", None)
    requirements = LoadingRequirements(
        centred=bool(asked.pop("center_writing_weights", False)),
        dtype=None if dtype is None else str(dtype).removeprefix("torch."),
        revision=asked.pop("revision", None),
    )
    refused = [key for key in asked if key not in _NO_EFFECT or (key, point.kind) in _CHANGED]
    if refused:
        told = ", ".join(f"{key}={asked[key]!r}" for key in refused)
        raise SubjectError(
            f"SAE {sae_name!r} on {point.kind} was trained on a model loaded with {told}, which is not supported",
            "choose another SAE; its activations would be wrong",
        )
    return requirements
