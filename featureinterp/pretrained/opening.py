"""Loading of Hugging Face and sentence-transformers models, tokenizers and configurations.

No code of a model's folder runs: `trust_remote_code` is always False. If it is unset, transformers asks on the terminal
and runs the code after a `y`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from featureinterp.errors import FeatureInterpError, SubjectError
from featureinterp.pretrained.facts import check_causal
from featureinterp.pretrained.hub import first_words, hub_access, local_folder
from featureinterp.pretrained.weights import check_finite, check_loaded, quiet_report, reports

_OPTION = "trust_remote_code"
"""Advice in libraries' errors about models with custom code."""

_MEMORY_HINT = "try --dtype bfloat16, --quantization 4bit, or another --device"
_CODE_HINT = "name a model whose architecture is part of transformers, or of sentence-transformers"
_ADAPTER_HINT = "merge it: `merge_and_unload()` of peft, then `save_pretrained(FOLDER)`; give that folder"


@contextmanager
def opening(name: str, what: str, hint: str, local_hint: str = "") -> Iterator[str]:
    """Yield the folder or hub name to load, and convert the libraries' errors.

    Args:
        name: a folder, or a name on the hub.
        what: description for errors, such as `model 'gpt2'`.
        hint: hint of errors: the accepted values.
        local_hint: hint if the hub cannot be used; `hint` by default.

    Raises:
        SubjectError: if the folder does not exist, the hub does not provide it, it is damaged, needs custom code, or
            it does not fit into memory.
    """
    folder = local_folder(name, hint)
    if folder is not None and (folder / "adapter_config.json").is_file():
        raise SubjectError(f"{what} is an adapter, or a model with one beside it (adapter_config.json)", _ADAPTER_HINT)
    try:
        with nullcontext() if folder else hub_access(what, local_hint or hint), _no_code(what):
            yield str(folder or name)
    except FeatureInterpError:
        raise
    # tokenizers raises plain Exceptions, and transformers raises any kind of error for a damaged folder.
    except Exception as error:
        from torch import OutOfMemoryError

        if isinstance(error, OutOfMemoryError | MemoryError):
            raise SubjectError(f"{what} does not fit into the device's memory", _MEMORY_HINT) from error
        raise SubjectError(f"{what} cannot be loaded: {first_words(error)}", hint) from error


@contextmanager
def _no_code(what: str) -> Iterator[None]:
    """Convert a library's request to run custom code to an error.

    sentence-transformers only warns if it replaces the activation function of the folder.
    """
    warned = _Warned()
    logger = logging.getLogger("sentence_transformers")
    logger.addHandler(warned)
    cause: ValueError | None = None
    try:
        yield
    except ValueError as error:
        if _OPTION not in str(error):
            raise
        cause = error
    finally:
        logger.removeHandler(warned)
    if cause is not None or warned.of_code:
        raise SubjectError(f"{what} needs code of its own, and a model's code is never run", _CODE_HINT) from cause


class _Warned(logging.Handler):
    """Log handler that records warnings about custom code."""

    of_code = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note a warning."""
        self.of_code |= _OPTION in record.getMessage()


def load_config(source: str, revision: str | None = None) -> Any:
    """Return the configuration of a model's text part; nothing large is read."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False).get_text_config()


def load_tokenizer(source: str, revision: str | None = None) -> Any:
    """Return a tokenizer after encoding a letter: many settings are validated only then."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    tokenizer(["a"], add_special_tokens=False, verbose=False)
    return tokenizer


def load_language_model(source: str, what: str, device: str, revision: str | None = None, **options: Any) -> Any:
    """Return a causal language model on a device, with all weights loaded from its files.

    Args:
        source: a folder, or a name on the hub; from `opening`.
        what: description for errors, such as `model 'gpt2'`.
        device: an available torch device.
        revision: revision of the model on the hub.
        options: dtype and quantization, as keyword arguments of `from_pretrained`.

    Raises:
        SubjectError: if weights are missing, of another shape, unknown or not finite, or the model is not causal.
    """
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    if getattr(load_config(source, revision), "is_encoder_decoder", False):
        raise SubjectError(f"{what} has an encoder and a decoder", "use a decoder-only language model")
    with quiet_report():
        # Only eager attention computes Gemma 2's soft-capping, and it is what TransformerLens computes.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, revision=revision, trust_remote_code=False, attn_implementation="eager",
            output_loading_info=True, ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
    model, report = loaded
    check_loaded(what, report)
    if "quantization_config" not in options:
        model = nn.Module.to(model, torch.device(device))
    check_finite(what, model)
    check_causal(what, model.eval())
    return model


def load_sentence_transformer(source: str, what: str, device: str | None, *, local: bool) -> Any:
    """Return a sentence-transformers model, with all weights loaded from its files.

    Args:
        source: a folder, or a name on the hub; from `opening`.
        what: description for errors, such as `sentence embedder 'all-mpnet-base-v2'`.
        device: a torch device, or None for a GPU if there is one.
        local: whether it is a folder.

    Raises:
        SubjectError: if weights are missing, of another shape, unknown or not finite.
    """
    from sentence_transformers import SentenceTransformer

    with reports() as found:
        model = SentenceTransformer(source, device=device, local_files_only=local, trust_remote_code=False)
    pooled = any(type(module).__name__ == "Pooling" for module in model.modules())
    for report in found:
        check_loaded(what, report, encoder=True, pooled=pooled)
    check_finite(what, model)
    return model
