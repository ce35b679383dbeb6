"""Make the records of a model's SAE latents, with the original's options.

Without a --write option and a --…-wandb one, activations and records are made.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from featureinterp.cli.fields import FieldOption, field_options
from featureinterp.cli.group import errors_printed
from featureinterp.cli.screen import tell
from featureinterp.dataset.prepare import STAGES
from featureinterp.dataset.share import prepare_shared
from featureinterp.dataset.spec import DataSpec, StageChoice
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.paper.presets import PRESETS, PresetChoice, with_preset
from featureinterp.knobs import field_docs

OPTIONS = {option.name: option for option in field_options(prepare_shared)}
"""The fields of `DataSpec`, as they are on the command line of `featureinterp records`."""


def add_option(parser: argparse.ArgumentParser, option: FieldOption) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    described = option.help.replace("%", "%%")
    if isinstance(option.default, bool):
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=described)
    else:
        described += f" (default: {option.shown_default})" if option.shown_default not in (None, "") else ""
        kind = option.shape.type or (int if int in (option.type, *get_args(option.type)) else str)
        parser.add_argument(flag, type=kind, help=described)


def parse() -> dict:
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    for option in OPTIONS.values():
        add_option(parser, option)
    stages = field_docs(StageChoice)
    for stage in STAGES:
        flag, described = f"--write-{stage.replace('_', '-')}", stages[f"write_{stage}"]
        parser.add_argument(flag, dest="stages", action="append_const", const=stage, help=described)
    parser.add_argument("--download-wandb", action="store_true", help="First download the data folder from W&B.")
    parser.add_argument("--upload-wandb", action="store_true", help="Finally upload the data folder to W&B.")
    parser.add_argument("--out", type=Path, help="Parent of data folders (default: data)")
    parser.add_argument("--preset", choices=PRESETS, help=field_docs(PresetChoice)["preset"])
    parser.add_argument("--device", help=f"{field_docs(ModelAccess)['device']} (default: {ModelAccess.device})")
    return vars(parser.parse_args())


if __name__ == "__main__":
    given = parse()
    how = {name: given.pop(name) for name in ("stages", "download_wandb", "upload_wandb", "device") if name in given}
    out, preset = given.pop("out", Path("data")), given.pop("preset", None)
    with errors_printed("error"):
        fields: dict[str, Any] = {name: OPTIONS[name].value(value) for name, value in given.items()}
        tell(prepare_shared(with_preset(DataSpec(**fields), preset, given), out, **how))
