"""The command `experiment`, and the original's programs that run one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from featureinterp.analysis.findings import write_findings
from featureinterp.analysis.read_experiment import read_experiments
from featureinterp.cli import options
from featureinterp.cli.commands.figures import draw_and_print
from featureinterp.cli.console import open_console
from featureinterp.cli.fields import only, without
from featureinterp.cli.group import app
from featureinterp.cli.progress import Features, Stages, quiet_libraries
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import InputError
from featureinterp.experiment.paper.declaration import Experiment, ExperimentChoice
from featureinterp.experiment.paper.experiments import EXPERIMENTS, load_experiment
from featureinterp.experiment.paper.presets import PRESETS, PresetChoice, with_paper_models, with_preset
from featureinterp.experiment.paper.run_experiment import ExperimentOptions, experiment_data
from featureinterp.experiment.paper.run_experiment import run_experiment as run_all

RESULTS = Path("results")
EMBEDDED = "embedded"
NAME_HELP = f"Experiment to run: {', '.join(EXPERIMENTS)}, or module:NAME for your own."
OF_NEW_DATA = {"max_dataset_size": "--max-dataset-size", "ascii_only": "--ascii-only", "data_root": "--data-root"}
"""Options that only make a new data folder."""


def experiment(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help=NAME_HELP)],
    choice: ExperimentChoice,
    how: Annotated[ExperimentOptions, without("explainer", "structured", "holistic", "complexity")],
    paper: PresetChoice,
    spec: Annotated[DataSpec, only("max_dataset_size", "ascii_only", "seed")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Data folder; repeatable (default: that of --preset).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output directory, resumed (default: results/NAME).")] = None,
    data_root: Annotated[Path, typer.Option(help="Parent of new data folders.")] = Path("data"),
) -> None:
    """Run an experiment of the paper: every variant on the same features, with a summary and figures.

    On the embedded model unless --data or --preset names another; a preset brings the paper's language models too.
    """
    given = options.typed(ctx)
    unused = [flag for field, flag in OF_NEW_DATA.items() if field in given]
    if data and unused:
        raise InputError(f"{', '.join(unused)} only makes new data, and --data names a data folder", "leave one out")
    declared = load_experiment(name)
    chosen = choice.of(declared)
    base = with_paper_models(how.base, paper.preset, given)
    how = replace(how, base=base, command=options.command_line())
    if data:
        folders = [DataFolder.open(path) for path in data]
    else:
        sizes = {"layers": chosen.layers, "max_features": chosen.latents_per_layer}
        folders = [_make_data(chosen, with_preset(replace(spec, **sizes), paper.preset, given), data_root, how)]
    out = out or RESULTS / declared.name
    _run(chosen, folders, out, how)
    _show(declared, out)


def _make_data(chosen: Experiment, spec: DataSpec, root: Path, how: ExperimentOptions) -> DataFolder:
    """Make the data folder of an experiment, with progress bars."""
    quiet_libraries()
    with Stages(open_console()) as stages:
        return experiment_data(spec, root, chosen, how.base, stages, how.access.device)


def _run(chosen: Experiment, folders: Sequence[DataFolder], out: Path, how: ExperimentOptions) -> None:
    """Run an experiment under a progress bar."""
    quiet_libraries()
    tell(chosen.question)
    with Features(open_console()) as features:
        run_all(chosen, folders, out, how, features)


def _show(declared: Experiment, out: Path) -> None:
    """Write the summary of a folder and draw the experiment in it; every result is read once."""
    experiments = read_experiments(out, [declared])
    tell(write_findings(out, experiments))
    for read in experiments:
        if read.experiment is declared and declared.figures:
            draw_and_print(read, out)


def program_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the argument parser of an original program; unknown options are passed on to the command."""
    epilog = f"Other options go to `featureinterp experiment {name}`, whose --help lists them."
    parser = argparse.ArgumentParser(description=description, epilog=epilog)
    models = (EMBEDDED, *PRESETS)
    parser.add_argument("--model", choices=models, default=EMBEDDED, help=f"subject model (default: {EMBEDDED})")
    return parser


def run_experiment_program(name: str, model: str, others: Sequence[str]) -> NoReturn:
    """Run the command for an original program: `model` is `embedded` or a preset, `others` are its options."""
    preset = [] if model == EMBEDDED else ["--preset", model]
    app(["experiment", name, *preset, *others], prog_name="featureinterp")
    raise AssertionError("a command ends the program")
