"""Loading of subject models, tokenizers and configurations from a folder or the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from featureinterp.pretrained.facts import check_tokenizer, required_size
from featureinterp.pretrained.opening import load_config, load_language_model, load_tokenizer
from featureinterp.pretrained.sources import opening_language_model
from featureinterp.subject.embedded import EMBEDDED, model_folder
from featureinterp.subject.precision import Precision

_HINT = (
    "give 'embedded', 'smollm2', a folder with a Hugging Face model and tokenizer, a GGUF file, or a name on the hub"
)
_LOCAL_HINT = "with access to the hub, `hf download {name} --local-dir FOLDER` writes a folder; use its path"


def read_config(model_name: str, revision: str | None = None) -> Any:
    """Return the configuration of a model's text part, without loading weights.

    Raises:
        SubjectError: if the model does not exist.
    """
    with _source(model_name) as source:
        return load_config(source, revision)


def count_layers(model_name: str) -> int:
    """Return the number of decoder blocks, without loading weights.

    Raises:
        SubjectError: if the model does not exist, or its configuration lacks the number.
    """
    return required_size(f"model {model_name!r}", read_config(model_name), "num_hidden_layers")


def open_tokenizer(model_name: str) -> Any:
    """Return a model's tokenizer, without loading the model.

    Raises:
        SubjectError: if the model does not exist.
    """
    with _source(model_name) as source:
        return load_tokenizer(source)


def open_model(model_name: str, device: str, precision: Precision, revision: str | None = None) -> tuple[Any, Any]:
    """Return a causal language model on a device, and its tokenizer.

    Args:
        model_name: `embedded`, `smollm2`, a local folder, a GGUF file, or a name on the Hugging Face hub.
        device: an available torch device.
        precision: dtype (not `auto`) and quantization.
        revision: revision of the model on the hub.

    Raises:
        InputError: if bitsandbytes is needed and not installed.
        SubjectError: if the model does not exist, its weights are incomplete, it does not match its tokenizer, it is
            not causal, or it does not fit into memory.
    """
    options, what = precision.loading_options(device), f"model {model_name!r}"
    with _source(model_name) as source:
        tokenizer = load_tokenizer(source, revision)
        model = load_language_model(source, what, device, revision, **options)
        check_tokenizer(what, tokenizer, model)
    return model, tokenizer


@contextmanager
def _source(model_name: str) -> Iterator[str]:
    name = str(model_folder()) if model_name == EMBEDDED else model_name
    with opening_language_model(name, f"model {model_name!r}", _HINT, _LOCAL_HINT.format(name=model_name)) as source:
        yield source
