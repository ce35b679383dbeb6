"""Make the records of a model's SAE latents, with the original's options.

Without a --write option or a --…-wandb one, all but the holistic activations is made.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from featureinterp.dataset.folder import STAGES, prepare
from featureinterp.dataset.share import download, upload
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import FeatureInterpError

OPTIONS = {
    "model_name": "embedded, a folder, or a name on the Hugging Face hub",
    "sae_name": "embedded, a folder, or a SAELens release",
    "sae_id_layer_format_string": "id of a layer's SAE in it, with {layer} for the layer",
    "dataset_name": "python-docs, owner/name on the Hugging Face hub, or a path (see docs/corpora.md)",
    "dataset_split": "split of a dataset on the hub or of a saved one",
    "dataset_config": "configuration of a dataset on the hub that has several",
    "text_column": "column of the texts, or of token ids",
    "max_dataset_size": "sequences at most",
    "max_features": "latents per layer, chosen at random",
    "layers": "all, even, odd, or numbers such as 1,2",
    "max_seq_length": "tokens per sequence",
    "top_sample_n": "positives per latent",
    "quantile_n": "positives come from the first of so many equal chunks of the ranked corpus",
    "complementary_sample_n": "sequences of each complementary source",
    "special_n": "top active sequences that the similar ones are similar to",
    "holistic_scope": "records or corpus: the sequences whose holistic activations are measured",
    "max_memory": "bytes that encoding, merging and ranking may each take beside the model",
    "seed": "decides every random choice",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, told in OPTIONS.items():
        default = getattr(DataSpec(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=told)
    for stage in STAGES:
        flag = f"--write-{stage.replace('_', '-')}"
        parser.add_argument(flag, dest="stages", action="append_const", const=stage, default=argparse.SUPPRESS)
    parser.add_argument("--download-wandb", action="store_true", help="first fetch the data folder from W&B")
    parser.add_argument("--upload-wandb", action="store_true", help="at the end send the data folder to W&B")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where the data folder is made")
    return parser.parse_args()


def main() -> None:
    options = vars(parse())
    stages, out = options.pop("stages", []), options.pop("out")
    fetch, send = options.pop("download_wandb"), options.pop("upload_wandb")
    try:
        folder = out / DataSpec(**options).folder_name
        if fetch:
            download(folder)
        if stages or not (fetch or send):
            prepare(DataSpec(**options), out, stages=stages or ["records"])
        if send:
            upload(folder)
    except FeatureInterpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(folder)


if __name__ == "__main__":
    main()
