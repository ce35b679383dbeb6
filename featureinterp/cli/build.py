"""Commands `records`, `explain` and `demo` (both, plus the report).

Each goes on where an earlier call stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featureinterp.cli import method_options, options
from featureinterp.cli.group import app
from featureinterp.cli.options import Dtype
from featureinterp.cli.screen import tell

if TYPE_CHECKING:
    from featureinterp.chat import Usage
    from featureinterp.dataset.folder import DataFolder
    from featureinterp.dataset.spec import DataSpec
    from featureinterp.experiment.explain import FeatureChoice, RunSpec
    from featureinterp.experiment.result import FeatureResult


@app.command()
def demo(
    ctx: typer.Context,
    features: Annotated[int, typer.Option(min=1, help="Number of features, sampled evenly across layers.")] = 24,
    out: options.RunOut = Path("runs/demo"),
    layers: options.Layers = "all",
    seed: options.Seed = 0,
    preset: options.PresetName = None,
    data: Annotated[Path | None, typer.Option(help="Parent of the data folder (default: OUT/data).")] = None,
    model_name: options.ModelName = "embedded",
    sae_name: options.SaeName = "embedded",
    sae_id_layer_format_string: options.SaeId = "",
    dataset_name: options.DatasetName = "python-docs",
    ascii_only: options.AsciiOnly = True,
    max_dataset_size: options.MaxDatasetSize = 2000,
    max_seq_length: options.MaxSeqLength = 32,
    embedder: options.EmbedderName = "all-MiniLM-L6-v2",
    device: options.Device = "auto",
    dtype: options.DtypeName = Dtype.AUTO,
    quantization: options.QuantizationName = None,
    explainer: options.ExplainerName = "tree",
    proposer: options.ProposerName = "lexical",
    simulator: options.SimulatorName = "lexical",
    complexity: options.ComplexityName = "lexical",
    structured: options.Structured = True,
    holistic: options.Holistic = False,
    train_negatives: options.TrainNegatives = True,
    temperatures: options.Temperatures = "1.0",
    answer_tokens: options.AnswerTokens = 8192,
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    offline: options.Offline = False,
    concurrency: options.Concurrency = 16,
    request_timeout: options.RequestTimeout = 300.0,
    rule_cap: options.RuleCap = 5,
    depth: options.Depth = 3,
    width: options.Width = 3,
    explainer_options: method_options.ExplainerOptions = None,
    proposer_options: method_options.ProposerOptions = None,
    simulator_options: method_options.SimulatorOptions = None,
) -> None:
    """Make records, explanations and a report (default: of the embedded model).

    Where a language model proposes, the lexical explanations of the same features stand beside its own.
    """
    spec, base = _run_spec(locals()), _demo_data(locals())
    folder = _demo_folder(base, data or out / "data", features, device, holistic)
    _demo_runs(folder, out, layers, features, spec)


@app.command()
def records(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Parent of the data folder {dataset}_{model}.")] = Path("data"),
    layers: options.Layers = "all",
    max_features: options.MaxFeatures = 50,
    latents: options.Latents = "",
    seed: options.Seed = 0,
    preset: options.PresetName = None,
    model_name: options.ModelName = "embedded",
    sae_name: options.SaeName = "embedded",
    sae_id_layer_format_string: options.SaeId = "",
    dataset_name: options.DatasetName = "python-docs",
    dataset_split: options.DatasetSplit = "train",
    dataset_config: options.DatasetConfig = "",
    text_column: options.TextColumn = "text",
    ascii_only: options.AsciiOnly = True,
    max_dataset_size: options.MaxDatasetSize = 100_000,
    max_seq_length: options.MaxSeqLength = 32,
    top_sample_n: Annotated[int, typer.Option(help="Number of positives per latent, over all splits.")] = 90,
    quantile_n: options.QuantileN = 1000,
    complementary_sample_n: options.ComplementarySampleN = 90,
    special_n: options.SpecialN = 400,
    embedder: options.EmbedderName = "all-MiniLM-L6-v2",
    projected: options.Projected = False,
    faiss: options.Faiss = False,
    holistic_scope: options.Scope = options.HolisticScope.RECORDS,
    max_memory: options.MaxMemory = 1.0,
    write_sae_acts: Annotated[bool, typer.Option("--write-sae-acts", help="Write the activations.")] = False,
    write_holistic_acts: options.WriteHolisticActs = False,
    write_records: Annotated[bool, typer.Option("--write-records", help="Write the records.")] = False,
    device: options.Device = "auto",
    dtype: options.DtypeName = Dtype.AUTO,
    quantization: options.QuantizationName = None,
) -> None:
    """Make a data folder: windows, activations, and records of each latent.

    Without --write-sae-acts, --write-holistic-acts or --write-records, activations and records are made.

    Holistic activations take a forward pass per token.
    """
    from featureinterp.cli.console import open_console
    from featureinterp.cli.progress import Stages, quiet_libraries
    from featureinterp.dataset.prepare import prepare

    spec, asked = data_request(locals())
    quiet_libraries()
    with Stages(open_console()) as stages:
        folder = prepare(spec, out, stages=asked, on_progress=stages, device=device)
    _tell_recall(folder)
    tell(f"The data folder: {folder.path}")


def _tell_recall(folder: DataFolder) -> None:
    recall = folder.index_recall()
    if recall is not None:
        found = f"{100 * recall.mean:.1f}% of the first {recall.first} similar sentences"
        tell(f"The approximate index finds {found}, {100 * recall.least:.1f}% at least; {recall.latents} latents")


def data_request(given: Mapping[str, Any]) -> tuple[DataSpec, tuple[str, ...]]:
    """Return what a data folder should hold and the stages to make, from the options of `records` by their names."""
    from featureinterp.dataset.prepare import STAGES
    from featureinterp.dataset.spec import DataSpec

    fields = {field.name: given[field.name] for field in dataclasses.fields(DataSpec) if field.name in given}
    fields["latents"] = options.numbers(given["latents"], "latents")
    fields["max_features"] = given["max_features"] or None
    fields["holistic_scope"] = given["holistic_scope"].value
    fields["max_memory"] = options.whole_bytes(given["max_memory"])
    stages = tuple(stage for stage in STAGES if given[f"write_{stage}"])
    numbers = (given["preset"], fields.pop("dtype"), fields.pop("quantization"))
    spec = options.with_preset(given["ctx"], DataSpec(**fields), *numbers)
    return spec, stages or ("sae_acts", "records")


@app.command()
def explain(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder, such as data/python-docs_embedded.")],
    out: options.RunOut = Path("runs/explain"),
    layers: options.Layers = "all",
    features: Annotated[
        int,
        typer.Option(min=0, help="Number of features to explain, sampled evenly across layers (0: all)."),
    ] = 0,
    latents: options.Latents = "",
    seed: options.Seed = 0,
    positives: options.Positives = 30,
    negatives: options.Negatives = 30,
    explainer: options.ExplainerName = "tree",
    proposer: options.ProposerName = "lexical",
    simulator: options.SimulatorName = "lexical",
    complexity: options.ComplexityName = "lexical",
    structured: options.Structured = True,
    holistic: options.Holistic = False,
    train_negatives: options.TrainNegatives = True,
    temperatures: options.Temperatures = "1.0",
    answer_tokens: options.AnswerTokens = 8192,
    device: options.Device = "auto",
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    offline: options.Offline = False,
    concurrency: options.Concurrency = 16,
    request_timeout: options.RequestTimeout = 300.0,
    rule_cap: options.RuleCap = 5,
    depth: options.Depth = 3,
    width: options.Width = 3,
    explainer_options: method_options.ExplainerOptions = None,
    proposer_options: method_options.ProposerOptions = None,
    simulator_options: method_options.SimulatorOptions = None,
    engine: options.EngineName = options.EngineKind.LOCAL,
    workers: options.Workers = 1,
    address: options.Address = "",
) -> None:
    """Explain features from their records and test the explanations: one row per feature in RUN/run.sqlite."""
    from featureinterp.dataset.folder import DataFolder
    from featureinterp.experiment.explain import FeatureChoice

    spec = replace(_run_spec(locals()), engine=options.engine_spec(engine, workers, address))
    choice = FeatureChoice(layers, options.numbers(latents, "latents"), features or None)
    _explain(DataFolder.open(data), out, choice, spec)
    tell(f"The run: {out}; look at it with `featureinterp results {out}` or `featureinterp report {out}`")


def _run_spec(given: Mapping[str, Any]) -> RunSpec:
    """Return how a run explains, from the options of `explain` or `demo` by their names."""
    from featureinterp.experiment.explain import RunSpec
    from featureinterp.experiment.methods import MethodSpec
    from featureinterp.experiment.run import FeatureRunParams

    search, proposer = method_options.search_and_proposer(given["explainer"], given["proposer"])
    names = ("rule_cap", "depth", "width", "simulator", "structured", "holistic", "complexity", "answer_tokens")
    temperatures = method_options.temperatures(given["temperatures"])
    given_knobs = method_options.knobs(*(given[f"{part}_options"] for part in ("explainer", "proposer", "simulator")))
    values = {name: given[name] for name in names}
    method = MethodSpec(search, proposer, **values, temperatures=temperatures, **given_knobs)
    limits = FeatureRunParams()
    sizes = (given.get("positives", limits.positives_per_split), given.get("negatives", limits.negatives_per_split))
    access = options.model_access(
        *(given[name] for name in ("max_cost", "max_tokens", "offline", "concurrency", "request_timeout", "device"))
    )
    return RunSpec(method, options.records_per_split(*sizes, given["train_negatives"]), given["seed"], access)


def _demo_data(given: Mapping[str, Any]) -> DataSpec:
    """Return the corpus and subject that the options of `demo` name."""
    from featureinterp.dataset.spec import DataSpec

    fields = {field.name: given[field.name] for field in dataclasses.fields(DataSpec) if field.name in given}
    numbers = (given["preset"], fields.pop("dtype"), fields.pop("quantization"))
    return options.with_preset(given["ctx"], DataSpec(**fields), *numbers)


def _demo_folder(base: DataSpec, root: Path, features: int, device: str, holistic: bool) -> DataFolder:
    """Make a data folder with the given number of live latents, with progress bars."""
    from featureinterp.cli.console import open_console
    from featureinterp.cli.progress import Stages, quiet_libraries
    from featureinterp.dataset.prepare import subject_of
    from featureinterp.experiment.paper.presets import demo_folder

    quiet_libraries()
    subject = subject_of(base, device)
    with Stages(open_console()) as stages:
        return demo_folder(base, root, features, subject, stages, holistic)


def _demo_runs(folder: DataFolder, out: Path, layers: str, features: int, spec: RunSpec) -> None:
    """Explain features, also by the baseline where there is one, and write the page."""
    from featureinterp.cli.look import write_pages
    from featureinterp.experiment.explain import FeatureChoice
    from featureinterp.experiment.paper.presets import demo_runs

    choice = FeatureChoice(layers, features=features)
    runs, spent = demo_runs(out, spec), spec.access.spent
    for run, how in runs.items():
        tell(f"{run}: {how.method.name}")
        spent = _explain(folder, run, choice, replace(how, access=replace(how.access, spent=spent)))
    tell(f"The page: {write_pages(out, out / 'report', *list(runs)[1:])}")


def _explain(folder: DataFolder, out: Path, choice: FeatureChoice, spec: RunSpec) -> Usage:
    """Explain features into a run, print a line for each that is finished, and return what was spent."""
    from featureinterp.cli.console import open_console
    from featureinterp.cli.progress import quiet_libraries
    from featureinterp.experiment.explain import explain_folder
    from featureinterp.report.number_format import usage_words
    from featureinterp.report.terminal import feature_line

    def tell_feature(result: FeatureResult, done: int, total: int) -> None:
        console.print(feature_line(result, done, total))

    quiet_libraries()
    console = open_console()
    spent = explain_folder(folder, out, choice, spec, options.command_line(), tell_feature)
    if spent != spec.access.spent:
        console.print(f"Paid for: {usage_words(spent)}", highlight=False)
    return spent
