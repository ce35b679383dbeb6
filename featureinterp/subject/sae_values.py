"""Check at loading that an SAE can be used with its configuration.

SAELens accepts values of any type from `cfg.json` and validates them on use. So each is compared with
its declared type before the SAE is tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from safetensors import SafetensorError

from featureinterp.errors import SubjectError

if TYPE_CHECKING:
    from sae_lens import SAE

SAE_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    SafetensorError,
)
"""Errors of SAELens, torch and safetensors for invalid files and values."""

_HINT = "fix cfg.json, or download the SAE again"


def check_values(sae: SAE[Any], name: str) -> None:
    """Check the values of an SAE's configuration.

    Raises:
        SubjectError: if one has another type or is out of range.
    """
    told = next(_faults(sae), "")
    if told:
        raise SubjectError(f"SAE {name!r} cannot be used: its {told}", _HINT)


def _faults(sae: SAE[Any]) -> Iterator[str]:
    """Yield the faults of a configuration's values."""
    kwargs = sae.cfg.metadata.to_dict().get("model_from_pretrained_kwargs")
    if kwargs is not None and not isinstance(kwargs, dict):
        yield f"model_from_pretrained_kwargs is {_shown(kwargs)}; expected an object"
    hints = get_type_hints(type(sae.cfg))
    for name in (field.name for field in fields(sae.cfg)):
        value, kinds = getattr(sae.cfg, name), get_args(hints[name]) or (hints[name],)
        if int in kinds and not _is_count(value) and not (value is None and type(None) in kinds):
            yield f"{name} is {_shown(value)}; expected a whole number from 1 on"
        elif float in kinds and not (isinstance(value, (int, float)) and math.isfinite(value)):
            yield f"{name} is {_shown(value)}; expected a finite number"
        elif bool in kinds and not isinstance(value, bool):
            yield f"{name} is {_shown(value)}; expected true or false"
    if (most := getattr(sae.cfg, "k", 0)) > sae.cfg.d_sae:
        yield f"k is {most}, of {sae.cfg.d_sae} latents"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
