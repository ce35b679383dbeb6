"""Specification of a data folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from featureinterp.dataset.corpus.documents import SUFFIXES, CorpusSpec
from featureinterp.dataset.corpus.windows import WindowParams
from featureinterp.dataset.records.selection import SampleParams
from featureinterp.errors import ANY_SEED, InputError, check_numbers
from featureinterp.llm.embedding import MINILM
from featureinterp.stats import generator

MOST = 2**53
"""Maximum of bytes and of latents: integers up to here are exact in a float, which the command line reads."""


@dataclass(frozen=True)
class DataSpec:
    """Corpus, subject model, and number of windows of each kind in a latent's records.

    `layers`, `latents` and `max_features` select how much is made; later calls can add more. Every other field
    determines the contents, and a folder made with other values is rejected.
    """

    model_name: str = "embedded"
    """Subject model: embedded, smollm2, a local folder, a GGUF file, or a Hugging Face hub name."""
    sae_name: str = "embedded"
    """SAEs: embedded, smollm2, a local folder, or a SAELens release."""
    sae_id_layer_format_string: str = ""
    """SAE id within --sae-name; {layer} is replaced by the layer."""
    dataset_name: str = CorpusSpec.name
    """Corpus: python-docs, owner/name on the Hugging Face hub, or a path: .txt, .jsonl (also .gz, .zst), .parquet, a
    folder of them, a saved dataset, tokens.safetensors."""
    max_dataset_size: int = WindowParams.max_windows
    """Maximum number of windows."""
    max_seq_length: int = WindowParams.length
    """Tokens per window, without BOS."""
    ascii_only: bool = WindowParams.ascii_only
    """Drop documents with non-ASCII characters (default), or keep them."""
    layers: str = "all"
    """Layers: all, even, odd, spaced:8, or numbers such as 1,2."""
    max_features: int | None = 50
    """Number of latents per layer, sampled with the seed, including dead ones (0: all). In Python, None for all."""
    latents: Mapping[int, tuple[int, ...]] | tuple[int, ...] | None = None
    """Latents of each layer, such as 3,17, instead of a sample. In Python, also a mapping from layer to latents."""
    top_sample_n: int = SampleParams.top_sample_n
    """Number of positives per latent, over all splits."""
    quantile_n: int = SampleParams.quantile_n
    """Sample positives from the top 1/N of windows by maximum activation."""
    complementary_sample_n: int = SampleParams.complementary_sample_n
    """Number of sentences per complementary source, over all splits."""
    special_n: int | None = SampleParams.special_n
    """Number of top-activating windows used as the similarity query (default: 0.4% of windows, from 30 to 400)."""
    centre: bool = True
    """Compare embeddings minus their mean over the corpus (default), or as they are, as the original does."""
    min_documents: int = SampleParams.min_documents
    """Minimum number of documents in which a latent fires; below it, the latent is rare and has no records."""
    own_source: str = ""
    """Complementary source of your own, as module:function or a registered name; it fills the source `other`."""
    projected: bool = SampleParams.projected
    """Also rank sentences by projected similarity (a linear map trained per latent)."""
    faiss: bool = False
    """Retrieve similar sentences with a FAISS index, for embeddings larger than memory."""
    holistic_scope: Literal["records", "corpus"] = "records"
    """Windows for holistic activations: those of the records, or the whole corpus."""
    embedder: str = MINILM
    """Sentence-transformers model for similarity retrieval (name or path)."""
    seed: int = 0
    """Random seed."""
    dataset_split: str = CorpusSpec.split
    """Dataset split (hub dataset, saved dataset or folder); all: every file of a folder."""
    dataset_config: str = CorpusSpec.config
    """Dataset configuration."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Dtype of the model; auto: that of the SAEs, else float32."""
    quantization: Literal["8bit", "4bit"] | None = None
    """Quantize the model's weights (needs the extra quantization)."""
    text_column: str = CorpusSpec.text_column
    """Column with texts or token ids. Without a column `text`, `input_ids` and `tokens` are tried."""
    max_memory: int = 2**30
    """Memory limit of encoding, merging and ranking, each, in GiB (without the model). In Python, in bytes."""

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
            InputError: if a selected latent or layer does not exist.
        """
        if isinstance(self.latents, Mapping):
            layers = [layer for layer, _ in saes.values()]
            for layer in self.latents:
                if layer not in layers:
                    selected = ", ".join(map(str, layers))
                    raise InputError(
                        f"latents of layer {layer} cannot be selected", f"the selected layers are {selected}"
                    )
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


@dataclass(frozen=True)
class StageChoice:
    """Stages of a data folder to make; activations and records if none is chosen."""

    write_sae_acts: bool = False
    """Write the activations."""
    write_holistic_acts: bool = False
    """Also measure which earlier tokens cause each activation (slow)."""
    write_records: bool = False
    """Write the records."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages, as `prepare` takes them.

        >>> StageChoice().names
        ('sae_acts', 'records')
        """
        chosen = tuple(field.name.removeprefix("write_") for field in fields(self) if getattr(self, field.name))
        return chosen or ("sae_acts", "records")


def _last_part(name: str) -> str:
    last = Path(name).resolve().name if name in (".", "..") else Path(name).name
    suffix = max((s for s in (*SUFFIXES, ".safetensors") if last.endswith(s)), key=len, default="")
    return re.sub(r"[^\w.-]+", "-", last.removesuffix(suffix)) or "corpus"
