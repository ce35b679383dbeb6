"""Explain one SAE feature offline and show all there is to see: sentences it was explained from, the explanation, its
simulation on test sentences, and its score. Records are made below --data where they are missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.text import Text

from featureinterp.cli.console import open_console
from featureinterp.cli.group import errors_printed
from featureinterp.dataset.spec import DataSpec
from featureinterp.display import visible
from featureinterp.experiment.explain import explain_one
from featureinterp.formatting import discretise
from featureinterp.record import ActivationRecord
from featureinterp.report.terminal import feature_view

MAX_FEATURES = 16
"""Latents of the layer to look at for one that can be explained."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--layer", default="3", help="layer of the feature")
    parser.add_argument("--latent", type=int, help="index of the feature; the first that can be explained unless given")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data folders are")
    for name in ("model_name", "sae_name", "sae_id_layer_format_string", "dataset_name", "max_seq_length", "seed"):
        default = getattr(DataSpec(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    either = argparse.BooleanOptionalAction
    parser.add_argument("--ascii-only", action=either, default=True, help="leave out documents beyond ASCII")
    parser.add_argument("--max-dataset-size", type=int, default=2000, help="sentences of the corpus at most")
    return parser.parse_args()


def sentence(record: ActivationRecord) -> Text:
    """Show a sentence with the level of each token that the feature fires on."""
    levels = discretise(record.expressions, record.max_expression)
    shown = zip(map(visible, record.tokens), levels, record.expressions, strict=True)
    return Text.assemble(*((f"{token}[{level}]", "bold") if value > 0 else token for token, level, value in shown))


def main() -> None:
    options = vars(parse())
    data, latent, layers = options.pop("data"), options.pop("latent"), options.pop("layer")
    latents = None if latent is None else (latent,)
    with errors_printed("error"):
        result = explain_one(DataSpec(layers=layers, latents=latents, max_features=MAX_FEATURES, **options), data)
        console = open_console()
        title = Text("Training examples", style="bold")
        console.print(title, *map(sentence, result.train_positives[:5]), "", sep="\n")
        console.print(feature_view(result))


if __name__ == "__main__":
    main()
