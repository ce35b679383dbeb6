"""Terminal views: feature table, single feature, progress line, comparison of two runs.

All text is made visible first (`display.visible`) and added as plain text, never as markup, so no token can move the
cursor, change colours, or write a title.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from featureinterp.chat import Usage
from featureinterp.core import Score, worst_first
from featureinterp.display import visible
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.scores.verdict import verdict
from featureinterp.record import MAIN_SOURCE, SOURCE_WORDS
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.headline import Headline, headline
from featureinterp.report.number_format import number, share, usage_words
from featureinterp.report.views import (
    SentenceView,
    TokenView,
    rule_views,
    sentence_view,
)
from featureinterp.scoring.baselines import BACK_OFF, SHORT_LOOKUP, SHUFFLED, TOKEN_LOOKUP, table_size

if TYPE_CHECKING:
    from featureinterp.analysis.comparisons import Comparison
    from featureinterp.analysis.run_pair import RunPair

_TRUE_STYLES = ("", *(f"#1c1e22 on {color}" for color in ("#f6d3b0", "#f2b880", "#ec9c52", "#e58530", "#dc7318")))
_EXPECTED_STYLES = ("", *(f"#1c1e22 on {color}" for color in ("#cfe2f5", "#a8cdf0", "#80b5e8", "#5c9fdf", "#4a90d9")))
"""One style per level 0..5: dark on a light ground is readable in light and dark terminals."""

_MARKS = {"": " ", "miss": "−", "alarm": "+"}
_FLOOR_COLUMNS = {
    TOKEN_LOOKUP: "token\ntable",
    SHORT_LOOKUP: "{n}\nstrings",
    BACK_OFF: "back-\noff",
    SHUFFLED: "other’s\nwords",
}
"""Baselines with a correlation."""
_LABEL_WIDTH = 9


def feature_table(results: Iterable[FeatureResult], warning: str = "") -> Table:
    """Return a table of features: scores on the corpus and on the test, false positives, verdict and rules.

    Args:
        results: its rows.
        warning: what makes the run's scores doubtful, for its caption; empty for nothing.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("layer", "latent", "corpus", "margin"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(SOURCE_WORDS[MAIN_SOURCE], no_wrap=True)
    for name in ("lookup", "FP/sent."):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict and explanation", ratio=1, overflow="fold")
    usage, methods = Usage(), dict[str, None]()
    for result in results:
        row = FeatureRow.of(result)
        methods |= {result.made_by: None} if result.made_by else {}
        usage += row.usage
        words = (
            Text("\n").join([Text(visible(verdict(result)), style="bold"), _rules(result)])
            if result.explanation
            else Text(f"{row.status}: {visible(result.reason)}", style="italic")
        )
        corpus = result.corpus
        table.add_row(
            str(row.key.layer),
            str(row.key.latent),
            Text(number(corpus.scores.correlation.value if corpus else None)),
            Text(number(corpus.margin.value if corpus else None)),
            _score(row.score()) if result.explanation else "–",
            Text(number(row.floor(TOKEN_LOOKUP).value)),
            Text(number(row.false_positives.value)),
            words,
        )
    told = [f"Explained by {visible('; '.join(methods))}"] if methods else []
    told += [f"Language models: {usage_words(usage)}"] if usage.requests else []
    told += [f"Warning: {visible(warning)}"] if warning else []
    table.caption = Text("\n".join(told)) if told else None
    return table


def feature_view(result: FeatureResult, n_worst: int = 5) -> Group:
    """Return one feature: its verdict, rules, scores, baselines, and the sentences with the largest error."""
    key = result.key
    title = Text.assemble((f"Layer {key.layer}, latent {key.latent}", "bold"), ("  " + visible(key.hook_name), "dim"))
    facts = f"explained by {visible(result.made_by)}; " if result.made_by else ""
    facts += f"{_density(result)}, largest activation {number(result.max_activation)}"
    if result.complexity is not None:
        facts += f", complexity {number(result.complexity, 1)} of 5"
    if result.complexity_reason:
        facts += f", complexity undefined: {visible(result.complexity_reason)}"
    if result.whole_usage.requests:
        facts += f"; {usage_words(result.whole_usage)}"
    parts: list[RenderableType] = [title, Text(facts, style="dim"), Text()]
    if result.explanation is None:
        return Group(*parts, Text.assemble((result.status, "bold"), ": ", visible(result.reason)))
    parts += [*_headline(headline(result)), Text(), _rules(result), Text()]
    if result.reason:
        parts += [Text(f"It was {visible(result.reason)}.", style="italic"), Text()]
    parts += [_floors_table(result), Text()]
    worst = worst_first(result.test_sequences)[:n_worst]
    if worst:
        parts += [Text("What breaks this explanation", style="bold"), _legend(), Text()]
        parts += [_Sentence(sentence_view(sequence)) for sequence in worst]
    return Group(*parts)


