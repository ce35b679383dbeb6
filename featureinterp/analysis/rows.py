"""Results as flat rows: JSON lines, CSV and Parquet of `featureinterp results`.

A number that is undefined is null (an empty cell), with its reason beside it under `undefined`. In pandas and Polars:
`pandas.read_parquet("results.parquet")`, `polars.read_parquet("results.parquet")`.

A text cell of a CSV that a spreadsheet would compute (it begins with = + - @, a tab or a line break), and one that
begins with an apostrophe, has one apostrophe in front; reading takes one leading apostrophe off. Numbers have none.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from itertools import chain, islice
from pathlib import Path

from featureinterp.analysis.runs import open_runs, run_info
from featureinterp.chat import Usage
from featureinterp.codec import whole_characters
from featureinterp.core import Score, Scores
from featureinterp.display import is_hidden
from featureinterp.experiment.result import CorpusScores, FeatureResult, Margin
from featureinterp.experiment.scores.verdict import verdict
from featureinterp.files import atomic_path
from featureinterp.record import MEASURED_SOURCES
from featureinterp.scoring.baselines import BASELINES

_SCORE_NAMES = tuple(field.name for field in fields(Scores) if not field.name.startswith("n_"))
_LABELS = ("experiment", "subject", "variant")
_PLAIN_COLUMNS = (
    "hook_name",
    "layer",
    "latent",
    "status",
    "reason",
    "explainer",
    "simulator",
    "explanation",
    "verdict",
    "best_table",
    "complexity",
    "max_activation",
    "density",
)
_INTERVAL = ("correlation", "ci_low", "ci_high")
_OF_MARGIN = (*_INTERVAL, "false_positives_per_sentence", "false_positives_ci_low", "false_positives_ci_high")
_TEXT_COLUMNS = {*_LABELS, *_PLAIN_COLUMNS} - {"layer", "latent", "complexity", "max_activation", "density"}


def result_rows(path: Path) -> Iterator[dict[str, object]]:
    """Yield the row of every finished feature of a run, or of each run below a folder, by layer and latent.

    Rows of a folder of runs begin with `experiment`, `subject` and `variant`.

    Raises:
        DataFolderError: if there is no run, or one cannot be read.
    """
    for store in open_runs(path):
        labels = {} if store.path.parent == path else run_info(store).labels
        for result in store.results():
            yield {**labels, **result_row(result)}


def result_row(result: FeatureResult) -> dict[str, object]:
    """Return a result as JSON values.

    `scores` holds, for each complementary source, every score with the interval of the preferred one (`ci_low`,
    `ci_high`) and the numbers of sentences; `floors` holds the correlation of each baseline on the same records, and
    `margins` the differences from `best_table`. `corpus` holds the scores on the corpus, null where it was not scored.
    """
    return {
        "hook_name": result.key.hook_name,
        "layer": result.key.layer,
        "latent": result.key.latent,
        "status": result.status,
        "reason": result.reason,
        "explainer": result.explainer,
        "simulator": result.simulator,
        "explanation": None if result.explanation is None else result.explanation.to_json(),
        "verdict": verdict(result),
        "best_table": result.best_table or None,
        "complexity": result.complexity,
        "complexity_undefined": result.complexity_reason or None,
        "max_activation": result.max_activation,
        "density": result.density,
        "corpus": None if result.corpus is None else _corpus_row(result.corpus),
        "scores": {source: _scores_row(scores) for source, scores in sorted(result.scores.items())},
        "margins": {source: _margin_row(margin) for source, margin in sorted(result.margins.items())},
        "floors": {
            floor: {source: _score_row(score) for source, score in sorted(by_source.items())}
            for floor, by_source in sorted(result.floors.items())
        },
        "usage": asdict(result.whole_usage),
        "seconds": round(result.seconds, 3),
    }


def json_lines(rows: Iterable[Mapping[str, object]], ascii_only: bool = False) -> Iterator[str]:
    """Yield one line of JSON per row, with invisible characters escaped.

    Args:
        rows: of results.
        ascii_only: whether every other character than ASCII is an escape too, which changes nothing in the data.
    """
    for row in rows:
        line = json.dumps(row, ensure_ascii=ascii_only, allow_nan=False)
        yield line if line.isascii() and line.isprintable() else "".join(map(_json_character, line))


def _json_character(character: str) -> str:
    return json.dumps(character)[1:-1] if is_hidden(character) else character


def csv_lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield a header and one line per row, the same columns for every run; nested names are joined by dots.

    Rules are a JSON list in one cell, and reasons of undefined numbers are left out. Rows of a folder of runs have the
    names of their run before these columns.
    """
    columns, rows = _columns_of(rows)
    yield _csv_line(columns)
    for row in rows:
        cells = _cells(row)
        yield _csv_line(["" if (cell := cells.get(column)) is None else _no_formula(cell) for column in columns])


