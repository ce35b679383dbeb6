"""Two runs side by side in the terminal: which settings differ, and every comparison with its interval."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from featureinterp.analysis.comparisons import Comparison
from featureinterp.analysis.run_pair import RunPair
from featureinterp.display import visible
from featureinterp.report.number_format import number

_STYLES = {"higher": "bold green", "lower": "bold red", "": "dim"}


def comparison_view(pairs: Iterable[RunPair]) -> Group:
    """Return every pair of runs with its differing settings and a table of its comparisons."""
    parts: list[RenderableType] = []
    for pair in pairs:
        parts += [_head(pair), *(Text(f"  {visible(setting)}", style="dim") for setting in pair.settings), Text()]
        parts += [_table(pair.comparisons), Text()]
    return Group(*parts, Text(_NOTE, style="dim"))


_NOTE = (
    "Paired by feature, on n of the features that both hold; the rest has an undefined side or no explanation. "
    "A − B with its 95% interval, which resamples features; d is mean over standard deviation of the differences; "
    "p of a sign-flip permutation test, by Holm corrected for all rows."
)


def _head(pair: RunPair) -> Text:
    variants = " against ".join(dict.fromkeys((pair.a.variant, pair.b.variant)))
    name = " ".join(filter(None, (pair.a.experiment, pair.a.subject, variants)))
    sides = f"A {visible(str(pair.a.path))}, B {visible(str(pair.b.path))}"
    told = "settings that differ, A instead of B:" if pair.settings else "the same settings"
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
