"""Specification of a data folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from featureinterp.dataset.corpus.documents import SUFFIXES, TEXT_COLUMN, CorpusSpec
from featureinterp.dataset.corpus.windows import WindowParams
from featureinterp.dataset.records.selection import SampleParams
from featureinterp.errors import ANY_SEED, InputError, check_numbers
from featureinterp.stats import generator

MOST = 2**53
"""Of bytes and of latents: what a float, as the command line reads gigabytes, can count."""


@dataclass(frozen=True)
class DataSpec:
    """Corpus, subject model, and number of windows of each kind in a latent's records.

    `layers`, `latents` and `max_features` say how much is made; a folder can be asked for more later. Everything else
    decides what comes out, and a folder made with other values is refused.
    """

    model_name: str = "embedded"
    """`embedded`, a local folder, or a name on the Hugging Face hub."""
    sae_name: str = "embedded"
    """`embedded`, a local folder, or a SAELens release."""
    sae_id_layer_format_string: str = ""
    """Id of a layer's SAE in the release, with `{layer}` for the layer."""
    dataset_name: str = "python-docs"
    """`python-docs`, the path of a corpus, or owner/name of a dataset on the Hugging Face hub."""
    max_dataset_size: int = 100_000
    """Windows at most."""
    max_seq_length: int = 32
    """Tokens per window, without BOS."""
    ascii_only: bool = True
    """Whether documents with other characters are dropped."""
    layers: str = "all"
    """`all`, `even`, `odd`, or numbers such as `1,2`."""
    max_features: int | None = 50
    """Latents per layer, chosen at random by the seed, dead ones too; None takes all."""
    latents: Mapping[int, tuple[int, ...]] | tuple[int, ...] | None = None
    """Latents by layer, or the same ones in every layer; takes the place of `max_features`."""
    top_sample_n: int = 30
    """Positives of a latent."""
    quantile_n: int = 1000
    """Positives come from the first of so many equal chunks of the corpus ranked by maximum activation."""
    complementary_sample_n: int = 30
    """Windows of each complementary source."""
    special_n: int = 400
    """Top active windows that the similar ones are similar to."""
    min_documents: int = 9
    """A latent that fires in fewer documents is reported as rare and has no records."""
    projected: bool = False
    """Whether records also hold windows that are alike under a linear map trained for each latent."""
    faiss: bool = False
    """Whether similar windows are found by an approximate index, for corpora beyond memory."""
    holistic_scope: Literal["records", "corpus"] = "records"
    """Whether holistic activations are measured on the windows of records, or on all."""
    embedder: str = "all-MiniLM-L6-v2"
    """Sentence embedder that says what is similar."""
    seed: int = 0
    dataset_split: str = "train"
    """Of a dataset on the hub, or of a saved one that has several."""
    dataset_config: str = ""
    """Of a dataset on the hub that has several."""
    dtype: str = "auto"
    """In which numbers the model computes: `float32`, `bfloat16`, `float16`, or `auto` for what the SAEs ask for."""
    quantization: str | None = None
    """`8bit` or `4bit` weights; None for weights as they are."""
    text_column: str = TEXT_COLUMN
    """Column of the texts, or of token ids; without a column `text`, `input_ids` and `tokens` are tried."""
    max_memory: int = 2**30
    """Bytes that encoding, merging and ranking may each take beside the model; changes nothing in what comes out."""

    def __post_init__(self) -> None:
        check_numbers(self, max_memory=(1, MOST), max_features=(1, MOST), seed=ANY_SEED)
        if self.holistic_scope not in ("records", "corpus"):
            raise InputError(f"holistic_scope is {self.holistic_scope!r}", "it is 'records' or 'corpus'")
        self.window_params(prepend_bos=False)
        self.sample_params()

    @property
    def corpus(self) -> CorpusSpec:
        """The corpus to read."""
        return CorpusSpec(self.dataset_name, self.dataset_split, self.dataset_config, self.text_column)

    def window_params(self, prepend_bos: bool) -> WindowParams:
        """Return the window parameters."""
        return WindowParams(self.max_seq_length, self.max_dataset_size, prepend_bos, self.ascii_only)

    def sample_params(self) -> SampleParams:
        """Return the sampling parameters of a latent's windows."""
        names = ("top_sample_n", "quantile_n", "complementary_sample_n", "special_n", "min_documents", "projected")
        return SampleParams(**{name: getattr(self, name) for name in names})

    @property
    def folder_name(self) -> str:
        """`{dataset}_{model}`, with paths and hub names shortened to their last part.

        >>> DataSpec(dataset_name="corpora/wiki.txt", model_name="google/gemma-2-9b").folder_name
        'wiki_gemma-2-9b'
        """
        return "_".join(_last_part(name) for name in (self.dataset_name, self.model_name))

    def latents_of(self, saes: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
        """Return the selected latents by hook name, ascending.

        A random choice of more latents holds every smaller one of the same seed.

        Args:
            saes: by hook name, the layer and the number of latents.

        Raises:
            InputError: if a latent or a layer is asked for that does not exist.
        """
        if isinstance(self.latents, Mapping):
            layers = [layer for layer, _ in saes.values()]
            for layer in self.latents:
                if layer not in layers:
                    told = ", ".join(map(str, layers))
                    raise InputError(f"latents of layer {layer} are asked for", f"the selected layers are {told}")
        return {hook: self._choose(hook, layer, n) for hook, (layer, n) in saes.items()}

    def _choose(self, hook_name: str, layer: int, n_latents: int) -> tuple[int, ...]:
        if self.latents is None:
            order = generator(self.seed, hook_name, "latents").permutation(n_latents)
            return tuple(sorted(order[: self.max_features].tolist()))
        asked = self.latents.get(layer, ()) if isinstance(self.latents, Mapping) else self.latents
        for latent in asked:
            if not 0 <= latent < n_latents:
                raise InputError(
                    f"latent {latent} of layer {layer} does not exist",
                    f"the SAE on {hook_name} has latents 0 to {n_latents - 1}",
                )
        return tuple(sorted(set(asked)))


def _last_part(name: str) -> str:
    last = Path(name).resolve().name if name in (".", "..") else Path(name).name
    suffix = max((s for s in (*SUFFIXES, ".safetensors") if last.endswith(s)), key=len, default="")
    return re.sub(r"[^\w.-]+", "-", last.removesuffix(suffix)) or "corpus"