def write_parquet(rows: Iterable[Mapping[str, object]], path: Path) -> None:
    """Write rows as a Parquet file with the columns of the CSV: text, whole numbers and numbers; null for no value.

    Raises:
        StorageError: if it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, rows = _columns_of(rows)
    schema = pa.schema([(column, _arrow_type(column)) for column in columns])
    table = pa.Table.from_pylist([_whole(_cells(row)) for row in rows], schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _columns_of(rows: Iterable[Mapping[str, object]]) -> tuple[list[str], Iterable[Mapping[str, object]]]:
    """Return the columns, with the labels of runs where rows have them, and the rows."""
    iterator = iter(rows)
    first = list(islice(iterator, 1))
    labels = [name for name in _LABELS if first and name in first[0]]
    return [*labels, *csv_columns()], chain(first, iterator)


def _arrow_type(column: str) -> str:
    name = column.rpartition(".")[2]
    if column in _TEXT_COLUMNS:
        return "string"
    if name == "is_exact":
        return "bool"
    whole = column.startswith("usage.") and name != "cost"
    return "int64" if whole or name in ("layer", "latent", "n_sentences", "n_complementary") else "float64"


def _cells(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row's values by column."""
    flat = dict(_flatten(row))
    rules = row["explanation"]
    flat["explanation"] = None if rules is None else json.dumps(rules, ensure_ascii=False)
    return flat


def _whole(cells: Mapping[str, object]) -> dict[str, object]:
    return {name: whole_characters(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}


def csv_columns() -> list[str]:
    """Return the names of the columns of a feature, in order."""
    sources = [source.value for source in MEASURED_SOURCES]
    of_scores = (*_scores_row_names(), "n_sentences", "n_complementary")
    scores = [f"scores.{source}.{name}" for source in sources for name in of_scores]
    corpus = [f"corpus.{name}" for name in (*of_scores, "is_exact", *(f"margin.{name}" for name in _INTERVAL))]
    margins = [f"margins.{source}.{name}" for source in sources for name in _OF_MARGIN]
    floors = [f"floors.{floor}.{source}.{name}" for floor in BASELINES for source in sources for name in _INTERVAL]
    usage = [f"usage.{field.name}" for field in fields(Usage)]
    return [*_PLAIN_COLUMNS, *corpus, *scores, *margins, *floors, *usage, "seconds"]


def _scores_row_names() -> tuple[str, ...]:
    return (*_INTERVAL, *_SCORE_NAMES[1:])


def _scores_row(scores: Scores) -> dict[str, object]:
    named: dict[str, Score] = {name: getattr(scores, name) for name in _SCORE_NAMES}
    row: dict[str, object] = _score_row(scores.correlation)
    row.update({name: score.value for name, score in named.items()})
    row["n_sentences"], row["n_complementary"] = scores.n_sentences, scores.n_complementary
    row["undefined"] = {name: score.reason for name, score in named.items() if score.value is None}
    return row


def _corpus_row(corpus: CorpusScores) -> dict[str, object]:
    return {**_scores_row(corpus.scores), "is_exact": corpus.is_exact, "margin": _score_row(corpus.margin)}


def _margin_row(margin: Margin) -> dict[str, object]:
    claims = margin.false_positives_per_sentence
    named = {"correlation": margin.correlation, "false_positives_per_sentence": claims}
    return {
        **_score_row(margin.correlation),
        "false_positives_per_sentence": claims.value,
        "false_positives_ci_low": claims.ci_low,
        "false_positives_ci_high": claims.ci_high,
        "undefined": {name: score.reason for name, score in named.items() if score.value is None},
    }


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
            yield f"{prefix}{name}", value


_LINE_END = "\r\n"
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - the full-width ones count too


def _no_formula(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("'", *_FORMULAS)) else cell


def _csv_line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=_LINE_END).writerow(cells)  # a cell that holds a character of it is quoted
    return text.getvalue().removesuffix(_LINE_END)
