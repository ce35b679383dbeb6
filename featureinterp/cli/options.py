"""Options that several commands share."""

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
    """Where holistic activations are measured."""

    RECORDS = "records"
    CORPUS = "corpus"


class Preset(str, Enum):
    """A setup of the paper."""

    GPT2 = "gpt2"
    GEMMA = "gemma"
    LLAMA = "llama"


class Dtype(str, Enum):
    """In which numbers a model computes."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Quantization(str, Enum):
    """In how many bits a model's weights are held."""

    EIGHT = "8bit"
    FOUR = "4bit"


class EngineKind(str, Enum):
    """Where the work is done."""

    LOCAL = "local"
    RAY = "ray"


PresetName = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help="Model, SAEs, corpus and sizes of the paper; what is given beside it wins.",
        rich_help_panel=DATA,
    ),
]
DtypeName = Annotated[
    Dtype,
    typer.Option(
        "--dtype", help="Numbers the model computes in; auto: as the SAEs say, or float32.", rich_help_panel=DATA
    ),
]
QuantizationName = Annotated[
    Quantization | None,
    typer.Option("--quantization", help="Weights in fewer bits (extra [quantization]).", rich_help_panel=DATA),
]
ModelName = Annotated[
    str, typer.Option(help="embedded, a local folder, or a name on the Hugging Face hub.", rich_help_panel=DATA)
]
SaeName = Annotated[str, typer.Option(help="embedded, a local folder, or a SAELens release.", rich_help_panel=DATA)]
SaeId = Annotated[
    str, typer.Option(help="Id of a layer's SAE in it, with {layer} for the layer.", rich_help_panel=DATA)
]
DatasetName = Annotated[
    str,
    typer.Option(
        help="python-docs, owner/name on the Hugging Face hub, or a path: .txt, .jsonl (both also .gz, .zst), "
        ".parquet, a folder of them, a saved dataset, tokens.safetensors.",
        rich_help_panel=DATA,
    ),
]
DatasetSplit = Annotated[
    str,
    typer.Option(
        help="Split of a dataset on the hub, a saved one, or a folder of files; all: every file.", rich_help_panel=DATA
    ),
]
DatasetConfig = Annotated[str, typer.Option(help="Configuration of a dataset that has several.", rich_help_panel=DATA)]
TextColumn = Annotated[str, typer.Option(help="Column of the texts, or of token ids.", rich_help_panel=DATA)]
AsciiOnly = Annotated[
    bool,
    typer.Option(
        "--ascii-only/--no-ascii-only",
        help="Leave out documents with characters beyond ASCII, such as curly quotes, or keep them.",
        rich_help_panel=DATA,
    ),
]
MaxDatasetSize = Annotated[int, typer.Option(help="Windows of the corpus at most.", rich_help_panel=DATA)]
MaxSeqLength = Annotated[int, typer.Option(help="Tokens per window.", rich_help_panel=DATA)]
Layers = Annotated[str, typer.Option(help="all, even, odd, spaced:8, or numbers such as 1,2.")]
Latents = Annotated[str, typer.Option(help="Latents of every layer, such as 3,17; all there are unless given.")]
Projected = Annotated[
    bool, typer.Option("--projected", help="Also sentences that are alike under a map trained for each latent.")
]
EmbedderName = Annotated[
    str, typer.Option(help="What is similar: a sentence-transformers model's folder or name.", rich_help_panel=DATA)
]
Faiss = Annotated[
    bool, typer.Option("--faiss", help="Find similar sentences by an approximate index, for corpora beyond memory.")
]
Scope = Annotated[
    HolisticScope, typer.Option(help="Measure what causes activations on the sentences of records, or on all.")
]
MaxMemory = Annotated[
    float, typer.Option(help="GiB that encoding, merging and ranking may each take beside the model.", min=0.001)
]
MaxFeatures = Annotated[
    int, typer.Option(min=0, help="Latents of every layer, sampled by the seed, dead ones too; 0 takes all.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=DATA)]
Seed = Annotated[int, typer.Option(help="Decides every sample.")]
ExplainerName = Annotated[
    str,
    typer.Option(
        help="tree to search by revision, one-shot to take the first proposal; a language model stands for tree with "
        "it as --proposer.",
        rich_help_panel=HOW,
    ),
]
ProposerName = Annotated[
    str,
    typer.Option(
        help="lexical, or a language model such as openrouter:meta-llama/llama-4-scout or "
        "local:MODEL@http://127.0.0.1:8000/v1.",
        rich_help_panel=HOW,
    ),
]
SimulatorName = Annotated[str, typer.Option(help="lexical, or hf:MODEL and others.", rich_help_panel=HOW)]
ComplexityName = Annotated[
    str,
    typer.Option(
        "--complexity",
        help="What says how complex an explanation is: lexical, hf:MODEL, or a language model with log probabilities.",
        rich_help_panel=HOW,
    ),
]
MaxCost = Annotated[
    float | None, typer.Option(help="US dollars that the run may spend on language models.", rich_help_panel=MODELS)
]
MaxTokens = Annotated[int | None, typer.Option(help="Tokens that it may send and get.", rich_help_panel=MODELS)]
Offline = Annotated[bool, typer.Option("--offline", help="Use stored answers only.", rich_help_panel=MODELS)]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests on their way at once.", rich_help_panel=MODELS)]
RequestTimeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        max=86_400,
        help="Seconds for one request, up to the last byte of its answer; a silent one is made twice.",
        rich_help_panel=MODELS,
    ),
]
Structured = Annotated[
    bool,
    typer.Option("--structured/--unstructured", help="Rules with strengths, or one sentence.", rich_help_panel=HOW),
]
Holistic = Annotated[
    bool, typer.Option("--holistic", help="Use the tokens that cause activations.", rich_help_panel=HOW)
]
TrainNegatives = Annotated[
    bool,
    typer.Option(
        "--train-negatives/--no-train-negatives",
        help="Explain from similar and silent sentences too, or from those alone that fire.",
        rich_help_panel=HOW,
    ),
]
Temperatures = Annotated[
    str,
    typer.Option(
        "--temperatures",
        "--temperature",
        help="Sampling temperatures of a language model, such as 0.7,1.0; samples take them in turn. none: send none, "
        "for models that refuse any.",
        rich_help_panel=HOW,
    ),
]
AnswerTokens = Annotated[
    int,
    typer.Option(
        min=1,
        help="Tokens of one answer at most, a reasoning model's thoughts included.",
        rich_help_panel=MODELS,
    ),
]
Positives = Annotated[int, typer.Option(help="Sentences per split that the feature fires on, at most.")]
Negatives = Annotated[int, typer.Option(help="Sentences per split of each other source, at most.")]
RuleCap = Annotated[int, typer.Option(help="Rules in an explanation at most.", rich_help_panel=HOW)]
Depth = Annotated[int, typer.Option(help="Rounds of revision (tree).", rich_help_panel=HOW)]
Width = Annotated[int, typer.Option(help="Attempts kept after each round (tree).", rich_help_panel=HOW)]
EngineName = Annotated[
    EngineKind,
    typer.Option("--engine", help="This machine, or a Ray cluster (extra [ray]).", rich_help_panel=WHERE),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes, or actors on the cluster; unless given as many as there are cores, or one where models are "
        "large or far away.",
        rich_help_panel=WHERE,
    ),
]
Address = Annotated[
    str, typer.Option(help="Of a Ray cluster, such as auto; unless given one is started here.", rich_help_panel=WHERE)
]
RunOut = Annotated[Path, typer.Option("--out", help="Folder of the run; one that is there is gone on with.")]


