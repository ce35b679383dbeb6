"""The command `demo`: `records`, `explain` and `report` in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from featureinterp.cli import options
from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only, without
from featureinterp.cli.pages import write_pages
from featureinterp.cli.progress import Stages, quiet_libraries
from featureinterp.cli.running import run_and_print
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.explain import FeatureChoice, RunSpec
from featureinterp.experiment.paper.presets import (
    DEMO_DATA,
    DemoSpec,
    PresetChoice,
    demo_folder,
    demo_runs,
    with_preset,
)

CORPUS_AND_SUBJECT = (
    *("layers", "seed", "model_name", "sae_name", "sae_id_layer_format_string", "dataset_name", "ascii_only"),
    *("max_dataset_size", "max_seq_length", "embedder", "dtype", "quantization"),
)


def demo(
    ctx: typer.Context,
    size: DemoSpec,
    spec: Annotated[RunSpec, without("positives_per_split", "negatives_per_split", "engine")],
    paper: PresetChoice,
    data_spec: Annotated[DataSpec, only(*CORPUS_AND_SUBJECT)] = DEMO_DATA,
    out: options.RunOut = Path("runs/demo"),
    data: Annotated[Path | None, typer.Option(help="Parent of the data folder (default: OUT/data).")] = None,
) -> None:
    """Make records, explanations and a report (default: of the embedded model).

    With a language model as proposer, the report compares it with the lexical explanations of the same features.
    """
    data_spec = with_preset(data_spec, paper.preset, options.typed(ctx))
    folder = _make_data(data_spec, data or out / "data", size, spec)
    choice = FeatureChoice(data_spec.layers, features=size.n_features)
    runs, spent = demo_runs(out, spec), spec.access.spent
    for run, variant in runs.items():
        access = replace(variant.access, spent=spent)
        spent = run_and_print(folder, run, choice, replace(variant, access=access))
    others = list(runs)[1:]
    tell(f"The page: {write_pages(out, out / 'report', *others[:1])}")
    for run in others[1:]:
        tell(f"Under another simulator: `featureinterp compare {out} {run}`")


def _make_data(data_spec: DataSpec, root: Path, size: DemoSpec, spec: RunSpec) -> DataFolder:
    """Make a data folder with enough live latents, with progress bars."""
    from featureinterp.dataset.prepare import subject_of

    quiet_libraries()
    subject = subject_of(data_spec, spec.access.device)
    with Stages(open_console()) as stages:
        return demo_folder(data_spec, root, size.n_features, subject, stages, spec.method.holistic)
