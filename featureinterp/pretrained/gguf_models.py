"""GGUF files as models: each is converted once to a Hugging Face folder in the user's cache.

transformers reads the file and unpacks its weights to float32; the folder holds exactly these numbers, and is named by
the SHA-256 of the file. What transformers leaves out without a word is an error here: tensors and settings that it does
not read, and weights that it would initialise. One thing is added: transformers ignores some names of pre-tokenizers
and then cuts as GPT-2 does; for those that also cut between digits, the cut is added.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cache
from pathlib import Path
from typing import Any

from featureinterp.errors import FeatureInterpError, InputError, StorageError, SubjectError
from featureinterp.files import atomic_folder, check_regular, sha256_of
from featureinterp.pretrained.gguf_header import GgufHeader, read_gguf_header
from featureinterp.pretrained.hub import first_words
from featureinterp.pretrained.weights import check_finite, check_loaded, quiet_report

SUFFIX = ".gguf"

_VERSION = "v1"
"""Version of the conversion; another one converts anew."""
_BYTES_PER_WEIGHT = 4
_BYTES_BESIDES = 2**26
"""Space for tokenizer and configuration."""
_MOST_EXPERTS = 2**12

_AS_GPT2 = frozenset({"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "roberta-bpe", "jais"})
"""Pre-tokenizers that cut as GPT-2 does."""
_DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""Pre-tokenizers that cut as GPT-2 does after setting every digit apart."""

_OTHER_HINT = "use the model's Hugging Face folder, or its name on the hub"


