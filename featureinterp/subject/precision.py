"""Device, dtype and quantization of a model, checked before loading."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from featureinterp.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZATIONS = ("8bit", "4bit")

_DEVICE = re.compile(r"cpu|mps|cuda(?::(\d+))?")


@dataclass(frozen=True)
class Precision:
    """Dtype and quantization of a model."""

    dtype: str = "auto"
    """One of `DTYPES`, or `auto` for the dtype that the SAEs were trained with (float32 if unknown)."""
    quantization: str | None = None
    """`8bit` or `4bit` weights by bitsandbytes; None for unchanged weights."""

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", *DTYPES):
            raise InputError(f"dtype {self.dtype!r} is not known", f"give auto, {', '.join(DTYPES)}")
        if self.quantization not in (None, *QUANTIZATIONS):
            raise InputError(f"quantization {self.quantization!r} is not known", f"give {' or '.join(QUANTIZATIONS)}")

    def resolved(self, advised: str | None) -> Precision:
        """Return a copy with `auto` replaced by the recommended dtype, or float32.

        Raises:
            InputError: if the recommended dtype is not in `DTYPES`.
        """
        return self if self.dtype != "auto" else Precision(advised or "float32", self.quantization)

    def loading_options(self, device: str) -> dict[str, Any]:
        """Return the corresponding arguments of Hugging Face's `from_pretrained`.

        Raises:
            InputError: if bitsandbytes is needed and not installed.
        """
        dtype = getattr(torch, self.dtype)
        if self.quantization is None:
            return {"dtype": dtype}
        if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
            raise InputError(
                f"quantization {self.quantization!r} needs bitsandbytes and accelerate",
                'pip install "featureinterp[quantization]"',
            )
        from transformers import BitsAndBytesConfig

        weights: dict[str, Any] = {"load_in_8bit": True} if self.quantization == "8bit" else {"load_in_4bit": True}
        config = BitsAndBytesConfig(**weights, bnb_4bit_compute_dtype=dtype)
        return {"dtype": dtype, "quantization_config": config, "device_map": {"": device}}


def resolve_device(device: str) -> str:
    """Return the torch device; `auto` is the GPU if available.

    Raises:
        InputError: if the device is not available.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if n_gpus else "cpu"
    found = _DEVICE.fullmatch(device)
    if found is None:
        raise InputError(f"device {device!r} is not known", "give auto, cpu, cuda, cuda:1 or mps")
    if device.startswith("cuda") and int(found.group(1) or 0) >= n_gpus:
        there = f"it has {', '.join(f'cuda:{n}' for n in range(n_gpus))}" if n_gpus else "it has no CUDA GPU"
        raise InputError(f"device {device!r} is not on this machine: {there}", "give --device auto or cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("device 'mps' is not on this machine", "give --device auto or cpu")
    return device