def _headline(found: Headline) -> list[RenderableType]:
    words = Text(visible(found.verdict), style="bold")
    if not found.scores:
        return [words]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "explanation", *([f"over the {found.best}"] if found.best else [])):
        table.add_column(name)
    for line in found.scores:
        table.add_row(Text(line.name), _score(line.score), *([_score(line.margin)] if found.best else []))
    return [words, table, *([Text(f"The corpus: {found.corpus}.", style="dim")] if found.corpus else [])]


def _density(result: FeatureResult) -> str:
    tokens = f"{share(result.profile.share_active)} of tokens, " if result.profile else ""
    return f"fires on {tokens}{share(result.density)} of windows"


def feature_line(result: FeatureResult, done: int, total: int) -> Group:
    """Return one line for a finished feature (number `done` of `total`), cut to the terminal width."""
    row = FeatureRow.of(result)
    count = f"{done:>{len(str(total))}}/{total} "
    name = f"{row.key.layer}/{row.key.latent:<5} "
    line = Text.assemble((count, "dim"), (name, "bold"), no_wrap=True, overflow="ellipsis")
    if result.explanation is None:
        return Group(line.append(f"{row.status}: {visible(result.reason)}", style="italic"))
    line.append_text(_score(row.score())).append(f"  lookup {number(row.floor('token_lookup').value)}  ", style="dim")
    if result.complexity_reason:
        line.append("complexity undefined  ", style="italic")
    return Group(line.append("; ".join(visible(words) for words in row.words)))


