"""Settings that are good to begin with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from featureinterp.dataset.folder import DataFolder, prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.dataset.stages import Progress
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.subject.subject import Subject


def demo_folder(base: DataSpec, root: Path, features: int, subject: Subject, on_progress: Progress) -> DataFolder:
    """Make a data folder with records of at least so many latents that can be explained, if the SAEs have them.

    Twice as many latents are looked at as are wanted, because some are dead or rare, and more where that is not
    enough. Records are large enough for every split of `FeatureRunParams`; holistic activations are left out.

    Args:
        base: corpus, layers and seed.
        root: where data folders are.
        features: latents that are wanted, over all layers.
        subject: the model and its SAEs.
        on_progress: told the stage, how much is done, and of how much.
    """
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
        folder = prepare(spec, root, stages=["records"], on_progress=on_progress, subject=subject)
        if n_per_layer >= most or _n_explainable(folder) >= features:
            return folder
        n_per_layer *= 2


def _n_explainable(folder: DataFolder) -> int:
    reports = (report for hook in folder.hook_names for report in folder.latent_report(hook).values())
    return sum(report.status == "ok" for report in reports)
