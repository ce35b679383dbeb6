"""The command that runs an experiment: `featureinterp experiment complementary` and the other three."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from featureinterp.cli import method_options, options
from featureinterp.cli.group import app
from featureinterp.cli.screen import tell
from featureinterp.experiment.paper.experiments import EXPERIMENTS, load_experiment

if TYPE_CHECKING:
    from featureinterp.dataset.folder import DataFolder
    from featureinterp.experiment.methods import MethodSpec
    from featureinterp.experiment.paper.declaration import Experiment
    from featureinterp.experiment.paper.run_experiment import ExperimentOptions

RESULTS = Path("results")
SENTENCES = {"top_sample_n": 90, "complementary_sample_n": 90}
"""Of each kind a latent, as `records` makes them, so that both share a data folder."""

EMBEDDED = "embedded"
MODELS = (EMBEDDED, *(preset.value for preset in options.Preset))
"""What the original's programs take as --model."""


NAME_HELP = f"Experiment to run: {', '.join(EXPERIMENTS)}, or module:NAME for your own."


@app.command()
def experiment(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help=NAME_HELP, show_default=False)],
    data: Annotated[
        list[Path] | None, typer.Option(help="Data folder; repeatable (default: that of --preset).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output directory, resumed (default: results/NAME).")] = None,
    layers: Annotated[str, typer.Option(help="all, even, odd, spaced:8, or numbers (default: the paper's).")] = "",
    latents_per_layer: Annotated[int, typer.Option(min=0, help="Latents per layer (0: the paper's).")] = 0,
    variants: Annotated[str, typer.Option(help="Comma-separated variants to run (default: all).")] = "",
    seed: options.Seed = 0,
    preset: options.PresetName = None,
    data_root: Annotated[Path, typer.Option(help="Parent of new data folders.")] = Path("data"),
    max_dataset_size: options.MaxDatasetSize = 100_000,
    proposer: options.ProposerName = "lexical",
    simulator: options.SimulatorName = "lexical",
    temperatures: options.Temperatures = "1.0",
    answer_tokens: options.AnswerTokens = 8192,
    rule_cap: options.RuleCap = 5,
    depth: options.Depth = 3,
    width: options.Width = 3,
    explainer_options: method_options.ExplainerOptions = None,
    proposer_options: method_options.ProposerOptions = None,
    simulator_options: method_options.SimulatorOptions = None,
    device: options.Device = "auto",
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    offline: options.Offline = False,
    concurrency: options.Concurrency = 16,
    request_timeout: options.RequestTimeout = 300.0,
    engine: options.EngineName = options.EngineKind.LOCAL,
    workers: options.Workers = None,
    address: options.Address = "",
) -> None:
    """Run an experiment of the paper: every variant on the same features, with a summary and figures.

    On the embedded model unless --data or --preset names another; a preset brings the paper's language models too.
    """
    from featureinterp.dataset.folder import DataFolder
    from featureinterp.experiment.paper.run_experiment import ExperimentOptions

    base = _base_method(ctx, preset, locals())
    asked = load_experiment(name).over(layers, latents_per_layer).only(variants.split(",") if variants else ())
    access = options.model_access(max_cost, max_tokens, offline, concurrency, request_timeout, device)
    how = ExperimentOptions(base, seed, access, options.engine_spec(engine, workers, address), options.command_line())
    folders = [DataFolder.open(path) for path in data or ()] or [_make_data(asked, base, locals())]
    _run_and_draw(asked, folders, out or RESULTS / asked.name, how)


def _base_method(ctx: typer.Context, preset: options.Preset | None, given: Mapping[str, Any]) -> MethodSpec:
    """Return what does not vary: the options of the command by their names, and a preset's language models."""
    from featureinterp.experiment.methods import MethodSpec
    from featureinterp.experiment.paper.presets import with_paper_models

    base = MethodSpec(**{name: given[name] for name in ("proposer", "simulator", "rule_cap", "depth", "width")})
    base = with_paper_models(base, preset and preset.value, options.typed(ctx))
    given_knobs = method_options.knobs(*(given[f"{part}_options"] for part in ("explainer", "proposer", "simulator")))
    temperatures = method_options.temperatures(given["temperatures"])
    return replace(base, temperatures=temperatures, answer_tokens=given["answer_tokens"], **given_knobs)


def _make_data(asked: Experiment, base: MethodSpec, given: Mapping[str, Any]) -> DataFolder:
    """Make the data folder of an experiment, with progress bars.

    Args:
        asked: the experiment.
        base: the method without the settings of a variant.
        given: the command's options by their names.
    """
    from featureinterp.cli.console import open_console
    from featureinterp.cli.progress import Stages, quiet_libraries
    from featureinterp.dataset.spec import DataSpec
    from featureinterp.experiment.paper.run_experiment import experiment_data

    sizes = {**SENTENCES, "max_dataset_size": given["max_dataset_size"], "max_features": asked.latents_per_layer}
    spec = options.with_preset(
        given["ctx"], DataSpec(layers=asked.layers, seed=given["seed"], **sizes), given["preset"]
    )
    quiet_libraries()
    with Stages(open_console()) as stages:
        return experiment_data(spec, given["data_root"], asked, base, stages, given["device"])


def _run_and_draw(asked: Experiment, folders: Sequence[DataFolder], out: Path, how: ExperimentOptions) -> None:
    """Run an experiment under a progress bar, then print its findings and draw its figures."""
    from featureinterp.analysis.findings import write_findings
    from featureinterp.cli.console import open_console
    from featureinterp.cli.figures_command import draw_and_tell
    from featureinterp.cli.progress import Features, quiet_libraries
    from featureinterp.experiment.paper.run_experiment import run_experiment

    quiet_libraries()
    tell(asked.question)
    with Features(open_console()) as features:
        run_experiment(asked, folders, out, how, features)
    tell(write_findings(out))
    draw_and_tell(out, out)


def program_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the argument parser of an original program; unknown options are passed on to the command."""
    epilog = f"Other options go to `featureinterp experiment {name}`, whose --help lists them."
    parser = argparse.ArgumentParser(description=description, epilog=epilog)
    parser.add_argument("--model", choices=MODELS, default=EMBEDDED, help=f"subject model (default: {EMBEDDED})")
    return parser


def run_experiment(name: str, model: str, others: Sequence[str]) -> NoReturn:
    """Run the command for an original program: `model` is `embedded` or a preset, `others` are its options."""
    preset = [] if model == EMBEDDED else ["--preset", model]
    app(["experiment", name, *preset, *others], prog_name="featureinterp")
    raise AssertionError("a command ends the program")
