"""How good are lexical explanations? `python benchmarks/lexical_quality.py [--features 100] [--data DIR]`.

On at least so many live features a layer of the embedded subject, with the default settings (30 positives and 30
windows of each complementary source a split): the lexical tree explainer against the one-shot explainer and against
the token table made from the same train records, by test correlation; similar negatives against random ones;
and the score by rule cap. Every comparison is paired by feature, with a 95% interval. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.method.methods import Methods, Models
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.record import SAEIndexRecord
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.stats import generator, paired_difference

PER_SPLIT = 30
SIMILAR, RANDOM = "similar_negative", "random_negative"
RULE_CAPS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Measured:
    """Test correlations of one feature by method and source; NaN where undefined."""

    layer: int
    score: Mapping[tuple[str, str], float]
    fraction_active: float


def live_records(data: DataFolder, hook: str, wanted: int) -> Iterable[tuple[int, SAEIndexRecord]]:
    """Yield latents whose every list is full, in a seeded order, as many as are wanted."""
    latents = generator(0, hook, "lexical_quality").permutation(data.latents(hook)).tolist()
    for latent in latents:
        if wanted == 0:
            return
        if data.latent_report(hook)[latent].status != "ok":
            continue
        record = data.index_record(hook, latent)
        if min(len(record.most_act_records), len(record.similar_no_act_records)) >= 3 * PER_SPLIT:
            wanted -= 1
            yield latent, record


def measure(data: DataFolder, features: int, caps: Sequence[int]) -> list[Measured]:
    """Explain so many features of every layer with every method."""
    embeddings = EmbeddingMemory()
    specs = {"tree": MethodSpec(), "one-shot": MethodSpec(explainer="one-shot")}
    specs |= {f"cap {cap}": MethodSpec(rule_cap=cap) for cap in caps if cap != MethodSpec().rule_cap}
    measured = []
    for hook, layer in zip(data.hook_names, data.layers, strict=True):
        for latent, record in live_records(data, hook, features):
            score: dict[tuple[str, str], float] = {}
            active = 0.0
            for name, spec in specs.items():
                key, method = FeatureKey(hook, layer, latent), Methods(spec, Models(embeddings=embeddings)).make()
                result = asyncio.run(explain_feature(record, key, method, FeatureRunParams(PER_SPLIT, PER_SPLIT)))
                score |= scores_of(result, name)
                active = result.density
            measured.append(Measured(layer, score, active))
        print(f"layer {layer}: {sum(m.layer == layer for m in measured)} features", flush=True)
    return measured


def scores_of(result: FeatureResult, name: str) -> dict[tuple[str, str], float]:
    """Return the correlations of a method, and of the token table beside it, by source."""
    scores = {(name, source): float(result.scores[source].correlation) for source in result.scores}
    lookup = result.floors.get("token_lookup", {})
    return scores | {("lookup", source): float(score) for source, score in lookup.items()}


def column(measured: Sequence[Measured], method: str, source: str) -> list[float]:
    """Return one method's scores over features."""
    return [each.score.get((method, source), np.nan) for each in measured]


def report(measured: Sequence[Measured], caps: Sequence[int]) -> str:
    """Write all comparisons as Markdown."""
    layers = sorted({each.layer for each in measured})
    groups = [(str(layer), [m for m in measured if m.layer == layer]) for layer in layers] + [("all", list(measured))]
    lines = [
        "| layer | features | tree | one-shot | lookup | tree − one-shot | tree − lookup | similar − random (tree) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, group in groups:
        tree, one_shot, lookup = (column(group, method, SIMILAR) for method in ("tree", "one-shot", "lookup"))
        means = " | ".join(f"{np.nanmean(scores):.3f}" for scores in (tree, one_shot, lookup))
        pairs = ((tree, one_shot), (tree, lookup), (tree, column(group, "tree", RANDOM)))
        differences = " | ".join(str(paired_difference(a, b)) for a, b in pairs)
        lines.append(f"| {name} | {len(group)} | {means} | {differences} |")
    lines += ["", "| rule cap | tree | tree − lookup |", "|---|---|---|"]
    lookup = column(measured, "lookup", SIMILAR)
    for cap in caps:
        tree = column(measured, "tree" if cap == MethodSpec().rule_cap else f"cap {cap}", SIMILAR)
        lines.append(f"| {cap} | {np.nanmean(tree):.3f} | {paired_difference(tree, lookup)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--features", type=int, default=100, help="live features a layer")
    parser.add_argument("--layers", default="all")
    parser.add_argument("--caps", action="store_true", help="also measure rule caps 1 to 4")
    args = parser.parse_args()
    spec = DataSpec(layers=args.layers, top_sample_n=3 * PER_SPLIT, complementary_sample_n=3 * PER_SPLIT,
                    max_features=3 * args.features)  # fmt: skip
    data = prepare(spec, args.data)
    caps = RULE_CAPS if args.caps else RULE_CAPS[-1:]
    print(report(measure(data, args.features, caps), caps))


if __name__ == "__main__":
    main()
