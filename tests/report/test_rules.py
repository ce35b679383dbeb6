"""What rules add as it is shown, silence as a floor, the profile's numbers, and the code of the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sae_lens import SAE

from featureinterp.codec import encode
from featureinterp.core import StructuredExplanation
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.record import ComplementaryRecordSource
from featureinterp.report.pages.feature_views import profile_view, silent_scores
from featureinterp.report.pages.run_pages import write_report
from featureinterp.report.pages.snippets import snippets
from featureinterp.report.views import TokenView, record_view, rule_views, sentence_view, token_claims
from featureinterp.subject.embedded import sae_folder
from featureinterp.subject.subject import Subject
from tests.report.features import SUMMARY, explained, record, without_explanation

EMBEDDED = {"model": "embedded", "SAE": "embedded"}


def test_claims_are_counted_once_a_window_and_active_ones_apart() -> None:
    result = explained(0, 3, 0.9)
    again = replace(result.test_sequences[2].record, source=ComplementaryRecordSource.RANDOM)
    result = replace(result, test_sequences=(*result.test_sequences, replace(result.test_sequences[2], record=again)))
    first, second = rule_views(result)
    assert (first.n_claimed, first.n_active, first.n_windows, first.alone) == (2, 1, 2, (1,))
    assert (second.n_claimed, second.n_active, second.alone) == (0, 0, ())
    claims = token_claims(result)
    views = [sentence_view(pair, claims) for pair in result.test_sequences]
    assert [[token.rules for token in view.tokens] for view in views] == [
        [(), (0,), ()], [(), ()], [(0,), ()], [(), ()], [(0,), ()],
    ]  # fmt: skip
    assert views[0].tokens[1].classes == "t5 e5 r0"
    assert views[0].tokens[0].classes == ""


def test_a_run_made_before_contributions_has_no_rules_to_show(tmp_path: Path) -> None:
    older = replace(explained(0, 3, 0.9), contributions=(), profile=None)
    assert rule_views(older) == []
    assert profile_view(older) is None
    write_report([older], SUMMARY, tmp_path)
    page = (tmp_path / "features" / "0-3.html").read_text()
    assert "data-rule" not in page
    assert 'id="profile"' not in page


def test_silence_has_no_correlation_and_explains_no_deviation() -> None:
    for scores in silent_scores(explained(0, 3, 0.9)).values():
        assert scores.correlation.value is None
        assert scores.correlation.reason == "the expected activation is the same on every token"
        assert (scores.absolute_deviation_explained.value, scores.auroc.value, scores.recall.value) == (0.0, 0.5, 0.0)
        assert scores.false_positives_per_sentence.value == 0.0
    assert silent_scores(without_explanation(0, 1, "dead", "never")) == {}


@pytest.mark.parametrize(
    ("cause", "level", "told"), [(2.0, 5, "cause 5.0"), (0.19, 0, "cause 0.5"), (-1.0, -1, "cause -2.5"), (0.01, 0, "")]
)
def test_causes_are_told_on_a_scale_to_five(cause: float, level: int, told: str) -> None:
    with_cause = replace(
        record(("a", "b"), (0.0, 0.0), 1), holistic_expressions=(cause, 0.0), max_holistic_expression=2.0
    )
    token = record_view(with_cause).tokens[0]
    assert (token.cause_level, token.numbers) == (level, told)
    assert TokenView("", "a", 2.0, 3.0, cause=token.cause).numbers == ", ".join(
        filter(None, ("true 2.0, expected 3.0", told))
    )


def test_levels_of_the_histogram_add_up_and_every_bar_can_be_seen() -> None:
    profile = profile_view(explained(0, 3, 0.9))
    assert profile is not None
    assert sum(level.n_tokens for level in profile.levels) == sum(bar.n_tokens for bar in profile.bars) == 821
    assert [level.begins for level in profile.levels] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert max(bar.height for bar in profile.bars) == 100
    assert min(bar.height for bar in profile.bars) > 1
    assert profile.promoted[0].width == profile.suppressed[0].width == 100
    dead = replace(explained(0, 3, 0.9), profile=replace(explained(0, 3, 0.9).profile, histogram=(0,) * 50))  # pyright: ignore[reportArgumentType, reportCallIssue]
    drawn = profile_view(dead)
    assert drawn is not None
    assert (drawn.bars, drawn.n_active, drawn.share_active) == ((), 0, 0.0)


def result_of(latent: int) -> FeatureResult:
    return replace(explained(1, latent, 0.9), key=FeatureKey("blocks.1.hook_resid_post", 1, latent))


def test_the_code_of_a_page_runs_and_says_what_the_subject_says(
    embedded_subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report([result_of(7)], replace(SUMMARY, settings=EMBEDDED), tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in snippets(result_of(7), "1-7", EMBEDDED):
        exec("\n".join(snippet.lines), names)
    assert names["result"] == result_of(7)
    assert isinstance(names["explanation"], StructuredExplanation)
    sae = SAE.load_from_disk(sae_folder(1))
    assert bool((names["direction"] == sae.W_dec[7]).all())
    lines = capsys.readouterr().out.splitlines()
    model = embedded_subject.model
    tokens = model.tokenize(["Write any text here."])[0]
    assert [line.split(" ", 1)[1] for line in map(str.strip, lines)][-len(tokens) :] == [
        repr(token) for token in model.token_strings(tokens)
    ]
    assert len(lines) == len(tokens) + embedded_subject.prepend_bos


def test_the_code_names_a_local_sae_and_a_release_alike(tmp_path: Path) -> None:
    local = {"model": "embedded", "SAE": str(sae_folder(0).parent), "SAE id": "layer_{layer}"}
    direction = snippets(result_of(3), "1-3", local)[1]
    names: dict[str, object] = {}
    exec("\n".join(direction.lines), names)
    assert bool((names["direction"] == SAE.load_from_disk(sae_folder(1)).W_dec[3]).all())
    assert "from_pretrained" in "\n".join(direction.lines)
    assert [snippet.title for snippet in snippets(result_of(3), "1-3", {"model": "unknown", "SAE": "x"})] == [
        "Its result"
    ]


def test_names_in_the_code_are_strings_whatever_they_hold() -> None:
    hostile = {"model": '"); import os; ("', "SAE": "'\n<b>\u202e", "SAE id": "{layer}'\"\\"}
    for snippet in snippets(result_of(3), "1-3", hostile):
        code = "\n".join(snippet.lines)
        compile(code, "page", "exec")
        assert code.isascii()
        assert "\nimport os" not in code


def test_what_a_page_is_made_of_needs_nothing_but_the_run(tmp_path: Path) -> None:
    result = explained(0, 3, 0.9)
    write_report([result], SUMMARY, tmp_path)
    data = json.loads((tmp_path / "features" / "0-3.json").read_bytes())["data"]
    assert data["contributions"][0]["claims"] == {"1": [1], "3": [0]}
    assert data["profile"]["promoted"][0] == {"text": " up0", "logit": 2.0}
    assert encode(result)
