"""Experiments made by hand: runs whose every number is known, laid out as an experiment's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from featureinterp.core import Attempt, Proposal, Rule, Score, Scores, StructuredExplanation
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore

SOURCES = ("random", "random_negative", "similar", "similar_negative", "same_token_negative")
N_LAYERS = 7
SEARCHES = ("one-shot", "best-of-n", "tree")
HOSTILE = "a_b 50% $x$ & #1 <script>alert(1)</script> {\\n}\n\x1b[31m~^"


def key(layer: int, latent: int) -> FeatureKey:
    return FeatureKey(f"blocks.{layer}.hook_resid_post", layer, latent)


def scores(correlation: float | None, false_positives: float) -> Scores:
    other = Score(0.4, 0.3, 0.5)
    of = Score.undefined("the truth is constant") if correlation is None else Score(correlation)
    return Scores(of, other, other, other, other, other, other, Score(false_positives), 20, 10)


def explained(
    layer: int, latent: int, score: float | None, *, complexity: float = 1.0, rules: int = 1
) -> FeatureResult:
    """A feature whose score and false positives differ by source in a known way."""
    explanation = StructuredExplanation(tuple(Rule(f"the token '{n}'", 5) for n in range(rules)))
    shifted = {source: None if score is None else score + 0.01 * place for place, source in enumerate(SOURCES)}
    return FeatureResult(
        key(layer, latent),
        "explained",
        explainer="tree/lexical",
        explanation=explanation,
        complexity=complexity,
        scores={
            source: scores(value, 0.1 * place + 0.01 * latent) for place, (source, value) in enumerate(shifted.items())
        },
        floors={"token_lookup": {source: Score(0.3) for source in SOURCES}},
    )


def with_attempts(result: FeatureResult, rows: Sequence[tuple[int, float, float, float]]) -> FeatureResult:
    """Give a feature attempts: round, train, valid and test score of each; the best on valid is the chosen one."""
    attempts = tuple(
        Attempt(number, None, depth, Proposal(result.explanation), train, valid, None, test, 1.0)
        for number, (depth, train, valid, test) in enumerate(rows)
    )
    chosen = max(attempts, key=lambda attempt: attempt.valid_score or 0.0).number
    return replace(result, attempts=attempts, chosen=chosen)


def at_cap(layer: int, latent: int, score: float | None, cap: int = 1) -> FeatureResult:
    """A feature at a rule cap: its score on similar negatives, which is that of valid too."""
    shifted = None if score is None else score - 0.01 * SOURCES.index("similar_negative")
    found = explained(layer, latent, shifted, complexity=float(cap))
    return found if score is None else with_attempts(found, [(0, score, score, score)])


def failed(layer: int, latent: int) -> FeatureResult:
    return FeatureResult(key(layer, latent), "failed", "no attempt could be scored", explainer="tree/lexical")


def write_run(
    folder: Path,
    names: tuple[str, str, str],
    results: Sequence[FeatureResult],
    method: Mapping[str, object],
    waiting: Sequence[FeatureKey] = (),
) -> Path:
    """Write a run of an experiment: `names` are experiment, subject and variant."""
    experiment, subject, variant = names
    configuration = {"method": dict(method), "records": {"train_sources": []}, "seed": 0}
    about = {"experiment": experiment, "subject": subject, "variant": variant, "n_layers": str(N_LAYERS)}
    about |= {"command": f"featureinterp experiment {experiment}", "model": "tiny"}
    run = folder / experiment / quote(subject, "") / quote(variant, "")
    with RunStore.create(run, configuration, about) as store:
        store.ask([*(result.key for result in results), *waiting])
        for result in results:
            store.put(result)
    return folder / experiment


def complementary(folder: Path, subject: str = "docs_tiny", variants: Sequence[str] = ("one-shot", "tree")) -> Path:
    for place, variant in enumerate(variants):
        results = [
            explained(
                layer, latent, 0.3 + 0.02 * layer + 0.05 * latent + 0.1 * place, complexity=layer / 2, rules=1 + place
            )
            for layer in (0, 2, 4)
            for latent in range(4)
        ]
        write_run(folder, ("complementary", subject, variant), results, {"explainer": variant})
    return folder / "complementary"


EXPLAINERS: dict[str, float] = {
    f"{search}-{configuration}": 0.3 + 0.1 * place + 0.05 * (search == "tree")
    for search in SEARCHES
    for place, configuration in enumerate(("unstructured", "structured", "structured-negatives", "structured-holistic"))
}
"""Mean score of each variant."""


def explainers(folder: Path, subject: str = "docs_tiny", variants: Sequence[str] = tuple(EXPLAINERS)) -> Path:
    for variant in variants:
        mean = EXPLAINERS.get(variant, 0.5)
        results = [explained(layer, latent, mean + 0.02 * (latent - 1)) for layer in (0, 3) for latent in range(3)]
        search = next((search for search in SEARCHES if variant.startswith(search)), "one-shot")
        write_run(folder, ("explainers", subject, variant), [*results, failed(0, 9)], {"explainer": search})
    return folder / "explainers"


CAP_SCORES: dict[int, list[tuple[float | None, ...]]] = {
    0: [(0.5, 0.6, 0.4), (0.2, 0.2, 0.4)],
    3: [(0.9, None, 0.8), (0.5, 0.5, 1.0)],
    6: [(None, None, None), (None, -0.1, -0.2)],
}
"""By layer: of each feature its scores at rule caps 1, 2, 3; of the last layer none is defined at rule cap 1."""


def polysemanticity(folder: Path, subject: str = "docs_tiny", caps: Sequence[int] = (1, 2, 3)) -> Path:
    for cap in caps:
        results = [
            at_cap(layer, latent, score, cap)
            for layer, features in CAP_SCORES.items()
            for latent, score in enumerate(by_cap[cap - 1] for by_cap in features)
        ]
        method = {"explainer": "tree", "rule_cap": cap}
        write_run(folder, ("polysemanticity", subject, f"cap-{cap}"), results, method)
    return folder / "polysemanticity"


def layers(folder: Path, subject: str = "docs_tiny") -> Path:
    results = [
        with_attempts(
            explained(layer, latent, 0.5),
            [(0, 0.6, 0.5, 0.45), (1, 0.7 + 0.1 * latent, 0.4, 0.3), (2, 0.65, 0.6, 0.5 + 0.01 * layer)],
        )
        for layer in (1, 2, 5)
        for latent in range(3)
    ]
    return write_run(folder, ("layers", subject, "tree"), results, {"explainer": "tree"})


MAKERS = {
    "complementary": complementary,
    "explainers": explainers,
    "polysemanticity": polysemanticity,
    "layers": layers,
}
