"""Hugging Face models, tokenizers and configurations out of a folder or from the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from featureinterp.errors import SubjectError
from featureinterp.hub import hub_access, local_folder
from featureinterp.subject.embedded import EMBEDDED, model_folder
from featureinterp.subject.precision import Precision

_HINT = "give 'embedded', a folder with a Hugging Face model and tokenizer, or a name on the hub"
_LOCAL_HINT = "where the hub can be reached, `hf download {name} --local-dir FOLDER` writes a folder; give its path"


def read_config(model_name: str, revision: str | None = None) -> Any:
    """Return the configuration of a model's text part; nothing large is read.

    Raises:
        SubjectError: if there is no such model.
    """
    from transformers import AutoConfig

    with _source(model_name) as source:
        return AutoConfig.from_pretrained(source, revision=revision).get_text_config()


def open_tokenizer(model_name: str) -> Any:
    """Return a model's tokenizer, without the model.

    Raises:
        SubjectError: if there is no such model.
    """
    from transformers import AutoTokenizer

    with _source(model_name) as source:
        return AutoTokenizer.from_pretrained(source)


def open_model(model_name: str, device: str, precision: Precision, revision: str | None = None) -> tuple[Any, Any]:
    """Return a causal language model on a device, and its tokenizer.

    Args:
        model_name: `embedded`, a local folder, or a name on the Hugging Face hub.
        device: A torch device that is there.
        precision: In which numbers; not `auto`.
        revision: Of the model on the hub.

    Raises:
        InputError: if bitsandbytes is needed and not installed.
        SubjectError: if there is no such model, or it does not fit into memory.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = precision.loading_options(device)
    with _source(model_name) as source:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        # Only eager attention computes Gemma 2's soft-capping, and it is what TransformerLens computes.
        model = AutoModelForCausalLM.from_pretrained(source, revision=revision, attn_implementation="eager", **options)
        if precision.quantization is None:
            model = nn.Module.to(model, torch.device(device))
    return model, tokenizer


@contextmanager
def _source(model_name: str) -> Iterator[str]:
    """Give what Hugging Face is asked for, and say in words what goes wrong with it."""
    from safetensors import SafetensorError

    folder = model_folder() if model_name == EMBEDDED else local_folder(model_name, _HINT)
    try:
        if folder is not None:
            yield str(folder)
        else:
            with hub_access(f"model {model_name!r}", _LOCAL_HINT.format(name=model_name)):
                yield model_name
    except torch.OutOfMemoryError as error:
        raise SubjectError(
            f"model {model_name!r} does not fit into the device's memory", "try --dtype bfloat16 or --quantization 4bit"
        ) from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        told = str(error).strip().partition("\n")[0]
        raise SubjectError(f"model {model_name!r} cannot be loaded: {told}", _HINT) from error
