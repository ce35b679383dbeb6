"""What goes to a terminal: the numbers are there, rows are aligned, and no token drives the terminal."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from featureinterp.analysis.audit.run import Noticed
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.report.audit_view import corruption_table
from featureinterp.report.terminal import feature_line, feature_table, feature_view
from tests.report.features import all_kinds, explained, hostile, record, scored, without_explanation

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\ud800-\udfff]")


def plain(renderable: RenderableType, width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(renderable)
    return file.getvalue()


def coloured(renderable: RenderableType) -> str:
    file = io.StringIO()
    Console(file=file, width=120, force_terminal=True, color_system="truecolor").print(renderable)
    return file.getvalue()


def test_the_table_has_a_row_per_feature() -> None:
    text = plain(feature_table(all_kinds()), width=140)
    [row] = [line for line in text.splitlines() if line.split()[:2] == ["0", "3"]]
    assert row.split()[2:9] == ["0.75", "0.04", "0.90", "[0.80,", "1.00]", "0.25", "0.50"]
    assert "beats its baselines" in row
    assert "5 the token ' raise'" in text
    assert "dead: it never fires on the corpus" in text


def test_the_view_shows_rules_score_floors_and_the_worst_sentences_first() -> None:
    text = plain(feature_view(explained(3, 17, 0.8)))
    assert "Layer 3, latent 17" in text
    order = [
        "beats its baselines",
        "5 the token ' raise'",
        "0.80 [0.70, 0.90]",
        "What breaks this explanation",
        "missed “ raising”",
        "false alarm on “ rise”",
        "we raise it",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_the_view_begins_with_the_verdict_and_its_scores_with_margins_over_the_best_table() -> None:
    lines = plain(feature_view(explained(3, 17, 0.8))).splitlines()
    at = next(i for i, line in enumerate(lines) if "beats its baselines" in line)
    assert "over the token table" in lines[at + 1]
    rows = [re.sub(r" +", " ", line).strip() for line in lines[at + 2 : at + 6]]
    assert rows == [
        "correlation on the corpus 0.65 [0.63, 0.67] 0.04 [0.01, 0.07]",
        "correlation, same-token negatives 0.60 [0.50, 0.70] 0.11 [−0.02, 0.24]",
        "false claims per sentence, same-token negatives 0.75 [0.00, 1.00] −0.50 [−0.90, −0.10]",
        "The corpus: exact, every window.",
    ]
    assert at < next(i for i, line in enumerate(lines) if "the token ' raise'" in line)


def test_a_run_from_before_the_corpus_was_scored_is_untested_and_shows_the_test() -> None:
    new = explained(3, 17, 0.8)
    tested = {name: scores for name, scores in new.scores.items() if name != "same_token_negative"}
    old = replace(new, corpus=None, best_table="", margins={}, scores=tested)
    text = plain(feature_view(old))
    assert "untested (it was not scored on the corpus)" in text
    assert "correlation, similar negatives" in text
    assert "on the corpus " not in text
    assert "untested (it was not scored on the corpus)" in plain(feature_table([old]), width=160)


def test_every_baseline_with_a_correlation_has_a_column() -> None:
    lines = plain(feature_view(explained(3, 17, 0.8)), width=80).splitlines()
    [row] = [line for line in lines if line.startswith("similar negatives")]
    assert row.split()[-5:] == ["0.25", "0.21", "0.27", "−0.05", "0.50"]


def test_true_stands_above_expected_with_marks_below_their_tokens() -> None:
    lines = plain(feature_view(explained(3, 17, 0.8))).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("true") and " raising" in line)
    assert lines[at].replace("true    ", "expected") == lines[at + 1]
    assert lines[at + 2].index("−") == lines[at].index("raising")
    alarm = next(i for i, line in enumerate(lines) if line.startswith("true") and " rise↵" in line)
    assert lines[alarm + 2].index("+") == lines[alarm].index("rise")


def test_levels_have_colours_and_silent_tokens_none() -> None:
    text = coloured(feature_view(explained(3, 17, 0.8)))
    assert "48;2;220;115;24m raise\x1b[0m" in text  # orange ground: it is at its maximum
    assert "48;2;74;144;217m raise\x1b[0m" in text  # blue ground: it is expected to be
    assert not re.search(r"48;2;[\d;]+m now", text)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_rows_fit_the_width(width: int) -> None:
    for line in plain(feature_view(hostile()), width).splitlines():
        assert cell_len(line) <= width


@pytest.mark.parametrize(
    "renderable",
    [feature_view(hostile()), feature_table([hostile()]), feature_line(hostile(), 1, 2)],
    ids=["view", "table", "line"],
)
def test_no_control_character_gets_through(renderable: RenderableType) -> None:
    assert not CONTROL.search(plain(renderable))
    only_colours = re.sub(r"\x1b\[[\d;]*m", "", coloured(renderable))
    assert not CONTROL.search(only_colours)
    assert "[31m" not in re.sub(r"␛\[31m", "", only_colours)


def test_markup_in_a_token_is_text() -> None:
    assert "[bold red]markup[/bold red]" in plain(feature_view(hostile()), width=200)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=8), st.integers(24, 60))
def test_any_tokens_are_harmless_and_fit(tokens: list[str], width: int) -> None:
    n = len(tokens)
    window = scored(record(tuple(tokens), (10.0,) * n, 1), *(0.0,) * n)
    base = explained(0, 0, 0.5)
    result = FeatureResult(base.key, "explained", explanation=base.explanation, test_sequences=(window,))
    text = plain(feature_view(result), width)
    assert not CONTROL.search(text)
    assert all(cell_len(line) <= width for line in text.splitlines())


def test_a_line_for_a_finished_feature_is_one_line() -> None:
    line = plain(feature_line(explained(3, 17, 0.8, "words " * 50), 4, 24), width=80)
    assert line.startswith(" 4/24 3/17")
    assert "0.80 [0.70, 0.90]  lookup 0.25" in line
    assert line.count("\n") == 1
    dead = plain(feature_line(without_explanation(1, 4, "dead", "it never fires"), 5, 24))
    assert dead.split() == ["5/24", "1/4", "dead:", "it", "never", "fires"]


def test_a_feature_without_explanation_shows_its_reason() -> None:
    result = FeatureResult(FeatureKey("blocks.0.hook_resid_post", 0, 1), "rare", "it fires in 7 documents")
    assert "rare: it fires in 7 documents" in plain(feature_view(result))


def test_a_rule_says_what_it_claims_and_the_score_without_it() -> None:
    assert "the token ' raise'  2 tokens, 1 active, score without it 0.10" in plain(feature_view(explained(0, 3, 0.9)))
    assert "score without it" not in plain(feature_view(replace(explained(0, 3, 0.9), contributions=())))


def test_the_table_of_corruptions_has_shares_in_percent_and_marks_what_is_not_noticed() -> None:
    table = corruption_table(
        (
            Noticed("corpus", "correlation", "half dropped", 8, 8, 4),
            Noticed("corpus", "f1", "half dropped", 7, 7, 3),
            Noticed("random", "auroc", "flat strengths", 2, 0, 0),
        )
    )
    rows = [line.split() for line in plain(table).splitlines()]
    assert rows[2:] == [
        ["the", "corpus", "n", "7–8", "–", "–", "–", "–"],
        ["correlation", "100", "50", "–", "–", "–", "–"],
        ["F1", "100", "43", "–", "–", "–", "–"],
        ["random", "sentences", "–", "–", "–", "n", "2", "–"],
        ["AUROC", "–", "–", "–", "0", "0", "–"],
    ]
    assert coloured(table).count("\x1b[31m") == 2
