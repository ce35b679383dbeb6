"""Form of the options on the command line, where it differs from the dataclass field, and how their text is read."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featureinterp.errors import InputError
from featureinterp.knobs import read_pairs
from featureinterp.secrets import without_secrets

if TYPE_CHECKING:
    from featureinterp.record import ComplementaryRecordSource

DATA, HOW, MODELS, WHERE = "Data", "How to explain", "Language models", "Where to work"
"""Panels of the help."""

MOST_DIGITS = 18
"""Of a whole number: no latent has more, and Python rejects texts of thousands of digits."""

DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Data folder, such as data/python-docs_embedded.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, such as runs/demo.")]
LayerArgument = Annotated[int, typer.Argument(metavar="LAYER", help="Layer of the feature.")]
LatentArgument = Annotated[int, typer.Argument(metavar="LATENT", help="Index of the feature in its SAE.")]
RunOut = Annotated[Path, typer.Option("--out", help="Run directory; an existing run is resumed.")]
DataOut = Annotated[Path, typer.Option("--out", help="Parent of the data folder {dataset}_{model}.")]


@dataclass(frozen=True)
class Shape:
    """Form of a field on the command line; what is left out is as in the dataclass."""

    panel: str | None = None
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    type: Any = None
    read: Callable[[Any], object] | None = None
    """Value of the command line -> value of the field."""
    show: Callable[[Any], object] | None = None
    """Default of the field -> default on the command line."""


def whole_bytes(gigabytes: float) -> int:
    """Convert GiB to bytes.

    Raises:
        InputError: if it is infinite or NaN.
    """
    if not math.isfinite(gigabytes):
        raise InputError(f"max_memory is {gigabytes} GiB", "give a number of GiB, such as 1.5")
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


def temperatures(text: str) -> tuple[float | None, ...]:
    """Parse temperatures such as `0.7,1.0`; None for `none`.

    Raises:
        InputError: if it is something else.
    """
    try:
        return tuple(None if each.strip().lower() == "none" else float(each) for each in text.split(","))
    except ValueError as error:
        raise InputError(f"temperatures {text!r} cannot be read", "give numbers such as 0.7,1.0, or none") from error


def _train_sources(shown: bool) -> tuple[ComplementaryRecordSource, ...]:
    from featureinterp.experiment.run import FeatureRunParams

    return FeatureRunParams.train_sources if shown else ()


def _comma_list(values: tuple[object, ...] | None) -> str:
    return ",".join("none" if value is None else str(value) for value in values or ())


def _pairs(flag: str, name: str) -> Shape:
    return Shape(
        HOW,
        (flag, name),
        "KEY=VALUE",
        type=list[str] | None,
        read=lambda pairs: read_pairs(pairs or (), flag),
        show=lambda _: None,
    )


def _count(panel: str | None = None, *flags: str) -> Shape:
    """Return the shape of a number for which 0 stands for None."""
    return Shape(panel, flags, min=0, type=int, read=lambda n: n or None, show=lambda n: n or 0)


NOT_OPTIONS = frozenset(
    {"command", "judge_attempts", "ledger", "min_documents", "spent", "test_sources", "valid_sources"}
)
"""Fields without an option: the program sets them, or they are for Python alone."""

SHAPES = {
    **dict.fromkeys(
        (
            *("preset", "model_name", "sae_name", "sae_id_layer_format_string", "dataset_name", "dataset_split"),
            *("dataset_config", "text_column", "ascii_only", "max_dataset_size", "max_seq_length", "embedder"),
            *("device", "dtype", "quantization"),
        ),
        Shape(DATA),
    ),
    "max_features": _count(),
    "features": _count(),
    "n_features": Shape(flags=("--features",), min=1),
    "latents": Shape(type=str, read=lambda text: numbers(text, "latents"), show=_comma_list),
    "max_memory": Shape(min=0.001, type=float, read=whole_bytes, show=lambda n: n / 2**30),
    "positives_per_split": Shape(flags=("--positives",)),
    "negatives_per_split": Shape(flags=("--negatives",)),
    "train_sources": Shape(
        HOW, ("--train-negatives/--no-train-negatives",), type=bool, read=_train_sources, show=lambda _: True
    ),
    **dict.fromkeys(("explainer", "proposer", "simulator", "complexity", "rule_cap", "depth", "width"), Shape(HOW)),
    "structured": Shape(HOW, ("--structured/--unstructured",)),
    "holistic": Shape(HOW),
    "temperatures": Shape(HOW, ("--temperatures", "--temperature"), type=str, read=temperatures, show=_comma_list),
    "explainer_options": _pairs("-E", "--explainer-option"),
    "proposer_options": _pairs("-P", "--proposer-option"),
    "simulator_options": _pairs("-S", "--simulator-option"),
    "answer_tokens": Shape(MODELS, min=1),
    "max_cost": Shape(MODELS),
    "max_tokens": Shape(MODELS),
    "offline": Shape(MODELS),
    "concurrency": Shape(MODELS, min=1),
    "request_seconds": Shape(MODELS, ("--request-timeout",), min=0.1, max=86_400),
    "kind": Shape(WHERE, ("--engine",)),
    "workers": Shape(WHERE, min=1),
    "address": Shape(WHERE),
    "latents_per_layer": Shape(min=0),
    **dict.fromkeys(
        ("variants", "simulators"),
        Shape(type=str, read=lambda text: tuple(filter(None, text.split(","))), show=_comma_list),
    ),
    "draws": Shape(min=1),
    "proposals": Shape(min=1),
    "run": Shape(metavar="RUN"),
    "port": Shape(min=0, max=65535),
}
"""By the name of the field; a name means the same in every command."""


def typed(ctx: typer.Context) -> list[str]:
    """Return the names of the parameters given on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def command_line() -> str:
    """Return the running command line, with secrets redacted."""
    program = Path(sys.argv[0])
    is_script = program.suffix == ".py" and program.name != "__main__.py"
    words = [*(("python", str(program)) if is_script else ("featureinterp",)), *sys.argv[1:]]
    return shlex.join(map(without_secrets, words))
