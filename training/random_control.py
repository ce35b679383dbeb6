"""Train and measure the control of every score: `python -m training.random_control`.

The control is the embedded architecture with random weights and an SAE of one layer by the same recipe: same tokenizer,
data, number of latents and of active ones per token. What is found on it too does not depend on what the model has
learnt. Features of both subjects in that layer are explained by lexical trees on the same corpus.

Writes the model and the SAE to `--out` (what is there already is used), and the scores to the card of the embedded
model, which `featureinterp doctor` shows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy.stats import ttest_ind
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from featureinterp.analysis.frames import read_scores
from featureinterp.analysis.means import mean_by, one_per_feature
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.engines.open import EngineSpec
from featureinterp.experiment.explain import FeatureChoice, RunSpec, explain_folder
from featureinterp.experiment.scores.verdict import VERDICTS
from featureinterp.record import ComplementaryRecordSource
from featureinterp.subject.embedded import card, card_file, model_folder
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import hook_name
from training.train_saes import SaeTrainingSpec, train_and_save

LAYER = 3
"""The layer whose features are compared."""

REAL, RANDOM = "embedded", "random weights"
SAME_TOKEN = ComplementaryRecordSource.SAME_TOKEN_NEGATIVE.value


def write_random_model(folder: Path, seed: int) -> None:
    """Write the embedded architecture with random weights, and its tokenizer."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_folder()), dtype=torch.float32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder()).save_pretrained(folder)


def explained(spec: DataSpec, folder: Path, features: int) -> pd.DataFrame:
    """Explain so many features by lexical trees, and return their test scores."""
    run, data = folder / "run", prepare(spec, folder, stages=["records"])
    explain_folder(
        data, run, FeatureChoice(features=features), RunSpec(engine=EngineSpec(workers=2)),
        "python -m training.random_control", lambda _, n, total: print(f"{folder}: {n}/{total}", flush=True),
    )  # fmt: skip
    return read_scores(run)


def columns(scores: pd.DataFrame) -> Mapping[str, pd.Series]:
    """Return the compared scores, one value per feature; NaN where undefined."""
    features = one_per_feature(scores)
    same_token = scores.loc[scores["source"] == SAME_TOKEN]
    return {
        "correlation on the corpus": features["corpus_correlation"],
        "correlation on the corpus, margin over the best table": features["corpus_margin"],
        "correlation, same-token negatives": same_token["correlation"],
        "false positives per sentence, same-token negatives": same_token["false_positives_per_sentence"],
        "share of windows on which it fires": features["density"],
    }


def compared(real: pd.DataFrame, random: pd.DataFrame) -> dict[str, Any]:
    """Return mean, interval and number of each score of both subjects, the difference, and the verdicts."""
    found: dict[str, Any] = {}
    theirs = columns(random)
    for name, ours in columns(real).items():
        both = {subject: _mean(values) for subject, values in ((REAL, ours), (RANDOM, theirs[name]))}
        welch = ttest_ind(ours.dropna(), theirs[name].dropna(), equal_var=False).confidence_interval(0.95)
        lift = both[REAL]["mean"] - both[RANDOM]["mean"]
        found[name] = {**both, "lift": [round(float(end), 4) for end in (lift, welch.low, welch.high)]}
    verdicts = {
        subject: {verdict: int((one_per_feature(scores)["verdict"] == verdict).sum()) for verdict in VERDICTS}
        for subject, scores in ((REAL, real), (RANDOM, random))
    }
    return {"scores": found, "verdicts": verdicts}


def _mean(values: pd.Series) -> dict[str, float]:
    row = mean_by(values.to_frame("value").assign(subject="", hook_name="", latent=range(len(values))), [], "value")
    first = row.iloc[0]
    return {name: round(float(first[name]), 4) for name in ("mean", "ci_low", "ci_high", "n")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("training/checkpoints/random"))
    parser.add_argument("--features", type=int, default=100, help="of each subject")
    args = parser.parse_args()
    model, saes, spec = args.out / "model", args.out / "saes", SaeTrainingSpec(model_name=RANDOM)
    if not (saes / "figures.json").is_file():
        write_random_model(model, spec.seed)
        train_and_save(SubjectModel.load(str(model)), saes, spec, [LAYER])

    real = DataSpec(layers=str(LAYER), max_features=args.features + args.features // 2)
    control = replace(real, model_name=str(model), sae_name=str(saes), sae_id_layer_format_string="layer_{layer}")
    theirs = explained(control, args.out / "control", args.features)
    figures = {"layer": LAYER, **compared(explained(real, args.out / "embedded", args.features), theirs)}
    figures |= json.loads((saes / "figures.json").read_text())["held_out"][hook_name(LAYER)]
    card_file().write_text(json.dumps(card() | {"control": figures}, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
