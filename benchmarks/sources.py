"""Which complementary source falsifies what? `python -m benchmarks.sources [--features 24] [--data DIR]`.

On the embedded subject and its whole default corpus, with the default settings. First the share of a latent's similar
negatives that are another latent's too, of the same layer, with embeddings as they are and the 400 top windows (the
original's way), and centred with `query_size` of them. Then lexical trees scored against each source: correlation and
false positives per sentence, their differences from random negatives paired by feature, with 95% intervals, and the
pairs of near-duplicates across splits. Prints Markdown. Exit code 1 unless same-token negatives lower the correlation
and raise false positives against similar and against random ones, with intervals clear of zero, or if any pair leaks.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from itertools import combinations, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.records.selection import SampleParams
from featureinterp.dataset.retrieval.embeddings import load_embeddings
from featureinterp.dataset.retrieval.exact import ExactRanker, top_sequences
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.explain import FeatureChoice
from featureinterp.experiment.method.methods import Methods, Models
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.stats import PairedDifference, paired_difference

PER_SPLIT = 30
LISTED = 90
MEASURES = ("correlation", "false_positives_per_sentence")
SOURCES = (Source.SAME_TOKEN_NEGATIVE, Source.SIMILAR_NEGATIVE, Source.RANDOM_NEGATIVE)


def lists_of(data: DataFolder, embeddings: NDArray[np.float32], query_size: int) -> list[list[set[int]]]:
    """Return for each layer the most similar silent windows of every live latent."""
    found = []
    for hook in data.hook_names:
        activations = data.activations(hook)
        live = [latent for latent, report in data.latent_report(hook).items() if report.status == "ok"]
        maxima = [activations.latent(latent).sequence_maxima() for latent in live]
        rankings = ExactRanker(embeddings).rankings(top_sequences(*own, query_size) for own in maxima)
        lists = []
        for (active, _), ranking in zip(maxima, rankings, strict=True):
            fires = set(active.tolist())
            lists.append(set(islice((window for window in ranking if window not in fires), LISTED)))
        found.append(lists)
    return found


def mean_overlap(layers: Sequence[Sequence[set[int]]]) -> float:
    """Return the mean share of a list that is in another list of the same layer."""
    return float(np.mean([len(a & b) / max(len(a), 1) for lists in layers for a, b in combinations(lists, 2)]))


def overlaps(data: DataFolder) -> str:
    """Write the overlap between latents' lists, with and without centring."""
    layout, n = Layout(data.path), len(data.windows())
    raw, centred = load_embeddings(layout.embeddings), load_embeddings(layout.centred_embeddings)
    default = SampleParams().query_size(n)
    rows = [("as they are", raw, 400), ("as they are", raw, default), ("centred", centred, 400)]
    lines = ["| embeddings | query | shared by two latents of a layer |", "|---|---|---|"]
    for name, embeddings, query_size in [*rows, ("centred", centred, default)]:
        lines.append(f"| {name} | {query_size} | {mean_overlap(lists_of(data, embeddings, query_size)):.1%} |")
    return "\n".join([*lines, f"| chance | | {LISTED / n:.1%} |"])


def explained(data: DataFolder, features: int) -> list[FeatureResult]:
    """Explain so many live latents, drawn evenly over the layers, by lexical trees."""
    embeddings, results = EmbeddingMemory(), []
    for key in FeatureChoice(features=features).keys(data, 0):
        record, method = (
            data.index_record(key.hook_name, key.latent),
            Methods(MethodSpec(), Models(embeddings=embeddings)),
        )
        params = FeatureRunParams(PER_SPLIT, PER_SPLIT)
        results.append(asyncio.run(explain_feature(record, key, method.make(), params)))
    return [result for result in results if result.status == "explained"]


def values(results: Sequence[FeatureResult], measure: str, source: Source) -> list[float]:
    """Return one measure against one source, NaN where undefined."""
    return [float(getattr(result.scores[source.value], measure)) for result in results]


def compared(results: Sequence[FeatureResult], measure: str, a: Source, b: Source) -> PairedDifference:
    """Compare a measure against two sources, paired by feature."""
    return paired_difference(values(results, measure, a), values(results, measure, b))


def table(results: Sequence[FeatureResult]) -> str:
    """Write both measures against every source."""
    lines = ["| source | correlation | − random | false positives per sentence | − random |", "|---|---|---|---|---|"]
    for source in SOURCES:
        cells = [source.value.replace("_", " ")]
        for measure in MEASURES:
            difference = "" if source is SOURCES[-1] else str(compared(results, measure, source, SOURCES[-1]))
            cells += [f"{np.nanmean(values(results, measure, source)):.3f}", difference]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def falsifies(results: Sequence[FeatureResult]) -> bool:
    """Return whether same-token negatives lower the correlation and raise false positives against both others."""
    pairs = [(measure, other) for measure in MEASURES for other in SOURCES[1:]]
    found = {pair: compared(results, pair[0], SOURCES[0], pair[1]) for pair in pairs}
    return all(d.ci_high < 0 if measure == "correlation" else d.ci_low > 0 for (measure, _), d in found.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--features", type=int, default=24, help="live features over all layers")
    args = parser.parse_args()
    spec = DataSpec(top_sample_n=3 * PER_SPLIT, complementary_sample_n=3 * PER_SPLIT, max_features=24)
    data = prepare(spec, args.data)
    print(overlaps(data))
    results = explained(data, args.features)
    leaks = sum(result.near_duplicates or 0 for result in results)
    print(f"\n{len(results)} features, {leaks} pairs of near-duplicates across splits\n\n{table(results)}")
    return int(leaks > 0 or not falsifies(results))


if __name__ == "__main__":
    sys.exit(main())
