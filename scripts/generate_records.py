"""Make the records of a model's SAE latents, with the original's options.

Without a --write option or a --…-wandb one, all but the holistic activations is made.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from featureinterp.cli.group import errors_printed
from featureinterp.cli.screen import tell
from featureinterp.dataset.prepare import STAGES
from featureinterp.dataset.share import prepare_shared
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.paper.presets import PRESETS, with_preset

OPTIONS = {
    "model_name": "embedded, a folder, or a name on the Hugging Face hub",
    "sae_name": "embedded, a folder, or a SAELens release",
    "sae_id_layer_format_string": "id of a layer's SAE in it, with {layer} for the layer",
    "dataset_name": "python-docs, owner/name on the Hugging Face hub, or a path (see docs/corpora.md)",
    "dataset_split dataset_config text_column": "of a dataset: which part and column is read (see docs/corpora.md)",
    "max_dataset_size max_seq_length": "sequences at most, and tokens in each",
    "max_features": "latents per layer, chosen at random",
    "layers": "all, even, odd, or numbers such as 1,2",
    "top_sample_n quantile_n": "positives per latent, and of how many chunks of the ranked corpus they are the first",
    "complementary_sample_n": "sequences of each complementary source",
    "special_n embedder": "top active sequences that similar ones resemble, and the sentence embedder that says so",
    "holistic_scope": "records or corpus: the sequences whose holistic activations are measured",
    "max_memory": "bytes that encoding, merging and ranking may each take beside the model",
    "seed": "decides every random choice",
    "dtype quantization": "numbers the model computes in, and 8bit or 4bit weights (see docs/models.md)",
}


def parse() -> dict:
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    for name, told in ((name, told) for names, told in OPTIONS.items() for name in names.split()):
        default = getattr(DataSpec(), name)
        kind = int if "int" in DataSpec.__annotations__[name] else str
        told = f"{told} (default: {default!r})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=told)
    either = argparse.BooleanOptionalAction
    parser.add_argument("--ascii-only", action=either, help="leave out documents beyond ASCII (default), or keep them")
    parser.add_argument("--centre", action=either, help="compare embeddings minus their mean (default), or as they are")
    for stage in STAGES:
        parser.add_argument(f"--write-{stage.replace('_', '-')}", dest="stages", action="append_const", const=stage)
    parser.add_argument("--download-wandb", action="store_true", help="first fetch the data folder from W&B")
    parser.add_argument("--upload-wandb", action="store_true", help="at the end send it to W&B")
    parser.add_argument("--out", type=Path, help="where the data folder is made (default: data)")
    parser.add_argument("--preset", choices=PRESETS, help="a setup of the paper; other options win")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    return vars(parser.parse_args())


if __name__ == "__main__":
    given = parse()
    how = {name: given.pop(name) for name in ("stages", "download_wandb", "upload_wandb", "device") if name in given}
    out, preset = given.pop("out", Path("data")), given.pop("preset", None)
    with errors_printed("error"):
        tell(prepare_shared(with_preset(DataSpec(**given), preset, given), out, **how))
