"""Presets: the paper's three setups, and the demo's records."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import check_numbers
from featureinterp.experiment.explain import RunSpec
from featureinterp.experiment.method.spec import LEXICAL, MethodSpec
from featureinterp.experiment.run import FeatureRunParams

if TYPE_CHECKING:
    from featureinterp.dataset.stages import Progress
    from featureinterp.subject.subject import Subject

_PAPER = {
    "dataset_name": "monology/pile-uncopyrighted",
    "max_dataset_size": 100_000,
    "max_seq_length": 32,
    "embedder": "all-mpnet-base-v2",
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {
        **_PAPER,
        "model_name": "gpt2",
        "sae_name": "gpt2-small-resid-post-v5-32k",
        "sae_id_layer_format_string": "blocks.{layer}.hook_resid_post",
    },
    "gemma": {
        **_PAPER,
        "model_name": "google/gemma-2-9b",
        "sae_name": "gemma-scope-9b-pt-res-canonical",
        "sae_id_layer_format_string": "layer_{layer}/width_16k/canonical",
    },
    "llama": {
        **_PAPER,
        "model_name": "meta-llama/Llama-3.1-8B",
        "sae_name": "llama_scope_lxr_8x",
        "sae_id_layer_format_string": "l{layer}r_8x",
    },
}
"""The setups of the paper by name, as fields of `DataSpec`."""


def with_preset(spec: DataSpec, preset: str | None, given: Collection[str] = ()) -> DataSpec:
    """Return a specification with a preset's values in every field not given explicitly.

    >>> with_preset(DataSpec(max_seq_length=16), "llama", ["max_seq_length"]).folder_name
    'pile-uncopyrighted_Llama-3.1-8B'
    """
    if preset is None:
        return spec
    return replace(spec, **{field: value for field, value in PRESETS[preset].items() if field not in given})


@dataclass(frozen=True)
class PresetChoice:
    """Choice of a paper setup."""

    preset: Literal["gpt2", "gemma", "llama"] | None = None
    """Model, SAEs, corpus and sizes of a paper setup; explicit options override it."""


PAPER_PROPOSER = "openrouter:meta-llama/llama-4-scout"
PAPER_SIMULATOR = "hf:google/gemma-2-27b-it@4bit"


def with_paper_models(method: MethodSpec, preset: str | None, given: Collection[str] = ()) -> MethodSpec:
    """Return a method with a preset's language models in place of those not given explicitly.

    >>> with_paper_models(MethodSpec(), "gpt2", ["simulator"]).proposer
    'openrouter:meta-llama/llama-4-scout'
    """
    if preset is None:
        return method
    models = {"proposer": PAPER_PROPOSER, "simulator": PAPER_SIMULATOR}
    return replace(method, **{field: name for field, name in models.items() if field not in given})


DEMO_DATA = DataSpec(max_dataset_size=2000)
"""Corpus and subject of the demo: small enough for a minute or two on a CPU."""


@dataclass(frozen=True)
class DemoSpec:
    """Size of the demo."""

    n_features: int = 24
    """Number of features, sampled evenly across layers."""

    def __post_init__(self) -> None:
        check_numbers(self, n_features=(1, math.inf))


def demo_folder(
    base: DataSpec, root: Path, features: int, subject: Subject, on_progress: Progress, holistic: bool = False
) -> DataFolder:
    """Make a data folder with at least the given number of live latents, if available.

    Twice as many latents are examined as requested, because some are dead or rare, and more where that is not
    enough. Records are large enough for every split of `FeatureRunParams`.

    Args:
        base: corpus, layers and seed.
        root: parent of data folders.
        features: number of live latents requested, over all layers.
        subject: the model and its SAEs.
        on_progress: callback(stage, done, total).
        holistic: also measure which earlier tokens cause each activation (a forward pass per token).
    """
    stages = ("holistic_acts", "records") if holistic else ("records",)
    from featureinterp.dataset.prepare import prepare  # loads torch

    limits = FeatureRunParams()
    most = max(sae.n_latents for sae in subject.saes.values())
    n_per_layer = 2 * -(-features // len(subject.saes))
    while True:
        spec = replace(
            base,
            max_features=min(n_per_layer, most),
            top_sample_n=3 * limits.positives_per_split,
            complementary_sample_n=3 * limits.negatives_per_split,
        )
        folder = prepare(spec, root, stages=stages, on_progress=on_progress, subject=subject)
        if n_per_layer >= most or _n_explainable(folder) >= features:
            return folder
        n_per_layer *= 2


def demo_runs(out: Path, spec: RunSpec) -> dict[Path, RunSpec]:
    """Return the demo's runs by folder, the requested one first.

    Where a language model proposes, others have the same search with the lexical proposer, under the same simulator
    (the baseline, second) and, where that is another one, under the lexical simulator.
    """
    method = spec.method
    if not method.asks:
        return {out: spec}
    if method.simulator == LEXICAL:
        return {out: spec, out / LEXICAL: replace(spec, method=method.baseline())}
    return {
        out: spec,
        out / "lexical-same-simulator": replace(spec, method=method.baseline()),
        out / "lexical-own-simulator": replace(spec, method=method.baseline(own_simulator=True)),
    }


def _n_explainable(folder: DataFolder) -> int:
    reports = (report for hook in folder.hook_names for report in folder.latent_report(hook).values())
    return sum(report.status == "ok" for report in reports)
