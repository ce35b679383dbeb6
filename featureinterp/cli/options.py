"""Options shared by several commands."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featureinterp.errors import InputError
from featureinterp.secrets import without_secrets

if TYPE_CHECKING:
    from featureinterp.dataset.spec import DataSpec
    from featureinterp.experiment.engines.open import EngineSpec
    from featureinterp.experiment.methods import ModelAccess
    from featureinterp.experiment.run import FeatureRunParams

DATA, HOW, MODELS, WHERE = "Data", "How to explain", "Language models", "Where to work"


MOST_DIGITS = 18
"""Of a whole number: no latent has more, and Python refuses to read thousands of them."""


class HolisticScope(str, Enum):
    """Scope of holistic activations."""

    RECORDS = "records"
    CORPUS = "corpus"


class Preset(str, Enum):
    """Setup of the paper."""

    GPT2 = "gpt2"
    GEMMA = "gemma"
    LLAMA = "llama"


class Dtype(str, Enum):
    """Dtype of the model."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Quantization(str, Enum):
    """Quantization of the model's weights."""

    EIGHT = "8bit"
    FOUR = "4bit"


class EngineKind(str, Enum):
    """Engine that executes the work."""

    LOCAL = "local"
    RAY = "ray"


PresetName = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help="Model, SAEs, corpus and sizes of a paper setup; explicit options override it.",
        rich_help_panel=DATA,
    ),
]
DtypeName = Annotated[
    Dtype,
    typer.Option("--dtype", help="Dtype of the model; auto: that of the SAEs, else float32.", rich_help_panel=DATA),
]
QuantizationName = Annotated[
    Quantization | None,
    typer.Option("--quantization", help="Quantize the model's weights (extra [quantization]).", rich_help_panel=DATA),
]
ModelName = Annotated[
    str, typer.Option(help="Subject model: embedded, a local folder, or a Hugging Face hub name.", rich_help_panel=DATA)
]
SaeName = Annotated[
    str, typer.Option(help="SAEs: embedded, a local folder, or a SAELens release.", rich_help_panel=DATA)
]
SaeId = Annotated[
    str, typer.Option(help="SAE id within --sae-name; {layer} is replaced by the layer.", rich_help_panel=DATA)
]
DatasetName = Annotated[
    str,
    typer.Option(
        help="Corpus: python-docs, owner/name on the Hugging Face hub, or a path: .txt, .jsonl (also .gz, .zst), "
        ".parquet, a folder of them, a saved dataset, tokens.safetensors.",
        rich_help_panel=DATA,
    ),
]
DatasetSplit = Annotated[
    str,
    typer.Option(
        help="Dataset split (hub dataset, saved dataset or folder); all: every file of a folder.", rich_help_panel=DATA
    ),
]
DatasetConfig = Annotated[str, typer.Option(help="Dataset configuration.", rich_help_panel=DATA)]
TextColumn = Annotated[str, typer.Option(help="Column with texts or token ids.", rich_help_panel=DATA)]
AsciiOnly = Annotated[
    bool,
    typer.Option(
        "--ascii-only/--no-ascii-only",
        help="Drop documents with non-ASCII characters (default), or keep them.",
        rich_help_panel=DATA,
    ),
]
MaxDatasetSize = Annotated[int, typer.Option(help="Maximum number of windows.", rich_help_panel=DATA)]
MaxSeqLength = Annotated[int, typer.Option(help="Tokens per window.", rich_help_panel=DATA)]
Layers = Annotated[str, typer.Option(help="Layers: all, even, odd, spaced:8, or numbers such as 1,2.")]
Latents = Annotated[str, typer.Option(help="Latents of each layer, such as 3,17 (default: all).")]
QuantileN = Annotated[int, typer.Option(help="Sample positives from the top 1/N of windows by maximum activation.")]
ComplementarySampleN = Annotated[
    int, typer.Option(help="Number of sentences per complementary source, over all splits.")
]
SpecialN = Annotated[int, typer.Option(help="Number of top-activating windows used as the similarity query.")]
WriteHolisticActs = Annotated[
    bool,
    typer.Option("--write-holistic-acts", help="Also measure which earlier tokens cause each activation (slow)."),
]
Projected = Annotated[
    bool,
    typer.Option("--projected", help="Also rank sentences by projected similarity (a linear map trained per latent)."),
]
EmbedderName = Annotated[
    str, typer.Option(help="Sentence-transformers model for similarity retrieval (name or path).", rich_help_panel=DATA)
]
Faiss = Annotated[
    bool,
    typer.Option("--faiss", help="Retrieve similar sentences with a FAISS index, for embeddings larger than memory."),
]
Scope = Annotated[
    HolisticScope, typer.Option(help="Windows for holistic activations: those of the records, or the whole corpus.")
]
MaxMemory = Annotated[
    float,
    typer.Option(help="Memory limit of encoding, merging and ranking, each, in GiB (without the model).", min=0.001),
]
MaxFeatures = Annotated[
    int, typer.Option(min=0, help="Number of latents per layer, sampled with the seed, including dead ones (0: all).")
]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=DATA)]
Seed = Annotated[int, typer.Option(help="Random seed.")]
ExplainerName = Annotated[
    str,
    typer.Option(
        help="tree, one-shot, module:Class, or MODEL (short for --explainer tree --proposer MODEL).",
        rich_help_panel=HOW,
    ),
]
ProposerName = Annotated[
    str,
    typer.Option(
        help="lexical, module:Class, or a language model such as openrouter:meta-llama/llama-4-scout or "
        "local:MODEL@http://127.0.0.1:8000/v1.",
        rich_help_panel=HOW,
    ),
]
SimulatorName = Annotated[
    str,
    typer.Option(
        help="lexical, hf:MODEL, echo:PROVIDER:MODEL, chat:PROVIDER:MODEL, or module:function.", rich_help_panel=HOW
    ),
]
ComplexityName = Annotated[
    str,
    typer.Option(
        "--complexity",
        help="Complexity judge: lexical, hf:MODEL, or a language model with log probabilities.",
        rich_help_panel=HOW,
    ),
]
MaxCost = Annotated[
    float | None, typer.Option(help="Cost limit of the run for language models, in US dollars.", rich_help_panel=MODELS)
]
MaxTokens = Annotated[
    int | None, typer.Option(help="Token budget of the run (input + output).", rich_help_panel=MODELS)
]
Offline = Annotated[bool, typer.Option("--offline", help="Use cached answers only.", rich_help_panel=MODELS)]
Concurrency = Annotated[int, typer.Option(min=1, help="Number of concurrent requests.", rich_help_panel=MODELS)]
RequestTimeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        max=86_400,
        help="Timeout of one request in seconds, up to the last byte; retried once.",
        rich_help_panel=MODELS,
    ),
]
Structured = Annotated[
    bool,
    typer.Option(
        "--structured/--unstructured",
        help="Explain with rules and strengths (default), or with one sentence.",
        rich_help_panel=HOW,
    ),
]
Holistic = Annotated[
    bool,
    typer.Option("--holistic", help="Use holistic activations (tokens that cause activations).", rich_help_panel=HOW),
]
TrainNegatives = Annotated[
    bool,
    typer.Option(
        "--train-negatives/--no-train-negatives",
        help="Also show negatives to the explainer (default), or only positives.",
        rich_help_panel=HOW,
    ),
]
Temperatures = Annotated[
    str,
    typer.Option(
        "--temperatures",
        "--temperature",
        help="Sampling temperatures of a language model, such as 0.7,1.0, used in turn; none: omit the parameter.",
        rich_help_panel=HOW,
    ),
]
AnswerTokens = Annotated[
    int,
    typer.Option(
        min=1,
        help="Maximum tokens of one answer, including reasoning.",
        rich_help_panel=MODELS,
    ),
]
Positives = Annotated[int, typer.Option(help="Maximum number of positives per split.")]
Negatives = Annotated[int, typer.Option(help="Maximum number of sentences per split and complementary source.")]
RuleCap = Annotated[int, typer.Option(help="Maximum number of rules in an explanation.", rich_help_panel=HOW)]
Depth = Annotated[int, typer.Option(help="Number of revision rounds (tree).", rich_help_panel=HOW)]
Width = Annotated[int, typer.Option(help="Number of attempts kept per round (tree).", rich_help_panel=HOW)]
EngineName = Annotated[
    EngineKind,
    typer.Option("--engine", help="Engine: this machine, or a Ray cluster (extra [ray]).", rich_help_panel=WHERE),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Worker processes or Ray actors. Default: one per core; 1 with a large model or a language model "
        "endpoint.",
        rich_help_panel=WHERE,
    ),
]
Address = Annotated[
    str, typer.Option(help="Address of a Ray cluster, such as auto (default: start one).", rich_help_panel=WHERE)
]
RunOut = Annotated[Path, typer.Option("--out", help="Run directory; an existing run is resumed.")]