class _Sentence:
    """Tokens in two aligned rows, true above expected, and a row of marks where an error is."""

    def __init__(self, view: SentenceView) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Split the rows into as many blocks as the width requires."""
        width = max(options.max_width - _LABEL_WIDTH, 10)
        for block in _blocks(self.view.tokens, width):
            yield from _rows(block)
        caption = [self.view.source, f"squared error {number(self.view.squared_error, 1)}", *self.view.errors]
        yield Padding(Text(" · ".join(caption), style="dim"), (0, 0, 1, _LABEL_WIDTH))


def _blocks(tokens: Iterable[TokenView], width: int) -> list[list[tuple[str, TokenView]]]:
    """Break tokens into rows of at most `width` cells; wider tokens are cut."""
    blocks: list[list[tuple[str, TokenView]]] = [[]]
    used = 0
    for token in tokens:
        text = set_cell_size(token.lead + token.text, min(cell_len(token.lead + token.text), width))
        if used + cell_len(text) > width and blocks[-1]:
            blocks.append([])
            used = 0
        used += cell_len(text)
        blocks[-1].append((text, token))
    return blocks


def _rows(block: list[tuple[str, TokenView]]) -> list[Text]:
    true = Text.assemble(("true".ljust(_LABEL_WIDTH), "dim"), no_wrap=True)
    expected = Text.assemble(("expected".ljust(_LABEL_WIDTH), "dim"), no_wrap=True)
    marks = Text(" " * _LABEL_WIDTH, no_wrap=True)
    for text, token in block:
        true.append(text, style=_TRUE_STYLES[token.true_level])
        expected.append(text, style=_EXPECTED_STYLES[token.expected_level])
        marks.append((" " * len(token.lead) + _MARKS[token.mark])[: cell_len(text)].ljust(cell_len(text)))
    return [true, expected, marks] if marks.plain.strip() else [true, expected]


def _floors_table(result: FeatureResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in ("tested against", "correlation"):
        table.add_column(name, no_wrap=True)
    n = table_size(result.explanation) if result.explanation else 0
    for name in (*_FLOOR_COLUMNS.values(), "FP/\nsent."):
        table.add_column(name.format(n=n), no_wrap=True, justify="right")
    for source, words in SOURCE_WORDS.items():
        if source in result.scores:
            scores = result.scores[source]
            floors = [result.floors.get(floor, {}).get(source) for floor in _FLOOR_COLUMNS]
            table.add_row(
                Text(words, style="bold" if source == MAIN_SOURCE else ""),
                _score(scores.correlation),
                *(Text(number(floor.value) if floor else "–") for floor in floors),
                Text(number(scores.false_positives_per_sentence.value)),
            )
    return table


def _score(score: Score) -> Text:
    if score.value is None:
        return Text("undefined", style="italic dim")
    text = Text(f"{number(score.value):>5}", style="bold")
    if score.ci_low is not None and score.ci_high is not None:
        text.append(f" [{number(score.ci_low)}, {number(score.ci_high)}]", style="not bold dim")
    return text


def _rules(result: FeatureResult) -> Text:
    rules = result.explanation.rules if result.explanation else ()
    lines = [Text.assemble((f"{rule.strength} ", "bold blue"), visible(rule.activates_on)) for rule in rules]
    views = rule_views(result)
    for line, view in zip(lines, views if len(views) > 1 else [], strict=False):
        without = view.without.get(MAIN_SOURCE)
        score = "" if without is None or without.value is None else f", score without it {number(without.value)}"
        line.append(f"  {view.n_claimed} tokens, {view.n_active} active{score}", style="dim")
    return Text("\n").join(lines)


def _legend() -> Text:
    return Text.assemble(
        ("true", _TRUE_STYLES[4]),
        " true activation, ",
        ("expected", _EXPECTED_STYLES[4]),
        " expected activation; ",
        (_MARKS["miss"], "bold"),
        " missed, ",
        (_MARKS["alarm"], "bold"),
        " false alarm; ↵ newline, ⇥ tab, ␣ space",
    )


_STYLES = {"higher": "bold green", "lower": "bold red", "": "dim"}


def comparison_view(pairs: Iterable[RunPair]) -> Group:
    """Return every pair of runs with its differing settings and a table of its comparisons."""
    parts: list[RenderableType] = []
    for pair in pairs:
        parts += [_head(pair), *(Text(f"  {visible(setting)}", style="dim") for setting in pair.settings), Text()]
        parts += [_table(pair.comparisons), Text()]
    return Group(*parts, Text(_NOTE, style="dim"))


_NOTE = (
    "Paired by feature; n is the number of shared features with both scores (the others are undefined or unexplained). "
    "A − B with a 95% t interval over features; d is the effect size (mean / standard deviation); "
    "p of a studentised sign-flip test, Holm-corrected over all rows."
)


def _head(pair: RunPair) -> Text:
    variants = " against ".join(dict.fromkeys((pair.a.variant, pair.b.variant)))
    name = " ".join(filter(None, (pair.a.experiment, pair.a.subject, variants)))
    sides = f"A {visible(str(pair.a.path))}, B {visible(str(pair.b.path))}"
    told = "different settings (A instead of B):" if pair.settings else "the same settings"
    return Text.assemble((visible(name), "bold"), f"\n{sides}\n{pair.n_shared} features in common; {told}")


def _table(comparisons: Iterable[Comparison]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", min_width=10)
    for name in ("A", "B", "A − B", "d", "p", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("A is", no_wrap=True, min_width=6)
    for measure, of_measure in groupby(comparisons, key=lambda comparison: comparison.question.measure):
        rows = [(comparison.question.a.where["source"], comparison) for comparison in of_measure]
        if len(rows) > 1:
            table.add_row(Text(measure, style="bold"))
        for source, comparison in rows:
            name = f"  {source.replace('_', ' ')}" if len(rows) > 1 else measure
            style = "" if len(rows) > 1 else "bold"
            verdict = Text(comparison.verdict or "–", style=_STYLES[comparison.verdict])
            table.add_row(Text(name, style=style), *_cells(comparison), verdict)
    return table


def _cells(comparison: Comparison) -> list[Text]:
    found = comparison.difference
    n_all = found.n_pairs + found.n_undefined + comparison.n_failed
    texts = (
        number(comparison.mean_a, 3),
        number(comparison.mean_b, 3),
        f"{number(found.mean, 3)} [{number(found.ci_low, 3)}, {number(found.ci_high, 3)}]" if found.n_pairs else "–",
        number(found.effect_size),
        number(comparison.corrected_p, 3),
        f"{found.n_pairs}/{n_all}",
    )
    return [Text(text) for text in texts]
