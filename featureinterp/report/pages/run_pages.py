"""A run as a folder of static pages: `index.html` and one page and one JSON file per feature.

Works from `file://`: no server, nothing fetched, no inline script or style (the pages' Content-Security-Policy forbids
them). All text goes through `display.visible` and then jinja's escaping, because tokens may hold anything. Features
stream: one in memory at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from featureinterp import codec
from featureinterp.analysis.runs import run_summary
from featureinterp.core import Score, Scores, worst_first
from featureinterp.display import visible
from featureinterp.experiment.result import FeatureKey, FeatureResult, RunSummary
from featureinterp.experiment.store import RunStore
from featureinterp.files import atomic_write
from featureinterp.record import MAIN_SOURCE
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.headline import floor_words, headline
from featureinterp.report.number_format import number, place, place_down, share, usage_words, when
from featureinterp.report.pages.compared_run import (
    ComparedRun,
    FeatureComparison,
    RowPair,
    compare_feature,
    compare_with_run,
)
from featureinterp.report.pages.feature_views import profile_view, silent_scores, walk_tree
from featureinterp.report.pages.index import INDEX_SCRIPT, index_script, render_index
from featureinterp.report.pages.snippets import snippets
from featureinterp.report.views import (
    SOURCE_WORDS,
    SentenceView,
    feedback_view,
    record_view,
    rule_views,
    sentence_view,
    token_claims,
)

ASSETS = ("report.css", "index.js", "feature.js")
N_WORST = 8
"""Maximum sentences under "what breaks this explanation"."""
_METRIC_WORDS = {
    "correlation": "correlation",
    "r_squared": "R²",
    "absolute_deviation_explained": "absolute deviation explained",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "iou": "IoU",
    "false_positives_per_sentence": "false positives per sentence",
    "false_positives_expected_per_sentence": "the same, expected above level 1",
}


@dataclass(frozen=True)
class FeaturePage:
    """A feature and the name of its files, without folder and suffix."""

    name: str
    result: FeatureResult
    beside: FeatureComparison | None = None


def write_run(
    store: RunStore,
    out: Path,
    beside: ComparedRun | None = None,
    title: str = "",
    results: Iterable[FeatureResult] | None = None,
) -> Path:
    """Write the pages of a stored run, each result decoded once; arguments and errors as `write_report`.

    Args:
        store: the run.
        out: folder to write to.
        beside: another run over the same features.
        title: of the pages; empty: that of the run.
        results: its results, where they pass through another reader.

    Returns:
        The path of the index page.
    """

    def summary(damaged: Collection[FeatureKey] | None) -> RunSummary:
        made = run_summary(store, damaged)
        return replace(made, title=title or made.title)

    # Damaged rows are found by reading them, so the index gets a summary that is made after the last result.
    features = store.results() if results is None else results
    return write_report(features, summary(()), out, beside, read=lambda: summary(None))


def write_report(
    results: Iterable[FeatureResult],
    summary: RunSummary,
    out: Path,
    beside: ComparedRun | None = None,
    read: Callable[[], RunSummary] | None = None,
) -> Path:
    """Write the pages of a run; the index is written last.

    Args:
        results: the run's features, in the order of the pages.
        summary: metadata of the run.
        out: folder to write to, made if missing; files of an earlier report are replaced.
        beside: another run over the same features, shown next to this one.
        read: returns the summary of the index, called after the last result; None: `summary`.

    Returns:
        The path of the index page.

    Raises:
        StorageError: if a file cannot be written.
    """
    environment = make_environment()
    for asset in ASSETS:
        atomic_write(out / asset, asset_bytes(environment, asset))
    rows, names, pairs = [], [], []
    for before, page, after in _with_neighbours(_named(results, beside)):
        html = render_feature(environment, page, before and before.name, after and after.name, summary)
        atomic_write(out / "features" / f"{page.name}.html", html.encode())
        atomic_write(out / "features" / f"{page.name}.json", feature_json(page.result))
        rows.append(FeatureRow.of(page.result))
        names.append(page.name)
        pairs += [RowPair.of(page.result, page.beside)] if page.beside else []
    atomic_write(out / INDEX_SCRIPT, index_script(rows, names))
    index = out / "index.html"
    compared = compare_with_run(pairs, beside.title) if beside and pairs else None
    atomic_write(index, render_index(environment, rows, names, read() if read else summary, compared).encode())
    return index


def file_name(key: FeatureKey, taken: set[str]) -> str:
    """Return the name of a feature's files: `layer-latent`, with the hook if two of a layer have the same latent.

    Args:
        key: key of the feature.
        taken: names of the previous features; this one is added.
    """
    name = f"{key.layer}-{key.latent}"
    if name in taken:
        name += "-" + re.sub(r"[^A-Za-z0-9]+", "_", key.hook_name)
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def make_environment() -> Environment:
    """Return the templates' environment: everything printed is made visible, then escaped."""
    environment = Environment(
        loader=PackageLoader("featureinterp.report.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        place=place, place_down=place_down, number=number, share=share, when=when, usage_words=usage_words
    )
    environment.globals.update(source_words=SOURCE_WORDS, main_source=MAIN_SOURCE, served=False)
    return environment


def render_feature(
    environment: Environment, page: FeaturePage, before: str | None, after: str | None, summary: RunSummary
) -> str:
    """Return the page of one feature; `before` and `after` are the names of its neighbours' files."""
    result = page.result
    claims = token_claims(result)
    sentences: dict[str, list[SentenceView]] = {}
    for sequence in result.test_sequences:
        source = sequence.record.source
        sentences.setdefault(source.value if source else "", []).append(sentence_view(sequence, claims))
    return environment.get_template("feature.html.j2").render(
        result=result,
        summary=summary,
        headline=headline(result),
        floor_words=floor_words(result),
        beside=page.beside,
        before=before,
        after=after,
        sources=[source for source in SOURCE_WORDS if source in result.scores],
        metrics=_metrics(result),
        silent=silent_scores(result),
        rules=rule_views(result),
        profile=profile_view(result),
        worst=[sentence_view(sequence, claims) for sequence in worst_first(result.test_sequences)[:N_WORST]],
        groups=[(source, sentences[source]) for source in ("", *SOURCE_WORDS) if source in sentences],
        train=[record_view(record) for record in result.train_positives],
        has_causes=any(pair.record.holistic_expressions for pair in result.test_sequences),
        nodes=walk_tree(result.attempts, result.chosen),
        feedback_view=feedback_view,
        name=page.name,
        snippets=snippets(result, page.name, summary.settings),
    )


def feature_json(result: FeatureResult) -> bytes:
    """Return the result as JSON for `codec.decode`; NaN becomes null, lone surrogates U+FFFD.

    Unlike `codec.encode` it never raises: a page with one replaced number is better than none.
    """
    data = codec.json_safe(msgspec.to_builtins(result))
    return msgspec.json.encode({"schema": codec.SCHEMA_VERSION, "type": "FeatureResult", "data": data})


def _finalize(value: object) -> object:
    """Make text visible before it is escaped; markup is unchanged."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _metrics(result: FeatureResult) -> list[tuple[str, list[Score]]]:
    names = [field.name for field in fields(Scores) if field.name in _METRIC_WORDS]
    by_source = [result.scores[source] for source in SOURCE_WORDS if source in result.scores]
    return [(_METRIC_WORDS[name], [getattr(scores, name) for scores in by_source]) for name in names]


def _named(results: Iterable[FeatureResult], beside: ComparedRun | None) -> Iterator[FeaturePage]:
    taken: set[str] = set()
    for result in results:
        yield FeaturePage(file_name(result.key, taken), result, compare_feature(result, beside))


def _with_neighbours(
    pages: Iterator[FeaturePage],
) -> Iterator[tuple[FeaturePage | None, FeaturePage, FeaturePage | None]]:
    before, page = None, next(pages, None)
    while page is not None:
        after = next(pages, None)
        yield before, page, after
        before, page = page, after


def asset_bytes(environment: Environment, name: str) -> bytes:
    """Return a file shared by pages, such as `report.css`."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].encode()
