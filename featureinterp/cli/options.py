"""Options that several commands share."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featureinterp.errors import InputError

if TYPE_CHECKING:
    from featureinterp.experiment.run import FeatureRunParams

DATA, HOW = "Data", "How to explain"


class Explainer(str, Enum):
    """How an explanation is searched."""

    TREE = "tree"
    ONE_SHOT = "one-shot"


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
        help="python-docs, owner/name on the Hugging Face hub, or a path: .txt, .jsonl, .jsonl.zst, .parquet, a folder "
        "of them, a saved dataset, tokens.safetensors.",
        rich_help_panel=DATA,
    ),
]
DatasetSplit = Annotated[
    str, typer.Option(help="Split of a dataset on the hub or of a saved one.", rich_help_panel=DATA)
]
DatasetConfig = Annotated[
    str, typer.Option(help="Configuration of a dataset on the hub that has several.", rich_help_panel=DATA)
]
TextColumn = Annotated[str, typer.Option(help="Column of the texts, or of token ids.", rich_help_panel=DATA)]
MaxDatasetSize = Annotated[int, typer.Option(help="Windows of the corpus at most.", rich_help_panel=DATA)]
MaxSeqLength = Annotated[int, typer.Option(help="Tokens per window.", rich_help_panel=DATA)]
Layers = Annotated[str, typer.Option(help="all, even, odd, or numbers such as 1,2.")]
Latents = Annotated[str, typer.Option(help="Latents of every layer, such as 3,17; all there are unless given.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=DATA)]
Seed = Annotated[int, typer.Option(help="Decides every sample.")]
ExplainerName = Annotated[
    Explainer, typer.Option(help="Search by revision, or take the first proposal.", rich_help_panel=HOW)
]
Structured = Annotated[
    bool,
    typer.Option("--structured/--unstructured", help="Rules with strengths, or one sentence.", rich_help_panel=HOW),
]
Holistic = Annotated[
    bool, typer.Option("--holistic", help="Show the tokens that cause activations.", rich_help_panel=HOW)
]
TrainNegatives = Annotated[
    bool,
    typer.Option(
        "--train-negatives/--no-train-negatives",
        help="Explain from similar and silent sentences too, or from those alone that fire.",
        rich_help_panel=HOW,
    ),
]
Positives = Annotated[int, typer.Option(help="Sentences per split that the feature fires on, at most.")]
Negatives = Annotated[int, typer.Option(help="Sentences per split of each other source, at most.")]
RuleCap = Annotated[int, typer.Option(help="Rules in an explanation at most.", rich_help_panel=HOW)]
Depth = Annotated[int, typer.Option(help="Rounds of revision (tree).", rich_help_panel=HOW)]
Width = Annotated[int, typer.Option(help="Attempts kept after each round (tree).", rich_help_panel=HOW)]
RunOut = Annotated[Path, typer.Option("--out", help="Folder of the run; one that is there is gone on with.")]


def records_per_split(positives: int, negatives: int, train_negatives: bool) -> FeatureRunParams:
    """Return how many records each split takes, and from which sources those of train and valid are."""
    from featureinterp.experiment.run import FeatureRunParams

    params = FeatureRunParams(positives, negatives)
    return params if train_negatives else replace(params, train_sources=())


def numbers(text: str, what: str) -> tuple[int, ...] | None:
    """Read numbers such as `3,17`; None where nothing is given.

    Raises:
        InputError: if it is something else.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(f"{what} {text!r} cannot be read", "give numbers such as 3,17")
    return tuple(map(int, parts)) or None


def command_line() -> str:
    """Return the command that is running, as it could be typed again."""
    return shlex.join(["featureinterp", *sys.argv[1:]])