def search_and_proposer(explainer: str, proposer: str) -> tuple[str, str]:
    """Return the search and the proposer that two options ask for; a language model may stand in the first.

    Raises:
        InputError: if both name a proposer.
    """
    from featureinterp.explainer import EXPLAINERS

    if explainer in EXPLAINERS:
        return explainer, proposer
    if ":" not in explainer and "/" not in explainer:
        known = ", ".join(sorted(EXPLAINERS))
        raise InputError(f"there is no explainer {explainer!r}", f"use one of: {known}; or a language model")
    if proposer != "lexical":
        raise InputError(f"--explainer {explainer} and --proposer {proposer} both name a proposer", "name one")
    return "tree", explainer


def model_access(
    max_cost: float | None,
    max_tokens: int | None,
    offline: bool,
    concurrency: int,
    request_timeout: float,
    device: str,
) -> ModelAccess:
    """Return how a run reaches its language models."""
    from featureinterp.experiment.methods import ModelAccess
    from featureinterp.llm.api.spending import RunLimits

    limits = RunLimits(max_cost, max_tokens)
    return ModelAccess(limits, offline=offline, concurrency=concurrency, device=device, request_seconds=request_timeout)


def records_per_split(positives: int, negatives: int, train_negatives: bool) -> FeatureRunParams:
    """Return how many records each split takes, and from which sources those of train are."""
    from featureinterp.experiment.run import FeatureRunParams

    params = FeatureRunParams(positives, negatives)
    return params if train_negatives else replace(params, train_sources=())


def temperatures(text: str) -> tuple[float | None, ...]:
    """Read temperatures such as `0.7,1.0`; None for `none`.

    Raises:
        InputError: if it is something else.
    """
    try:
        return tuple(None if each.strip().lower() == "none" else float(each) for each in text.split(","))
    except ValueError as error:
        raise InputError(f"temperatures {text!r} cannot be read", "give numbers such as 0.7,1.0, or none") from error


def whole_bytes(gigabytes: float) -> int:
    """Return how many bytes so many GiB are.

    Raises:
        InputError: if it is infinite or NaN.
    """
    if not math.isfinite(gigabytes):
        raise InputError(f"max_memory is {gigabytes} GiB", "give the GiB that may be taken, such as 1.5")
    return int(gigabytes * 2**30)


def numbers(text: str, what: str) -> tuple[int, ...] | None:
    """Read numbers such as `3,17`; None where nothing is given.

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
    """Return a specification with a preset in what was not typed, and the numbers that the model computes in."""
    from featureinterp.experiment.paper.presets import with_preset as filled_in

    spec = replace(spec, dtype=dtype.value, quantization=quantization.value if quantization else None)
    return filled_in(spec, preset.value if preset else None, typed(ctx))


def typed(ctx: typer.Context) -> list[str]:
    """Return the names of the options that were typed, as against those left at their defaults."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def engine_spec(engine: EngineKind, workers: int | None, address: str) -> EngineSpec:
    """Return where the work is done."""
    from featureinterp.experiment.engines.open import EngineSpec

    return EngineSpec("ray" if engine is EngineKind.RAY else "local", workers, address)


def command_line() -> str:
    """Return the command that is running, as it could be typed again, but for secrets."""
    program = Path(sys.argv[0])
    is_script = program.suffix == ".py" and program.name != "__main__.py"
    words = [*(("python", str(program)) if is_script else ("featureinterp",)), *sys.argv[1:]]
    return shlex.join(map(without_secrets, words))
