"""A run's first page, and its table of features as a script of data beside it, so that the page stays small.

Both depend on rows and names alone: a folder of files and a server show the same. A script works from `file://`,
where a page cannot fetch data. On a server, `Cross-Origin-Resource-Policy: same-origin` keeps other sites from
reading it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jinja2 import Environment

from featureinterp.chat import Usage
from featureinterp.core import Score
from featureinterp.display import visible
from featureinterp.experiment.result import RunSummary
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.number_format import PLOT_FROM, PLOT_TO, share
from featureinterp.report.pages.charts import N_BINS, scatter, spreads
from featureinterp.report.pages.compared_run import RunComparison
from featureinterp.report.pages.overview import means_by_layer, means_by_source, run_found, verdict_counts

INDEX_SCRIPT = "features.js"
"""File name of `index_script`, next to the page."""
LONGEST_WORDS = 400
"""Maximum characters of a rule in the table; the feature's page has the whole."""


@dataclass(frozen=True)
class Column:
    """A column of the table of features; `index.js` draws it by name."""

    name: str
    label: str
    shown: bool = True
    """Whether it is shown by default."""
    falling: bool = False
    """Whether the first click sorts in descending order."""
    always: bool = False
    """Whether it is always shown: the link to the feature's page."""


COLUMNS = (
    Column("layer", "layer"),
    Column("latent", "latent", always=True),
    Column("status", "status"),
    Column("words", "explanation"),
    Column("tokens", "strongest tokens", shown=False),
    Column("judgement", "verdict"),
    Column("corpus", "score (corpus)", shown=False, falling=True),
    Column("margin", "over the best table", shown=False, falling=True),
    Column("score", "score (similar)", falling=True),
    Column("random", "score (random)", shown=False, falling=True),
    Column("lookup", "token table", falling=True),
    Column("shuffled", "another’s explanation", shown=False, falling=True),
    Column("false_positives", "false positives / sentence", falling=True),
    Column("density", "density", falling=True),
    Column("rules", "rules", shown=False, falling=True),
)


def render_index(
    environment: Environment,
    rows: Sequence[FeatureRow],
    names: Sequence[str],
    summary: RunSummary,
    beside: RunComparison | None = None,
) -> str:
    """Return the first page of features whose files have these names; its table is filled by `index_script`."""
    counts = {**summary.counts, **Counter(row.status for row in rows)}
    return environment.get_template("index.html.j2").render(
        summary=summary,
        counts={name: n for name, n in counts.items() if n},
        n_features=len(rows),
        verdicts=verdict_counts(rows),
        found=run_found(rows, names),
        spreads=spreads(rows),
        scatter=scatter(rows),
        n_bins=N_BINS,
        usage=sum((row.usage for row in rows), Usage()),
        sources=means_by_source(rows),
        layers=means_by_layer(rows),
        beside=beside,
        script=INDEX_SCRIPT,
        columns=COLUMNS,
        places=list(dict.fromkeys(_places(sorted(rows, key=lambda row: (row.key.layer, row.key.hook_name))))),
        statuses=sorted({row.status for row in rows}),
    )


def index_script(rows: Sequence[FeatureRow], names: Sequence[str]) -> bytes:
    """Return the table of features as a script with only data, each column a list.

    All text is visible and ASCII: nothing in it can end a string, a script element or a line.
    """
    columns: dict[str, list[object]] = {"name": [*names], "place": [*_places(rows)]}
    columns |= {name: [value(row) for row in rows] for name, value in _VALUES.items()}
    if len(names) != len(rows):
        raise ValueError(f"{len(names)} names for {len(rows)} features")
    return f"globalThis.featureTable={script_json({'from': PLOT_FROM, 'to': PLOT_TO, **columns})};\n".encode()


def script_json(value: object) -> str:
    r"""Return JSON that is safe in a script: nothing in it can end the element or a line.

    >>> print(script_json("</script>"))
    "\u003c/script\u003e"
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _places(rows: Sequence[FeatureRow]) -> list[str]:
    """Return the place of each feature: its layer, or its hook if a layer has several."""
    hooks = {(row.key.layer, row.key.hook_name) for row in rows}
    crowded = len({layer for layer, _ in hooks}) < len(hooks)
    return [visible(row.key.hook_name) if crowded else str(row.key.layer) for row in rows]


def _words(row: FeatureRow) -> list[str]:
    shown = [visible(words) for words in row.words]
    return [words if len(words) <= LONGEST_WORDS else words[: LONGEST_WORDS - 1] + "…" for words in shown]


def _interval(score: Score) -> list[float | None] | None:
    if score.value is None:
        return None
    return [_rounded(score.value), _rounded(score.ci_low), _rounded(score.ci_high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


_VALUES: dict[str, Callable[[FeatureRow], object]] = {
    "layer": lambda row: row.key.layer,
    "latent": lambda row: row.key.latent,
    "status": lambda row: row.status,
    "words": _words,
    "tokens": lambda row: row.tokens,
    "judgement": lambda row: row.verdict if row.status == "explained" else "",
    "corpus": lambda row: _interval(row.corpus),
    "margin": lambda row: _interval(row.margin),
    "score": lambda row: _interval(row.score()),
    "random": lambda row: _interval(row.score("random")),
    "lookup": lambda row: _rounded(row.floor("token_lookup").value),
    "shuffled": lambda row: _rounded(row.floor("shuffled").value),
    "false_positives": lambda row: _rounded(row.false_positives.value),
    "density": lambda row: row.density if math.isfinite(row.density) else None,
    "density_words": lambda row: share(row.density),
    "rules": lambda row: row.n_rules,
}
