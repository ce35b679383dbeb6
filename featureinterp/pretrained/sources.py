"""Names of language models: a Hugging Face folder or hub name, a GGUF file, or `smollm2`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from featureinterp.pretrained.gguf_models import converted, gguf_file
from featureinterp.pretrained.opening import opening
from featureinterp.pretrained.smollm2 import SMOLLM2, smollm2_folder


@contextmanager
def opening_language_model(name: str, what: str, hint: str, local_hint: str = "") -> Iterator[str]:
    """Yield the folder or hub name of a language model, as `opening` does, and convert the libraries' errors.

    A GGUF file, or a folder with one, is converted first; `smollm2` is fetched first.

    Args:
        name: a folder, a GGUF file, `smollm2`, or a name on the hub.
        what: description for errors, such as `model 'gpt2'`.
        hint: hint of errors: the accepted values.
        local_hint: hint if the hub cannot be used; `hint` by default.

    Raises:
        SubjectError: if the model cannot be found, fetched, read, or loaded.
        StorageError: if a converted model cannot be written to the cache.
    """
    with opening(_source(name), what, hint, local_hint) as source:
        yield source


def _source(name: str) -> str:
    if name == SMOLLM2:
        return str(smollm2_folder())
    path = gguf_file(name)
    return name if path is None else str(converted(path))
