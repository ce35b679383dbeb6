"""What is drawn of a sentence: levels, marks, errors in words, and which sentences come first."""

from dataclasses import replace

import pytest

from featureinterp.core import ScoredSequence, SequenceSimulation, WorstRecord, worst_first
from featureinterp.record import SOURCE_WORDS, ComplementaryRecordSource
from featureinterp.report.views import (
    TokenView,
    error_words,
    feedback_view,
    record_view,
    sentence_view,
)
from tests.report.features import SIMILAR_NEGATIVE, explained, record, scored


def test_the_error_of_a_window_is_summed_over_tokens_on_the_scale_of_levels() -> None:
    # Activations 10 and 4 of at most 10 are levels 5 and 2: errors 1, 2 and 0.5.
    window = scored(record(("a", "b", "c"), (10.0, 4.0, 0.0), 1), 4.0, 0.0, 0.5)
    assert window.squared_error() == pytest.approx(1 + 4 + 0.25)


def test_the_worst_windows_come_first_and_each_once() -> None:
    good = scored(record(("a",), (10.0,), 1), 5.0)
    bad = scored(record(("b",), (10.0,), 2), 0.0)
    middling = scored(record(("c",), (0.0,), 3, SIMILAR_NEGATIVE), 3.0)
    again = scored(record(("c",), (0.0,), 3, ComplementaryRecordSource.SIMILAR), 3.0)
    tie = scored(record(("d",), (0.0,), 4), 3.0)
    assert worst_first([good, middling, bad, again, tie]) == [bad, middling, tie, good]


def test_marks_follow_the_bounds_of_the_scores() -> None:
    window = scored(record(("a", "b", "c", "d", "e"), (0.1, 5.0, 0.0, 0.0, 0.0), 1), 1.0, 1.1, 1.0, 1.1, 0.0)
    assert [token.mark for token in sentence_view(window).tokens] == ["miss", "", "", "alarm", ""]


@pytest.mark.parametrize(
    ("truth", "expected", "levels"),
    [(0.0, 0.0, (0, 0)), (0.01, 0.49, (1, 0)), (1.49, 0.5, (1, 1)), (2.5, 4.49, (3, 4)), (5.0, 9.0, (5, 5))],
)
def test_heights_are_rounded_and_an_active_token_is_never_flat(
    truth: float, expected: float, levels: tuple[int, int]
) -> None:
    token = TokenView("", "a", truth, expected)
    assert (token.true_level, token.expected_level) == levels


def test_a_window_that_was_not_simulated_has_no_expectations() -> None:
    view = record_view(record((" a", "  ", "\n"), (10.0, 0.0, 0.0), 7))
    assert [(token.lead, token.text, token.expected, token.numbers) for token in view.tokens] == [
        (" ", "a", None, "true 5.0"),
        ("", "␣␣", None, ""),
        ("", "↵", None, ""),
    ]
    assert (view.squared_error, view.errors, view.source) == (None, (), "positives")


def test_errors_are_told_largest_first() -> None:
    window = record(("up", " down", "low", "fine", "\n"), (10.0, 0.0, 8.0, 2.0, 6.0), 1)
    expected = SequenceSimulation(window.tokens, (0.5, 3.0, 1.5, 1.0, 5.0))
    assert error_words(window, expected, most=4) == (
        "missed “up” (true 5.0, expected 0.5)",
        "false alarm on “ down” (true 0.0, expected 3.0)",
        "too low on “low” (true 4.0, expected 1.5)",
        "too high on “↵” (true 3.0, expected 5.0)",
    )
    assert len(error_words(window, expected)) == 3
    weak = replace(expected, expected_activations=(1.0,) * 5, claimed=(True, True, False, False, False))
    assert error_words(window, weak) == (
        "too low on “up” (true 5.0, expected 1.0)",
        "missed “low” (true 4.0, expected 1.0)",
        "missed “↵” (true 3.0, expected 1.0)",
    )
    assert [token.mark for token in sentence_view(ScoredSequence(window, weak)).tokens] == [
        "", "alarm", "miss", "miss", "miss",
    ]  # fmt: skip


def test_feedback_keeps_the_words_that_the_proposer_read() -> None:
    window = record(("a",), (10.0,), 1)
    assert feedback_view(WorstRecord(window, (0.0,), 0.7, ("as told",))).errors == ("as told",)
    assert feedback_view(WorstRecord(window, (0.0,), 0.7)).errors == ("missed “a” (true 5.0, expected 0.0)",)


def test_every_source_has_words() -> None:
    assert set(SOURCE_WORDS) == {source.value for source in ComplementaryRecordSource}
    assert list(SOURCE_WORDS)[:2] == ["same_token_negative", "similar_negative"]


def test_the_hand_made_feature_has_one_of_each() -> None:
    marks = [token.mark for sequence in explained(0, 0, 0.5).test_sequences for token in sentence_view(sequence).tokens]
    assert (marks.count("miss"), marks.count("alarm")) == (1, 1)
