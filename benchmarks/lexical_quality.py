"""How good are lexical explanations? `python -m benchmarks.lexical_quality [--features 600] [--caps]`.

Live features of the embedded subject, drawn evenly over its layers, with the default settings (30 positives and 30
windows of each complementary source per split) and exact scores on the whole default corpus: the lexical tree explainer
beside its tables and the one-shot explainer, the complementary sources beside random negatives, and scores by rule cap.
Every comparison is paired by feature, with a 95% interval. Prints Markdown. An interrupted benchmark is resumed by the
same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from featureinterp.analysis.comparisons import feature_differences
from featureinterp.analysis.frames import read_scores
from featureinterp.analysis.means import mean_score, one_per_feature
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.engines.open import EngineSpec
from featureinterp.experiment.explain import FeatureChoice, OnResult, RunSpec, explain_folder
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.experiment.scores.verdict import VERDICTS
from featureinterp.record import ComplementaryRecordSource as Source

PER_SPLIT = 30
FEATURE = ["hook_name", "latent"]
SAME_TOKEN, SIMILAR, RANDOM = (
    source.value for source in (Source.SAME_TOKEN_NEGATIVE, Source.SIMILAR_NEGATIVE, Source.RANDOM_NEGATIVE)
)
RULE_CAPS = (1, 2, 3, 4)
"""Rule caps below the default."""


def explained(data: DataFolder, choice: FeatureChoice, methods: Mapping[str, MethodSpec]) -> Mapping[str, pd.DataFrame]:
    """Explain the same features by every method, and return the scores of each."""
    found = {}
    for name, method in methods.items():
        run, records = data.path.parent / "runs" / name, FeatureRunParams(PER_SPLIT, PER_SPLIT)
        spec = RunSpec(method=method, records=records, engine=EngineSpec(workers=1))
        explain_folder(data, run, choice, spec, "python -m benchmarks.lexical_quality", progress(name))
        found[name] = read_scores(run)
    return found


def progress(name: str) -> OnResult:
    """Return a callback that prints every fiftieth feature."""

    def show(_: object, finished: int, total: int) -> None:
        if finished % 50 == 0:
            print(f"{name}: {finished} of {total}", flush=True)

    return show


def against(scores: pd.DataFrame, source: str, column: str = "correlation") -> pd.Series:
    """Return a score against one source by feature."""
    return scores.loc[scores["source"] == source].set_index(FEATURE)[column]


def difference(a: pd.Series, b: pd.Series) -> str:
    """Return the mean of a − b over the features that have both, with its interval."""
    pairs = pd.concat({"a": a, "b": b}, axis=1)
    return str(feature_differences(pairs["a"].tolist(), pairs["b"].tolist()))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines) + "\n"


def groups(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each layer, and all."""
    return [*((str(layer), rows) for layer, rows in scores.groupby("layer")), ("all", scores)]


def headline(tree: pd.DataFrame) -> str:
    """Write the headline numbers and the verdicts by layer."""
    rows = []
    for name, scores in groups(tree):
        features, same = one_per_feature(scores), scores.loc[scores["source"] == SAME_TOKEN]
        verdicts = [int(features["verdict"].str.startswith(verdict).sum()) for verdict in VERDICTS]
        columns = (
            features["corpus_correlation"],
            features["corpus_margin"],
            same["correlation"],
            same["margin"],
            same["false_positives_per_sentence"],
        )
        rows.append([name, len(features), *map(mean_score, columns), int(same["correlation"].notna().sum()), *verdicts])
    header = ["layer", "features", "corpus", "− best table", "same-token", "− best table", "false positives", "n"]
    return table([*header, *VERDICTS], rows)


def methods_compared(tree: pd.DataFrame, one_shot: pd.DataFrame) -> str:
    """Write the tree beside the one-shot explainer and the token table by layer."""
    rows = []
    theirs = one_per_feature(one_shot).set_index(FEATURE)
    for name, scores in groups(tree):
        own = one_per_feature(scores).set_index(FEATURE)
        other = theirs.reindex(own.index)
        rows.append(
            [
                name,
                f"{own['correlation'].mean():.3f}",
                difference(own["corpus_correlation"], other["corpus_correlation"]),
                difference(own["correlation"], other["correlation"]),
                difference(own["correlation"], own["floor_token_lookup"]),
            ]
        )
    header = ["layer", "tree, similar negatives", "− one-shot, corpus", "− one-shot", "− token table"]
    return table(header, rows)


def sources_compared(tree: pd.DataFrame) -> str:
    """Write the tree's scores against two sources beside those against random negatives."""
    rows = []
    for name, scores in groups(tree):
        pairs = [
            difference(against(scores, source, column), against(scores, RANDOM, column))
            for column in ("correlation", "false_positives_per_sentence")
            for source in (SAME_TOKEN, SIMILAR)
        ]
        rows.append([name, *pairs])
    header = ["layer", "same-token", "similar", "same-token, false positives", "similar, false positives"]
    return table(header, rows)


def caps_compared(found: Mapping[str, pd.DataFrame]) -> str:
    """Write the scores by rule cap."""
    rows = []
    for name, scores in found.items():
        features = one_per_feature(scores)
        columns = (
            features["corpus_correlation"],
            features["corpus_margin"],
            features["correlation"],
            features["margin"],
        )
        rows.append([name, *map(mean_score, columns)])
    return table(["rule cap", "corpus", "− best table", "similar negatives", "− best table"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--features", type=int, default=600, help="over all layers")
    parser.add_argument("--layers", default="all")
    parser.add_argument("--caps", action="store_true", help="only scores by rule cap")
    args = parser.parse_args()
    n = 3 * PER_SPLIT
    data = prepare(DataSpec(top_sample_n=n, complementary_sample_n=n, max_features=args.features // 4), args.data)
    choice = FeatureChoice(layers=args.layers, features=args.features)
    if args.caps:
        methods = {f"cap {cap}": MethodSpec(rule_cap=cap) for cap in RULE_CAPS}
        print(caps_compared(explained(data, choice, {**methods, f"cap {MethodSpec().rule_cap}": MethodSpec()})))
        return
    found = explained(data, choice, {"tree": MethodSpec(), "one-shot": MethodSpec(explainer="one-shot")})
    print(headline(found["tree"]))
    print(methods_compared(found["tree"], found["one-shot"]))
    print(sources_compared(found["tree"]))


if __name__ == "__main__":
    main()
