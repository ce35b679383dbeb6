"""Facts about Hugging Face models, for any architecture."""

from __future__ import annotations

from typing import Any

from featureinterp.errors import SubjectError

_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len")
"""Configuration entries with the context length. BLOOM's `seq_length` is not a limit: ALiBi positions extrapolate."""

_TOLERANCE = 1e-3
"""Tolerance of the first token's logits under later tokens, relative to the largest: rounding only."""


def length_limit(config: Any) -> int | None:
    """Return a model's context length in tokens; None if its configuration has no limit.

    Args:
        config: configuration of a model's text part.
    """
    numbers = (getattr(config, name, None) for name in _LENGTHS)
    return next((number for number in numbers if isinstance(number, int) and number > 0), None)


def required_size(what: str, config: Any, name: str) -> int:
    """Return a required size of a model's configuration.

    Args:
        what: description for errors, such as `model 'gpt2'`.
        config: configuration of its text part.
        name: such as `hidden_size` or `num_hidden_layers`, which transformers translates to the family's own name.

    Raises:
        SubjectError: if it declares none.
    """
    number = getattr(config, name, None)
    if not isinstance(number, int) or number < 1:
        told = f"{what} does not declare its {name} (model type {getattr(config, 'model_type', None)!r})"
        raise SubjectError(told, "use a decoder-only language model of transformers")
    return number


def n_embeddings(model: Any) -> int:
    """Return the number of rows of a model's embedding matrix: token ids are below it."""
    return model.get_input_embeddings().weight.shape[0]


def check_tokenizer(what: str, tokenizer: Any, model: Any) -> None:
    """Check that a model has an embedding for every token of its tokenizer.

    Added tokens may have larger ids: they occur only in texts that spell them.

    Raises:
        SubjectError: if the vocabulary exceeds the embeddings.
    """
    added = set(tokenizer.get_added_vocab().values())
    largest, rows = max(set(tokenizer.get_vocab().values()) - added, default=0), n_embeddings(model)
    if largest >= rows:
        raise SubjectError(
            f"the tokenizer of {what} has token ids up to {largest}, the model has embeddings of 0 to {rows - 1}",
            "put tokenizer and weights of the same model into the folder",
        )


def keeps_keys(model: Any) -> bool:
    """Return whether every cached layer of a model has keys and values.

    State space models, linear attention and some older architectures do not.
    """
    import torch

    with torch.inference_mode():
        found = model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=True)
    layers = getattr(found.get("past_key_values"), "layers", ())
    return bool(layers) and all(isinstance(getattr(layer, "keys", None), torch.Tensor) for layer in layers)


def check_causal(what: str, model: Any) -> None:
    """Check that a model is causal: later tokens do not change earlier outputs.

    Raises:
        SubjectError: if they do, or if the logits are not finite.
    """
    import torch

    rows = n_embeddings(model)
    texts = [[0, 1, 2, 3], [0, 3, 1, 2]]
    with torch.inference_mode():
        first, other = (
            model(input_ids=torch.tensor([ids], device=model.device) % rows, use_cache=False).logits[0, 0].float()
            for ids in texts
        )
    if not (first.isfinite().all() and other.isfinite().all()):
        raise SubjectError(f"{what} computes NaN or infinity in {model.dtype}", "try --dtype float32 or bfloat16")
    if (first - other).abs().max() > _TOLERANCE * first.abs().max():
        raise SubjectError(
            f"{what} is not causal: what follows a token changes what it computes there",
            "give a decoder-only language model",
        )
