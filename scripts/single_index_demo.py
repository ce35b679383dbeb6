"""Explain one SAE feature offline and show all there is to see: sentences it was explained from, the explanation, its
simulation on test sentences, and its score. The data folder is that of generate_records.py; where it is missing it is
made, which takes minutes (a smaller --max-dataset-size is faster).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.text import Text

from featureinterp.cli.console import open_console
from featureinterp.cli.fields import field_options
from featureinterp.cli.group import errors_printed
from featureinterp.dataset.spec import DataSpec
from featureinterp.display import visible
from featureinterp.experiment.explain import explain_one
from featureinterp.formatting import discretise
from featureinterp.record import ActivationRecord
from featureinterp.report.terminal import feature_view

FIELDS = (
    *("model_name", "sae_name", "sae_id_layer_format_string", "dataset_name", "max_dataset_size", "max_seq_length"),
    *("ascii_only", "seed"),
)
"""Fields of `DataSpec` with an option."""

MAX_FEATURES = 16
"""Latents of the layer to look at for one that can be explained."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--layer", default="3", help="layer of the feature")
    parser.add_argument("--latent", type=int, help="index of the feature; the first that can be explained unless given")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data folders are")
    for option in field_options(explain_one):
        if option.parameter != "data" or option.name not in FIELDS:
            continue
        flag, described = f"--{option.name.replace('_', '-')}", option.help.replace("%", "%%")
        if isinstance(option.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=described)
        else:
            parser.add_argument(flag, type=type(option.default), default=option.default, help=described)
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
