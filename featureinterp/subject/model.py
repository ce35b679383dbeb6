"""The subject language model: activations at hook points.

All Hugging Face causal models use the same code, including the embedded one; `families` has each family's paths of
hook points. They are read by plain forward hooks, and the forward pass ends at the last required point.

Trap: SAELens's loading path (`HookedTransformer.from_pretrained_no_processing`) leaves TransformerLens's
weight processing off, so the residual stream is Hugging Face's. Releases trained with processing
have `center_writing_weights: true` in their `model_from_pretrained_kwargs`; then, in a model with
LayerNorm, the residual stream is Hugging Face's minus its mean over the width (`centre_residual`).
TransformerLens skips the centring in models with RMSNorm, and so does this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featureinterp.errors import InputError, SubjectError
from featureinterp.pretrained.facts import keeps_keys, length_limit, n_embeddings, required_size
from featureinterp.subject.families import Tap, decoder_blocks, is_layer_norm, tap, width_at
from featureinterp.subject.fingerprint import hash_weights
from featureinterp.subject.loading import open_model
from featureinterp.subject.names import hook_point
from featureinterp.subject.pieces import begin_token_id, token_texts
from featureinterp.subject.precision import Precision, resolve_device


class _LastPointReached(Exception):
    """Raised to stop a forward pass after the last hook point."""


class SubjectModel:
    """A causal language model with hook points."""

    def __init__(self, name: str, model: Any, tokenizer: Any, centre_residual: bool = False) -> None:
        self.name = name
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._config = model.config.get_text_config()
        self._texts: dict[int, str] = {}
        self._width = required_size(f"model {name!r}", self._config, "hidden_size")
        self._blocks = decoder_blocks(name, model)
        self._centre = centre_residual and any(map(is_layer_norm, model.modules()))

    @classmethod
    def load(
        cls,
        model_name: str,
        *,
        device: str = "auto",
        precision: Precision | None = None,
        centre_residual: bool = False,
        revision: str | None = None,
    ) -> SubjectModel:
        """Load a model and its tokenizer.

        Args:
            model_name: `embedded`, `smollm2`, a local folder, a GGUF file, or a name on the Hugging Face hub.
            device: a torch device, or `auto` for a GPU if there is one.
            precision: dtype and quantization; float32 by default.
            centre_residual: whether the SAEs expect the centred residual stream (see the module's trap).
            revision: revision of the model on the hub.

        Raises:
            InputError: if the device is not available, or bitsandbytes is needed and not installed.
            SubjectError: if the model does not exist, its family is unknown, or it does not fit into memory.
        """
        numbers = (precision or Precision()).resolved(None)
        model, tokenizer = open_model(model_name, resolve_device(device), numbers, revision)
        return cls(model_name, model, tokenizer, centre_residual)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self._model.parameters()).device

    @property
    def dtype(self) -> str:
        """Name of the model's dtype."""
        return str(self._model.dtype).removeprefix("torch.")

    @property
    def quantization(self) -> str | None:
        """Quantization of the weights: `8bit`, `4bit` or none."""
        bits = {"8bit": "is_loaded_in_8bit", "4bit": "is_loaded_in_4bit"}
        return next((name for name, flag in bits.items() if getattr(self._model, flag, False)), None)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self._blocks)

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return self._width

    @property
    def max_length(self) -> int | None:
        """Context length in tokens, including BOS; None without a limit (ALiBi)."""
        return length_limit(self._config)

    @property
    def bos_token_id(self) -> int | None:
        """Id of the BOS token, as in TransformerLens; None if there is none."""
        found = begin_token_id(self._tokenizer)
        return found if found is not None and found < self.vocabulary_size else None

    @property
    def has_own_bos(self) -> bool:
        """Whether the tokenizer has its own BOS (otherwise another token is used)."""
        return self._tokenizer.bos_token_id is not None

    @property
    def n_heads(self) -> int | None:
        """Number of attention heads; None if not in the configuration."""
        return getattr(self._config, "num_attention_heads", None)

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids of special tokens."""
        begin = self.bos_token_id
        return frozenset(self._tokenizer.all_special_ids) | (set() if begin is None else {begin})

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return n_embeddings(self._model)

    @property
    def n_token_strings(self) -> int:
        """Number of token ids with a text (embeddings may be padded beyond)."""
        return min(self.vocabulary_size, len(self._tokenizer))

    @property
    def language_model(self) -> Any:
        """The Hugging Face model itself, for measurements that need its logits."""
        return self._model

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text; no special token is added.

        Raises:
            SubjectError: if a text spells an added token without an embedding in the model.
        """
        if not texts:
            return []
        found = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        largest = max((max(ids) for ids in found if ids), default=0)
        if largest >= self.vocabulary_size:
            raise SubjectError(
                f"a text spells the added token {self._tokenizer.convert_ids_to_tokens(largest)!r} of id {largest}, "
                f"model {self.name!r} has embeddings of 0 to {self.vocabulary_size - 1}",
                "remove the token from tokenizer.json, or use a model that has it",
            )
        return found

    def token_strings(self, ids: Iterable[int]) -> list[str]:
        r"""Return the exact text of each token, with its leading space.

        A token that is a part of a character is given as its bytes, `\xe2\x80`.
        """
        numbers = [int(number) for number in ids]
        new = list(dict.fromkeys(number for number in numbers if number not in self._texts))
        self._texts.update(zip(new, token_texts(self._tokenizer, new), strict=True))
        return [self._texts[number] for number in numbers]

    def width_at(self, hook_name: str) -> int:
        """Return the tensor width at a hook point.

        Raises:
            InputError: if the model has no such hook point.
        """
        return width_at(self._tap(hook_name), hook_point(hook_name).kind, self.width)

    @torch.inference_mode()
    def streams(
        self, tokens: Int[Tensor, "batch pos"], hook_names: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch pos width"]]:
        """Return activations of full sequences (no padding) at each hook point, on the model's device.

        A sequence's values do not depend on the others in its batch. The pass stops after the last hook point.

        Raises:
            InputError: if the model has no such hook point.
        """
        return self._run(tokens.to(self.device, torch.long), self._taps(hook_names))

    @torch.inference_mode()
    def deletion_streams(
        self, tokens: Int[Tensor, "batch pos"], hook_names: Sequence[str], first: int
    ) -> Iterator[tuple[int, dict[str, Float[Tensor, "batch rest width"]]]]:
        """Delete one token column at a time and yield the activations after it at the hook points.

        In a causal model nothing before the column changes, so only later columns are recomputed, with the keys and
        values of the whole sequences: the same numbers as a plain pass over the shortened sequences. A
        model without a cache of keys and values makes that plain pass.

        Args:
            tokens: whole sequences, without padding.
            hook_names: hook points of the model.
            first: column of the first token to delete.

        Yields:
            A column, from `first` to the last but one, and the streams at the columns after it.

        Raises:
            InputError: if the model has no such hook point.
        """
        taps = self._taps(hook_names)
        tokens = tokens.to(self.device, torch.long)
        if not keeps_keys(self._model):
            for column in range(first, tokens.shape[1] - 1):
                rest = torch.cat([tokens[:, :column], tokens[:, column + 1 :]], dim=1)
                yield column, {name: stream[:, column:] for name, stream in self._run(rest, taps).items()}
            return
        yield from self._deletions_on_a_cache(tokens, taps, first)

    def _deletions_on_a_cache(
        self, tokens: Tensor, taps: Mapping[str, Tap], first: int
    ) -> Iterator[tuple[int, dict[str, Tensor]]]:
        from transformers import DynamicCache

        whole = DynamicCache()
        self._run(tokens, taps, whole)
        blocks = [(keys, values) for keys, values, *_ in whole if keys is not None and values is not None]
        for column in range(first, tokens.shape[1] - 1):
            before = DynamicCache()
            for block, (keys, values) in enumerate(blocks if column > 0 else []):
                before.update(keys[:, :, :column], values[:, :, :column], block)
            yield column, self._run(tokens[:, column + 1 :], taps, before)

    def _run(self, tokens: Tensor, taps: Mapping[str, Tap], cache: Any = None) -> dict[str, Tensor]:
        with self._captured(taps) as captured, suppress(_LastPointReached):
            self._model(input_ids=tokens, past_key_values=cache, use_cache=cache is not None)
        if missed := [name for name in taps if name not in captured]:
            raise SubjectError(
                f"{missed[0]} cannot be read: model {self.name!r} computes without calling that part of its block",
                "use an SAE on the residual stream",
            )
        # Some families flatten sequences inside their blocks.
        return {name: stream.reshape(*tokens.shape, stream.shape[-1]) for name, stream in captured.items()}

    def fingerprint(self) -> str:
        """Return a hash of the configuration, the vocabulary, and evenly spaced weights of every tensor."""
        config = {k: v for k, v in self._model.config.to_dict().items() if k not in ("_name_or_path", "dtype")}
        vocabulary = sorted(self._tokenizer.get_vocab().items())
        described = json.dumps([config, vocabulary, self._centre], default=str, sort_keys=True)
        return hash_weights(self._model.state_dict(), described)

    def _taps(self, hook_names: Sequence[str]) -> dict[str, Tap]:
        return {name: self._tap(name) for name in hook_names}

    def _tap(self, hook_name: str) -> Tap:
        point = hook_point(hook_name)
        if point.layer >= self.n_layers:
            raise InputError(
                f"hook {hook_name!r} is on layer {point.layer}, model {self.name!r} has layers 0 to {self.n_layers - 1}"
            )
        if point.kind is not None:
            return tap(self._blocks[point.layer], self._config.model_type, point.kind, self._centre)
        try:
            return Tap(self._model.get_submodule(hook_name), is_input=False)
        except AttributeError as error:
            raise InputError(
                f"hook {hook_name!r} cannot be read: model {self.name!r} has no module of that name",
                "use a name such as 'blocks.3.hook_resid_post', or the path of a module",
            ) from error

    @contextmanager
    def _captured(self, taps: Mapping[str, Tap]) -> Iterator[dict[str, Tensor]]:
        """Hook modules and capture activations in a dictionary; stop the pass after the last hook point."""
        captured: dict[str, Tensor] = {}

        def store(name: str, stream: Tensor) -> None:
            finish = taps[name].finish
            captured[name] = stream if finish is None else finish(stream)
            if len(captured) == len(taps):
                raise _LastPointReached

        def before(name: str):
            return lambda _, args, kwargs: store(name, args[0] if args else kwargs["hidden_states"])

        def after(name: str):
            return lambda _, __, output: store(name, output[0] if isinstance(output, tuple | list) else output)

        handles = []
        try:
            for name, place in taps.items():
                if place.is_input:
                    handles.append(place.module.register_forward_pre_hook(before(name), with_kwargs=True))
                else:
                    handles.append(place.module.register_forward_hook(after(name)))
            yield captured
        finally:
            for handle in handles:
                handle.remove()