def model_access(
    max_cost: float | None,
    max_tokens: int | None,
    offline: bool,
    concurrency: int,
    request_timeout: float,
    device: str,
) -> ModelAccess:
    """Return the language model access of a run."""
    from featureinterp.experiment.methods import ModelAccess
    from featureinterp.llm.api.spending import RunLimits

    limits = RunLimits(max_cost, max_tokens)
    return ModelAccess(limits, offline=offline, concurrency=concurrency, device=device, request_seconds=request_timeout)


def records_per_split(positives: int, negatives: int, train_negatives: bool) -> FeatureRunParams:
    """Return the number of records per split, and the sources of train."""
    from featureinterp.experiment.run import FeatureRunParams

    params = FeatureRunParams(positives, negatives)
    return params if train_negatives else replace(params, train_sources=())


def whole_bytes(gigabytes: float) -> int:
    """Convert GiB to bytes.

    Raises:
        InputError: if it is infinite or NaN.
    """
    if not math.isfinite(gigabytes):
        raise InputError(f"max_memory is {gigabytes} GiB", "give the GiB that may be taken, such as 1.5")
    return int(gigabytes * 2**30)


def numbers(text: str, what: str) -> tuple[int, ...] | None:
    """Parse numbers such as `3,17`; None if empty.

    Raises:
        InputError: if it is something else.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() and len(part) <= MOST_DIGITS for part in parts):
        raise InputError(f"{what} {text!r} cannot be read", "give numbers such as 3,17")
    return tuple(map(int, parts)) or None


def with_preset(
    ctx: typer.Context,
    spec: DataSpec,
    preset: Preset | None,
    dtype: Dtype = Dtype.AUTO,
    quantization: Quantization | None = None,
) -> DataSpec:
    """Return a specification with a preset for options left at their defaults, and the model's dtype."""
    from featureinterp.experiment.paper.presets import with_preset as filled_in

    spec = replace(spec, dtype=dtype.value, quantization=quantization.value if quantization else None)
    return filled_in(spec, preset.value if preset else None, typed(ctx))


def typed(ctx: typer.Context) -> list[str]:
    """Return the names of the options given on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def engine_spec(engine: EngineKind, workers: int | None, address: str) -> EngineSpec:
    """Return the engine specification."""
    from featureinterp.experiment.engines.open import EngineSpec

    return EngineSpec("ray" if engine is EngineKind.RAY else "local", workers, address)


def command_line() -> str:
    """Return the running command line, with secrets redacted."""
    program = Path(sys.argv[0])
    is_script = program.suffix == ".py" and program.name != "__main__.py"
    words = [*(("python", str(program)) if is_script else ("featureinterp",)), *sys.argv[1:]]
    return shlex.join(map(without_secrets, words))