def cache_folder() -> Path:
    """Return the user's cache of converted models: `XDG_CACHE_HOME/featureinterp`, by default in `~/.cache`."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "featureinterp"


def folder_of_hash(sha256: str) -> Path:
    """Return the folder of the converted file with this SHA-256; it exists once the file is converted."""
    return cache_folder() / f"gguf-{_VERSION}" / sha256


def gguf_file(name: str) -> Path | None:
    """Return the GGUF file that a name means: a file, or the only one in a folder without `config.json`.

    Raises:
        SubjectError: if the folder holds several, or the file is one part of a model.
    """
    try:
        path = Path(name).expanduser()
        if path.suffix.lower() == SUFFIX and path.exists():
            return path
        if not path.is_dir() or (path / "config.json").exists():
            return None
        files = sorted(each for each in path.iterdir() if each.suffix.lower() == SUFFIX)
    except (OSError, RuntimeError, ValueError):  # too long, an unknown user's home, a zero byte
        return None
    if len(files) > 1:
        raise SubjectError(f"folder {name!r} holds {len(files)} GGUF files", f"name one, such as {str(files[0])!r}")
    return files[0] if files else None


def converted(path: Path) -> Path:
    """Return the Hugging Face folder of a GGUF file; the first call makes it.

    Raises:
        SubjectError: if the file is damaged, or transformers cannot read all of it.
        StorageError: if the folder cannot be written.
    """
    try:
        check_regular(path)
        status = path.stat()
        folder = folder_of_hash(_sha256(path.resolve(), status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror}", "use a readable GGUF file") from error
    if not folder.exists():
        header = read_gguf_header(path)
        _check_header(path, header)
        _check_space(folder, header)
        with redirect_stderr(io.StringIO()):  # of progress bars
            with _alone(path) as alone, _faults(path):
                tokenizer = _tokenizer(path, header, **alone)
                model = _model(path, header, **alone)
            _save(tokenizer, model, folder)
    return folder


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """Return the SHA-256 of a file; computed once for each size and time of change."""
    del size, changed
    return sha256_of(path)


def _check_header(path: Path, header: GgufHeader) -> None:
    """Check settings that transformers does not read, or that would make it build too large a model.

    Raises:
        SubjectError: if the file is a part of a model, has more blocks than tensors, or has scaled positions.
    """
    settings, family = header.metadata, header.architecture
    parts = settings.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        raise SubjectError(f"{path} is one of {parts} parts of a model", "merge them with the gguf-split of llama.cpp")
    for name, most in (("block_count", len(header.tensors)), ("expert_count", _MOST_EXPERTS)):
        found = settings.get(f"{family}.{name}", 0)
        if not isinstance(found, int) or found > most:
            raise SubjectError(f"{path} is damaged: its {family}.{name} is {found!r}", "download it again")
    factor = settings.get(f"{family}.rope.scaling.factor", 0)
    if factor not in (0, 1) and settings.get(f"{family}.rope.scaling.type") != "none" and family != "gpt-oss":
        raise SubjectError(
            f"{path} scales its rotary positions by {factor}, which transformers does not read from GGUF", _OTHER_HINT
        )


def _check_space(folder: Path, header: GgufHeader) -> None:
    """Check that the disk has room for the folder.

    Raises:
        StorageError: if it has not.
    """
    needed = header.n_elements * _BYTES_PER_WEIGHT + _BYTES_BESIDES
    existing = next(parent for parent in folder.parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StorageError(
            f"{folder} needs {needed / 1e9:.1f} GB for the converted model, and {free / 1e9:.1f} GB are free",
            "free space, or set XDG_CACHE_HOME to a folder on another disk",
        )


@contextmanager
def _alone(path: Path) -> Iterator[dict[str, Any]]:
    """Yield arguments of `from_pretrained` for a folder with only this file: files beside it may be settings."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"model{SUFFIX}"
        (Path(folder) / name).symlink_to(path.resolve())
        yield {"pretrained_model_name_or_path": folder, "gguf_file": name, "trust_remote_code": False}


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Convert the errors of transformers and gguf, which are of any kind."""
    try:
        yield
    except FeatureInterpError:
        raise
    except MemoryError as error:
        raise SubjectError(f"{path} does not fit into memory as float32", "use a smaller model") from error
    except Exception as error:
        raise SubjectError(f"{path} cannot be read by transformers: {first_words(error)}", _OTHER_HINT) from error


def _tokenizer(path: Path, header: GgufHeader, **alone: Any) -> Any:
    """Return the tokenizer, with the pre-tokenizer that the file names.

    Raises:
        SubjectError: if that pre-tokenizer is not known.
    """
    from tokenizers import pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(**alone)
    backend = tokenizer.backend_tokenizer
    is_gpt2s = json.loads(backend.to_str())["pre_tokenizer"]["type"] == "ByteLevel"
    if header.metadata.get("tokenizer.ggml.model") != "gpt2" or not is_gpt2s:
        return tokenizer
    cut = header.metadata.get("tokenizer.ggml.pre", "default")
    if cut in _DIGITS_APART:
        backend.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
        ])  # fmt: skip
    elif cut not in _AS_GPT2:
        raise SubjectError(
            f"{path} cuts text into tokens by {cut!r} (tokenizer.ggml.pre), which transformers does not know",
            _OTHER_HINT,
        )
    return tokenizer


def _model(path: Path, header: GgufHeader, **alone: Any) -> Any:
    """Return the model in float32, with all weights of the file and no others.

    Raises:
        SubjectError: if its family has an encoder, weights are missing or superfluous, or one is not finite.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    what = f"model {str(path)!r}"
    config = AutoConfig.from_pretrained(**alone)
    if getattr(config, "is_encoder_decoder", False):
        raise SubjectError(f"{what} has an encoder and a decoder", "use a decoder-only language model")
    with torch.device("meta"):
        _check_all_read(what, header, AutoModelForCausalLM.from_config(config), config)
    with quiet_report():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            **alone, config=config, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    model, report = loaded
    check_loaded(what, report)
    check_finite(what, model)
    return model


def _check_all_read(what: str, header: GgufHeader, model: Any, config: Any) -> None:
    """Check that the file has as many weights as its configuration: transformers skips tensors that it does not know.

    Raises:
        SubjectError: if it has not.
    """
    wanted = sum({id(weight): weight.numel() for weight in model.state_dict(keep_vars=True).values()}.values())
    tied = getattr(config, "tie_word_embeddings", False)
    found = sum(each.n_elements for each in header.tensors if not (tied and each.name == "output.weight"))
    if found != wanted:
        factors = [each.name for each in header.tensors if "rope" in each.name or "factors" in each.name]
        told = f" ({', '.join(factors[:2])})" if found > wanted and factors else ""
        raise SubjectError(
            f"{what} holds {found:,} weights{told}, and transformers reads {wanted:,} for its family, "
            f"{header.architecture!r}", _OTHER_HINT,
        )  # fmt: skip


def _save(tokenizer: Any, model: Any, folder: Path) -> None:
    """Write the folder, unless another process has done so meanwhile.

    Raises:
        StorageError: if it cannot be written.
    """
    from safetensors import SafetensorError

    try:
        with atomic_folder(folder) as temporary:
            tokenizer.save_pretrained(temporary)
            model.save_pretrained(temporary)
    except SafetensorError as error:
        raise StorageError(
            f"{folder} could not be written: {first_words(error)}", "free space and try again"
        ) from error
    except (InputError, StorageError):
        if not folder.exists():
            raise
