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
from featureinterp.experiment.presets import PRESETS, with_preset

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
    "dtype": "numbers the model computes in: float32, bfloat16, float16, or auto for what the SAEs ask for",
    "quantization": "8bit or 4bit weights",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    for name, told in OPTIONS.items():
        default = getattr(DataSpec(), name)
        told = f"{told} (default: {default!r})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=str if default is None else type(default), help=told)
    for stage in STAGES:
        flag = f"--write-{stage.replace('_', '-')}"
        parser.add_argument(flag, dest="stages", action="append_const", const=stage)
    for flag, told in (
        ("--download-wandb", "first fetch the data folder from"),
        ("--upload-wandb", "at the end send it to"),
    ):
        parser.add_argument(flag, action="store_true", default=False, help=f"{told} W&B")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where the data folder is made")
    parser.add_argument("--preset", choices=PRESETS, default=None, help="a setup of the paper; other options win")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    return parser.parse_args()


def main() -> None:
    options = vars(parse())
    stages, out, preset, device = (options.pop(name, []) for name in ("stages", "out", "preset", "device"))
    fetch, send = options.pop("download_wandb"), options.pop("upload_wandb")
    try:
        spec = with_preset(DataSpec(**options), preset, options)
        folder = out / spec.folder_name
        if fetch:
            download(folder)
        if stages or not (fetch or send):
            prepare(spec, out, stages=stages or ["records"], device=device)
        if send:
            upload(folder)
    except FeatureInterpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(folder)


if __name__ == "__main__":
    main()
