"""A local Hugging Face causal language model: selected logits at selected positions of many prompts.

The shared part of prompts is computed once, as a `Prefix`; of the output matrix only the rows of the requested tokens
are used, at the requested positions. The numbers are those of a plain forward pass over each whole prompt, which is
checked on a short text when the model loads. Rows of a batch are padded at their end, where a causal model does
not look.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featureinterp.errors import InputError, SubjectError, check_numbers
from featureinterp.llm.local.attention import SHARED_PREFIX, Prefix, cache_of, extend, register
from featureinterp.llm.local.encoding import PromptEncoder
from featureinterp.llm.local.logit_quirks import finish_logits
from featureinterp.pretrained.facts import check_tokenizer, keeps_keys, length_limit, n_embeddings, required_size
from featureinterp.pretrained.opening import load_language_model, load_tokenizer
from featureinterp.pretrained.sources import opening_language_model

QUANTIZATIONS = ("", "4bit", "8bit")
"""Quantizations: none, or 4 or 8 bits by bitsandbytes."""

_HINT = "give a folder with a Hugging Face model and tokenizer, a GGUF file, smollm2, or a name on the hub"
_TOLERANCES = {torch.float32: 1e-3, torch.float64: 1e-6}
_HALF_TOLERANCE = 0.05
"""Tolerance of logits, relative to the largest, in half precision or with quantized weights."""


@dataclass(frozen=True)
class LocalModelParams:
    """Loading and inference settings of a local model."""

    device: str = "auto"
    """A torch device, or `auto` for a GPU if there is one."""
    dtype: str = "auto"
    """Torch dtype; `auto` is bfloat16 on a GPU and float32 elsewhere."""
    quantization: str = ""
    """Quantization: empty, `4bit` or `8bit`; the latter two need the extra `quantization`."""
    reuse_prefix: bool = True
    """Whether the shared part of prompts is computed once; the numbers are the same."""
    batch_tokens: int = 1024
    """Maximum tokens of a batch, including padding; a longer prompt is a separate batch."""

    def __post_init__(self) -> None:
        check_numbers(self, batch_tokens=(1, math.inf))
        if self.quantization not in QUANTIZATIONS:
            raise InputError(f"quantization {self.quantization!r} is not known", "use 4bit, 8bit, or nothing")
        if self.dtype != "auto" and not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise InputError(f"torch has no number type {self.dtype!r}", "use auto, bfloat16, float16 or float32")


class LocalModel:
    """A causal language model with its tokenizer."""

    def __init__(self, name: str, model: Any, tokenizer: Any, params: LocalModelParams | None = None) -> None:
        """Take a loaded model.

        If the shared part of prompts cannot be cached, every prompt is computed whole, with a warning.

        Raises:
            SubjectError: if its logits cannot be reproduced.
        """
        self.name = name
        self.params = params or LocalModelParams()
        self.encoder = PromptEncoder(name, tokenizer)
        self._model = model.eval()
        self._n_layers = required_size(f"language model {name!r}", self._config, "num_hidden_layers")
        if self.params.reuse_prefix and not (model._can_set_attn_implementation() and keeps_keys(model)):
            self.params = replace(self.params, reuse_prefix=False)
            logging.getLogger(__name__).warning(
                "%r (%s) keeps no keys and values that prompts could share: each is computed whole, to equal numbers",
                *(name, type(model).__name__),
            )
        self._check()

    @classmethod
    def load(cls, model_name: str, params: LocalModelParams | None = None) -> LocalModel:
        """Load a model: a local folder, a GGUF file, `smollm2`, or a name on the Hugging Face hub.

        Raises:
            SubjectError: if the model cannot be loaded, or its logits cannot be reproduced.
            InputError: if quantized weights are requested and bitsandbytes is not installed.
        """
        params = params or LocalModelParams()
        device = params.device if params.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        half = device.startswith("cuda")
        dtype = getattr(torch, params.dtype) if params.dtype != "auto" else torch.bfloat16 if half else torch.float32
        options = _quantized(params.quantization, dtype, device) if params.quantization else {}
        what = f"language model {model_name!r}"
        with opening_language_model(model_name, what, _HINT) as source:
            tokenizer = load_tokenizer(source)
            model = load_language_model(source, what, device, dtype=dtype, **options)
            check_tokenizer(what, tokenizer, model)
        return cls(model_name, model, tokenizer, params)

    @property
    def max_length(self) -> int | None:
        """Context length in tokens; None if not in the configuration."""
        return length_limit(self._config)

    @property
    def _config(self) -> Any:
        return self._model.config.get_text_config()

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int], after: Prefix | None = None) -> Prefix:
        """Compute the key-value cache of tokens; `after` is the preceding prefix.

        A long text is computed in pieces of `batch_tokens`, so that memory stays bounded.
        """
        prefix, step = after, self.params.batch_tokens
        for start in range(0, len(ids), step):
            piece = ids[start : start + step]
            cache = cache_of(prefix, self._n_layers)
            self._hidden(torch.tensor([list(piece)], device=self._device), cache)
            prefix = extend(prefix, cache, len(piece))
        if prefix is None:
            raise ValueError("a prefix has at least one token")
        return prefix

    @torch.inference_mode()
    def logits(
        self,
        rows: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        vocabulary: Sequence[int],
        after: Prefix | None = None,
        before_batch: Callable[[], None] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the logits of the given vocabulary tokens at the given positions of every row.

        Args:
            rows: token ids of each row, after the prefix.
            positions: for every row, the indices whose next-token logits are returned.
            vocabulary: ids of the tokens whose logits are returned.
            after: prefix of every row.
            before_batch: called before each batch; its exception ends the computation.

        Returns:
            For every row, float32 [positions, vocabulary].
        """
        found: list[NDArray[np.float32]] = [np.empty((0, len(vocabulary)), np.float32)] * len(rows)
        for batch in batches([len(row) for row in rows], self.params.batch_tokens):
            if before_batch is not None:
                before_batch()
            width = max(len(rows[i]) for i in batch)
            ids = torch.tensor([[*rows[i], *[0] * (width - len(rows[i]))] for i in batch], device=self._device)
            cache = cache_of(after, self._n_layers) if after is not None else None
            hidden = self._hidden(ids, cache)
            places = [(place, at) for place, i in enumerate(batch) for at in positions[i]]
            index = torch.tensor(places, device=self._device, dtype=torch.long).reshape(-1, 2)
            logits = self._head(hidden[index[:, 0], index[:, 1]], vocabulary).cpu().numpy()
            ends = np.cumsum([len(positions[i]) for i in batch])[:-1]
            for i, of_row in zip(batch, np.split(logits, ends), strict=True):
                found[i] = of_row
        return found

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _hidden(self, ids: Tensor, cache: Any) -> Tensor:
        """Run the decoder: with the model's own attention, or with shared-prefix attention if there is a cache."""
        self._model.set_attn_implementation("eager" if cache is None else SHARED_PREFIX)
        decoder = self._model.get_decoder()
        return decoder(input_ids=ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state

    def _head(self, hidden: Tensor, vocabulary: Sequence[int]) -> Tensor:
        """Multiply hidden states with selected rows of the output matrix, in float32."""
        head, rows = self._model.get_output_embeddings(), torch.tensor(list(vocabulary), device=hidden.device)
        if not isinstance(getattr(head, "weight", None), Tensor):
            raise SubjectError(f"{self.name!r} does not expose its output matrix", "use another model")
        if not head.weight.is_floating_point():
            return finish_logits(head(hidden)[:, rows].float(), self._config)
        logits = hidden.float() @ head.weight[rows].float().T
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias[rows].float()
        return finish_logits(logits, self._config)

    @torch.inference_mode()
    def _check(self) -> None:
        """Compare with the model's own forward pass over a short text.

        Raises:
            SubjectError: if the logits differ.
        """
        register()
        size = n_embeddings(self._model)
        ids, vocabulary = torch.arange(24, device=self._device) % size, list(range(min(16, size)))
        self._model.set_attn_implementation("eager")
        wanted = (
            self._model(input_ids=ids[None], use_cache=False).logits[0, 8:, : len(vocabulary)].float().cpu().numpy()
        )
        row = ids[8:].tolist()
        if self.params.reuse_prefix:
            before = self.prefix(ids[4:8].tolist(), self.prefix(ids[:4].tolist()))
            made = self.logits([row[:3], row], [[], range(16)], vocabulary, before)[1]
        else:
            made = self.logits([ids.tolist()], [range(8, 24)], vocabulary)[0]
        error, size = float(np.abs(made - wanted).max()), max(1.0, float(np.abs(wanted).max()))
        exact = not self.params.quantization and self._model.dtype in _TOLERANCES
        if not error <= size * (_TOLERANCES[self._model.dtype] if exact else _HALF_TOLERANCE):
            raise SubjectError(
                f"the logits of {self.name!r} ({type(self._model).__name__}) deviate from its own by {error:.3g}",
                "the output layer of its family is not supported: use another model",
            )


def batches(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Group rows by length into batches (indices) with a limit on padded tokens.

    >>> batches([5, 1, 5, 2], most_tokens=10)
    [[0, 2], [3, 1]]
    """
    made: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if made and (len(made[-1]) + 1) * lengths[made[-1][0]] <= most_tokens:
            made[-1].append(i)
        else:
            made.append([i])
    return made


def _quantized(bits: str, dtype: torch.dtype, device: str) -> dict[str, Any]:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
        raise InputError(f"{bits} weights need bitsandbytes", "pip install 'featureinterp[quantization]'")
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_compute_dtype=dtype, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
    return {"quantization_config": config, "device_map": {"": device}}
