"""Logit post-processing by model family (scaling, soft-capping).

`LocalModel` multiplies hidden states with a few rows of the output matrix only, and applies the rest here. It checks
itself against the model's own forward pass when it loads, so a missing quirk is an error, never a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


def soft_cap(logits: Tensor, cap: float) -> Tensor:
    """Return cap·tanh(logits / cap) (Gemma 2 and 3)."""
    return (logits / cap).tanh() * cap


LOGIT_QUIRKS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "final_logit_softcapping": soft_cap,
    "logit_scale": lambda logits, scale: logits * scale,  # Cohere
    "logits_scaling": lambda logits, scale: logits / scale,  # Granite
}
"""Configuration entry -> its effect on the logits."""


def finish_logits(logits: Tensor, config: Any) -> Tensor:
    """Apply the scaling and capping of the model's configuration to logits."""
    for name, quirk in LOGIT_QUIRKS.items():
        number = getattr(config, name, None)
        if isinstance(number, int | float):
            logits = quirk(logits, float(number))
    return logits
