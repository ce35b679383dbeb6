"""Text made visible, and the HTML of notebooks."""

import re
import unicodedata
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from featureinterp.core import Rule, ScoredSimulation, StructuredExplanation
from featureinterp.display import rules_html, section_html, tokens_html, visible, visible_token
from featureinterp.record import SAEIndexId, SAEIndexRecord
from tests.report.features import HOSTILE_TOKENS, explained, hostile, record, without_explanation


class Fragment(HTMLParser):
    """The elements and the text of a fragment; every element must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append(tag)
        assert {name for name, _ in attrs} <= {"style", "title", "aria-hidden"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(alphabet=st.characters()))
def test_visible_text_has_only_characters_that_print(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(character)[0] != "C" for character in shown)
    assert visible(shown) == shown
    shown.encode()


@given(st.text(alphabet=st.characters(categories=("L", "N", "P"), max_codepoint=0x2FF)))
def test_ordinary_text_stays(text: str) -> None:
    assert visible(text) == text


def test_what_cannot_be_seen_gets_a_sign() -> None:
    assert visible("a\tb\r\n\x00\x1b\x7f\x9b\ufeff\ud83d") == "a⇥b␍↵␀␛␡⟨U+009B⟩⟨U+FEFF⟩⟨U+D83D⟩"
    assert [visible_token(token) for token in ("", " ", "   ", " a", "\n ")] == ["∅", "␣", "␣␣␣", " a", "↵ "]


@given(st.lists(st.tuples(st.text(max_size=6), st.floats(0, 5), st.floats(0, 5)), max_size=6))
def test_tokens_come_out_of_the_html_as_they_are_shown(tokens: list[tuple[str, float, float]]) -> None:
    texts, truth, expected = [t for t, _, _ in tokens], [t for _, t, _ in tokens], [e for _, _, e in tokens]
    fragment = Fragment(tokens_html(texts, truth, expected))
    assert fragment.text == "".join(visible_token(text) for text in texts)
    assert set(fragment.seen) <= {"div", "span"}


def test_tints_follow_the_levels() -> None:
    html = tokens_html(["a", "b", "c"], [5.0, 2.5, 0.0], [0.0, 5.0, 0.0])
    halves = re.findall(r"rgba\(230,126,34,(\S+?)\) 50%,rgba\(52,132,214,(\S+?)\) 50%", html)
    assert halves == [("0.60", "0.00"), ("0.30", "0.60")]
    assert 'title="true 2.5, expected 5.0"' in html
    assert "<span>c</span>" in html
    assert "gradient" not in tokens_html(["a"], [5.0])


def test_a_number_that_is_none_leaves_no_tint() -> None:
    assert "rgba(230,126,34,0.00)" in tokens_html(["a"], [float("nan")], [1.0])


def test_rules_and_sections_are_escaped() -> None:
    html = rules_html([(3, "<b>&"), (0, "\x1b")])
    assert "●●●○○" in html
    assert Fragment(html).text == "●●●○○ 3 <b>&○○○○○ 0 ␛"
    assert Fragment(section_html("<i>", note="<u>")).text == "<i><u>"


def test_an_explanation_shows_its_rules() -> None:
    html = StructuredExplanation((Rule("<script>", 4),))._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<b>4</b>" in html


def test_a_scored_simulation_shows_its_worst_sentences_first() -> None:
    result = explained(0, 1, 0.8)
    text = Fragment(ScoredSimulation(result.test_sequences, result.scores["random"])._repr_html_()).text
    assert text.startswith("correlation 0.400")
    assert text.index(" raising now") < text.index(" rise↵") < text.index("we raise it")


def test_a_record_shows_its_positives() -> None:
    positive = record((" raise", "\n"), (10.0, 0.0), 1)
    shown = SAEIndexRecord(SAEIndexId(3, 17), 10.0, 0.0, (positive,), (), (), (), ())._repr_html_()
    assert Fragment(shown).text == "layer 3, latent 171 positives, largest activation 10 raise↵"


def test_a_result_shows_its_rules_or_its_reason() -> None:
    text = Fragment(explained(3, 17, 0.8)._repr_html_()).text
    assert "latent 17: explained" in text
    assert "similar_negative 0.800 [0.700, 0.900]" in text
    assert "the token ' raise'" in text
    assert Fragment(without_explanation(0, 1, "dead", "never <fires>")._repr_html_()).text.endswith("never <fires>")


def test_a_hostile_result_is_text() -> None:
    fragment = Fragment(hostile()._repr_html_())
    assert set(fragment.seen) == {"div", "span", "b", "ul", "li"}
    for token in HOSTILE_TOKENS:
        assert visible_token(token) in fragment.text
