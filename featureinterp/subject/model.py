"""The language model under study: tokens in, residual stream out.

Any Hugging Face causal model of a family in `_BLOCK_LISTS` goes through the same code, the shipped one too.
Activations are taken by plain forward hooks on the decoder blocks, and the forward pass ends at the last
block that is needed.

Trap: SAELens's loading path (`HookedTransformer.from_pretrained_no_processing`) leaves TransformerLens's
weight processing off, so the residual stream is Hugging Face's. Releases that were trained with processing
say so by `center_writing_weights: true` in their `model_from_pretrained_kwargs`; then, in a model with
LayerNorm, the residual stream is Hugging Face's minus its mean over the width (`centre_residual`).
TransformerLens skips the centring in models with RMSNorm, and so is it skipped here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.embedded import EMBEDDED, model_folder
from featureinterp.subject.names import ResidualPoint, residual_point
from featureinterp.subject.pieces import piece_text

_BLOCK_LISTS = ("transformer.h", "model.layers", "gpt_neox.layers")
"""Where a family keeps its decoder blocks: GPT-2; Llama, Mistral, Qwen, Gemma; GPT-NeoX (Pythia)."""

_SAMPLED_WEIGHTS = 65_536
"""How many evenly spaced numbers of each tensor a fingerprint reads."""


class _LastBlockReached(Exception):
    """Ends a forward pass once everything asked for has been seen."""


class SubjectModel:
    """A causal language model that gives its residual stream at named points."""

    def __init__(self, name: str, model: Any, tokenizer: Any, centre_residual: bool = False) -> None:
        self.name = name
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._blocks = _decoder_blocks(name, model)
        self._centre = centre_residual and any(isinstance(module, nn.LayerNorm) for module in model.modules())

    @classmethod
    def load(
        cls, model_name: str, *, device: str = "auto", dtype: str = "float32", centre_residual: bool = False
    ) -> SubjectModel:
        """Load a model and its tokenizer.

        Args:
            model_name: `embedded` for the shipped model, a local folder, or a name on the Hugging Face hub.
            device: A torch device, or `auto` for the GPU where there is one.
            dtype: Torch's name of the number type to compute in.
            centre_residual: Whether the SAEs expect the centred residual stream (see the module's trap).

        Raises:
            SubjectError: if there is no such model or its family is unknown.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = str(model_folder()) if model_name == EMBEDDED else model_name
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            # Only eager attention computes Gemma 2's soft-capping, and it is what TransformerLens computes.
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, dtype), attn_implementation="eager"
            )
        except (OSError, ValueError) as error:
            raise SubjectError(
                f"model {model_name!r} cannot be loaded: {_first_line(error)}",
                "give 'embedded', a folder with a Hugging Face model and tokenizer, or a name on the hub",
            ) from error
        model = nn.Module.to(model, torch.device(resolve_device(device)))
        return cls(model_name, model, tokenizer, centre_residual)

    def centred(self) -> SubjectModel:
        """Return the same model with the centred residual stream, sharing the weights."""
        return SubjectModel(self.name, self._model, self._tokenizer, centre_residual=True)

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return next(self._model.parameters()).device

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self._blocks)

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return self._model.config.hidden_size

    @property
    def max_length(self) -> int:
        """Longest sequence that the model takes, in tokens, BOS included."""
        return self._model.config.max_position_embeddings

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a sequence; None where the model has none."""
        return self._tokenizer.bos_token_id

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids of tokens that stand for no text."""
        return frozenset(self._tokenizer.all_special_ids)

    @property
    def vocabulary_size(self) -> int:
        """Token ids are 0 to one less."""
        return self._model.config.vocab_size

    @property
    def language_model(self) -> Any:
        """The Hugging Face model itself, for measurements that need its logits."""
        return self._model

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text; no special token is added."""
        if not texts:
            return []
        return self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]

    def token_strings(self, ids: Iterable[int]) -> list[str]:
        r"""Return the exact text that each token stands for, with its leading space.

        A token that is a part of a character stands as its bytes, `\xe2\x80`.
        """
        numbers = [int(number) for number in ids]
        byte_level = "ByteLevel" in repr(getattr(self._tokenizer, "backend_tokenizer", self._tokenizer).decoder)
        special = self.special_token_ids
        pieces = self._tokenizer.convert_ids_to_tokens(numbers)
        return [
            piece if number in special else piece_text(piece, byte_level)
            for number, piece in zip(numbers, pieces, strict=True)
        ]

    @torch.inference_mode()
    def residual_stream(
        self, tokens: Int[Tensor, "batch pos"], hook_names: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch pos width"]]:
        """Return the residual stream of whole sequences (no padding) at each named point.

        A sequence's values do not depend on the others in its batch. Blocks after the last point are not run.

        Raises:
            InputError: if a name is not a point of the residual stream of this model.
        """
        return self._run(tokens.to(self.device, torch.long), self._points(hook_names))

    @torch.inference_mode()
    def deletion_streams(
        self, tokens: Int[Tensor, "batch pos"], hook_names: Sequence[str], first: int
    ) -> Iterator[tuple[int, dict[str, Float[Tensor, "batch rest width"]]]]:
        """Delete one column of tokens after the other and give what becomes of the residual stream behind it.

        In a causal model nothing before the column changes, so only what follows is computed again, on the keys and
        values that the whole sequences left behind: the same numbers as a plain pass over the shortened sequences.

        Args:
            tokens: Whole sequences, without padding.
            hook_names: Points of the residual stream.
            first: Column of the first token to delete.

        Yields:
            A column, from `first` to the last but one, and the streams at the columns after it.

        Raises:
            InputError: if a name is not a point of the residual stream of this model.
        """
        from transformers import DynamicCache

        points = self._points(hook_names)
        tokens = tokens.to(self.device, torch.long)
        whole = DynamicCache()
        self._run(tokens, points, whole)
        blocks = [(keys, values) for keys, values, *_ in whole]
        for column in range(first, tokens.shape[1] - 1):
            before = DynamicCache()
            for block, (keys, values) in enumerate(blocks if column > 0 else []):
                before.update(keys[:, :, :column], values[:, :, :column], block)
            yield column, self._run(tokens[:, column + 1 :], points, before)

    def _run(self, tokens: Tensor, points: Mapping[str, ResidualPoint], cache: Any = None) -> dict[str, Tensor]:
        with self._captured(points) as captured, suppress(_LastBlockReached):
            self._model(input_ids=tokens, past_key_values=cache, use_cache=cache is not None)
        if self._centre:
            return {name: stream - stream.mean(dim=-1, keepdim=True) for name, stream in captured.items()}
        return captured

    def fingerprint(self) -> str:
        """Return a hash of the configuration, the vocabulary, and evenly spaced weights of every tensor."""
        config = {k: v for k, v in self._model.config.to_dict().items() if k not in ("_name_or_path", "dtype")}
        vocabulary = sorted(self._tokenizer.get_vocab().items())
        described = json.dumps([config, vocabulary, self._centre], default=str, sort_keys=True)
        return hash_weights(self._model.state_dict(), described)

    def _points(self, hook_names: Sequence[str]) -> dict[str, ResidualPoint]:
        points = {name: residual_point(name) for name in hook_names}
        for name, point in points.items():
            if point.layer >= self.n_layers:
                raise InputError(
                    f"hook {name!r} is on layer {point.layer}, model {self.name!r} has layers 0 to {self.n_layers - 1}"
                )
        return points

    @contextmanager
    def _captured(self, points: Mapping[str, ResidualPoint]) -> Iterator[dict[str, Tensor]]:
        """Hook the blocks; the dictionary fills while the model runs, which ends with the last point."""
        captured: dict[str, Tensor] = {}

        def store(name: str, stream: Tensor) -> None:
            captured[name] = stream
            if len(captured) == len(points):
                raise _LastBlockReached

        def before(name: str):
            return lambda _, args, kwargs: store(name, args[0] if args else kwargs["hidden_states"])

        def after(name: str):
            return lambda _, __, output: store(name, output[0] if isinstance(output, tuple) else output)

        handles = []
        try:
            for name, point in points.items():
                block = self._blocks[point.layer]
                if point.is_input:
                    handles.append(block.register_forward_pre_hook(before(name), with_kwargs=True))
                else:
                    handles.append(block.register_forward_hook(after(name)))
            yield captured
        finally:
            for handle in handles:
                handle.remove()


def resolve_device(device: str) -> str:
    """Return the torch device that `auto` stands for on this machine, or the device itself."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def hash_weights(tensors: dict[str, Tensor], described: str) -> str:
    """Return a SHA-256 over a description and, of each tensor, its name, shape and evenly spaced numbers."""
    digest = hashlib.sha256(described.encode())
    for name in sorted(tensors):
        flat = tensors[name].detach().flatten()
        sample = flat[:: max(1, len(flat) // _SAMPLED_WEIGHTS)].to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def _decoder_blocks(name: str, model: nn.Module) -> nn.ModuleList:
    for path in _BLOCK_LISTS:
        try:
            blocks = model.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise SubjectError(
        f"model {name!r} is a {type(model).__name__}, whose decoder blocks are not known",
        f"models that keep them at one of {', '.join(_BLOCK_LISTS)} are supported",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
