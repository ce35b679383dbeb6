"""A feature's result as one flat object: what `featureinterp results` prints, a line of JSON or a row of CSV.

A number that is undefined is null (an empty cell), with its reason beside it under `undefined`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields

from featureinterp.chat import Usage
from featureinterp.core import Score, Scores
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.run import MEASURED_SOURCES

FLOOR_NAMES = ("token_lookup", "shuffled")
_SCORE_NAMES = tuple(field.name for field in fields(Scores) if not field.name.startswith("n_"))
_PLAIN_COLUMNS = (
    "hook_name",
    "layer",
    "latent",
    "status",
    "reason",
    "explainer",
    "explanation",
    "complexity",
    "max_activation",
    "density",
)


def result_row(result: FeatureResult) -> dict[str, object]:
    """Return a result as JSON values.

    `scores` holds, for each complementary source, every score with the interval of the preferred one (`ci_low`,
    `ci_high`) and the numbers of sentences; `floors` holds the correlation of each floor on the same records.
    """
    return {
        "hook_name": result.key.hook_name,
        "layer": result.key.layer,
        "latent": result.key.latent,
        "status": result.status,
        "reason": result.reason,
        "explainer": result.explainer,
        "explanation": None if result.explanation is None else result.explanation.to_json(),
        "complexity": result.complexity,
        "max_activation": result.max_activation,
        "density": result.density,
        "scores": {source: _scores_row(scores) for source, scores in sorted(result.scores.items())},
        "floors": {
            floor: {source: _score_row(score) for source, score in sorted(by_source.items())}
            for floor, by_source in sorted(result.floors.items())
        },
        "usage": asdict(result.whole_usage),
        "seconds": round(result.seconds, 3),
    }


def json_lines(results: Iterable[FeatureResult]) -> Iterator[str]:
    """Yield one line of JSON per result."""
    for result in results:
        yield json.dumps(result_row(result), ensure_ascii=False, allow_nan=False)


def csv_lines(results: Iterable[FeatureResult]) -> Iterator[str]:
    """Yield a header and one row per result, the same columns for every run; nested names are joined by dots.

    Rules are a JSON list in one cell, and reasons of undefined numbers are left out.
    """
    columns = csv_columns()
    yield _csv_line(columns)
    for result in results:
        row = result_row(result)
        cells = dict(_flatten(row))
        cells["explanation"] = "" if row["explanation"] is None else json.dumps(row["explanation"], ensure_ascii=False)
        yield _csv_line([cells.get(column, "") for column in columns])


def csv_columns() -> list[str]:
    """Return the names of all columns, in order."""
    sources = [source.value for source in MEASURED_SOURCES]
    of_scores = (*_scores_row_names(), "n_sentences", "n_complementary")
    scores = [f"scores.{source}.{name}" for source in sources for name in of_scores]
    of_floors = ("correlation", "ci_low", "ci_high")
    floors = [f"floors.{floor}.{source}.{name}" for floor in FLOOR_NAMES for source in sources for name in of_floors]
    usage = [f"usage.{field.name}" for field in fields(Usage)]
    return [*_PLAIN_COLUMNS, *scores, *floors, *usage, "seconds"]


def _scores_row_names() -> tuple[str, ...]:
    return ("correlation", "ci_low", "ci_high", *_SCORE_NAMES[1:])


def _scores_row(scores: Scores) -> dict[str, object]:
    named: dict[str, Score] = {name: getattr(scores, name) for name in _SCORE_NAMES}
    row: dict[str, object] = _score_row(scores.correlation)
    row.update({name: score.value for name, score in named.items()})
    row["n_sentences"], row["n_complementary"] = scores.n_sentences, scores.n_complementary
    row["undefined"] = {name: score.reason for name, score in named.items() if score.value is None}
    return row


def _score_row(score: Score) -> dict[str, object]:
    row: dict[str, object] = {"correlation": score.value, "ci_low": score.ci_low, "ci_high": score.ci_high}
    if score.value is None:
        row["undefined"] = {"correlation": score.reason}
    return row


def _flatten(row: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else value


def _csv_line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
