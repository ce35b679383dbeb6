"""Requirements of an SAE's `model_from_pretrained_kwargs` on model loading.

SAELens loads models with TransformerLens's weight processing left off, but for what a release lists under
`model_from_pretrained_kwargs`. Most of these change only how the model computes, not what is at the points that an SAE
reads; those that do change it are followed, or are an error.
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
"""They leave the value at a point as it is, but for the pairs in `_CHANGED`."""

_CHANGED = frozenset({
    ("fold_value_biases", "attn.hook_z"), ("refactor_factored_attn_matrices", "attn.hook_z"), ("fold_ln", "mlp.hook_in")
})  # fmt: skip
"""Processing that changes the value at a point, and is not done here."""


@dataclass(frozen=True)
class LoadingRequirements:
    """Requirements of an SAE on its model."""

    centred: bool = False
    """Whether the weights that write to the residual stream lose their mean (`center_writing_weights`)."""
    dtype: str | None = None
    """In which numbers it was trained; None where it does not say."""
    revision: str | None = None
    """Of the model on the hub."""


def loading_requirements(kwargs: Mapping[str, Any], point: HookPoint, sae_name: str) -> LoadingRequirements:
    """Parse an SAE's `model_from_pretrained_kwargs`; raise an error for unsupported settings.

    Args:
        kwargs: As SAELens stores them.
        point: What the SAE reads.
        sae_name: For the error.

    Raises:
        SubjectError: if they are no mapping, or something is asked for that changes the numbers and cannot be followed.
    """
    if not isinstance(kwargs, Mapping) or not isinstance(kwargs.get("revision"), str | None):
        raise SubjectError(
            f"SAE {sae_name!r} has model_from_pretrained_kwargs {str(kwargs)[:80]!r}, which are no names and values",
            "take the cfg.json that was saved with the SAE",
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
            f"SAE {sae_name!r} on {point.kind} was trained on a model loaded with {told}, which is not done here",
            "choose another SAE; its activations would be wrong",
        )
    return requirements
