"""Text made visible, and the HTML of notebooks."""

import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.core import ExplainerResult, Rule, ScoredSimulation, StructuredExplanation
from featureinterp.display import rules_html, section_html, tokens_html, tree_html, tree_order, visible, visible_token
from featureinterp.experiment.store import RunStore
from featureinterp.record import SAEIndexId, SAEIndexRecord
from featureinterp.report.views import mark_of
from tests.report.features import HOSTILE_TOKENS, SUMMARY, explained, hostile, record, without_explanation


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
        assert {name for name, _ in attrs} <= {"style", "title", "aria-hidden", "scope"}

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
    html = tokens_html(["a", "b", "c"], [5.0, 2.5, 0.0], [0.0, 5.0, 0.0], [False, True, False])
    halves = re.findall(r"rgba\(230,126,34,(\S+?)\) 50%,rgba\(52,132,214,(\S+?)\) 50%", html)
    assert halves == [("0.45", "0"), ("0.225", "0.45")]
    assert 'title="true 2.5, expected 5.0"' in html
    assert 'title="missed: true 5.0, expected 0.0"' in html
    assert "<span>c</span>" in html
    assert "gradient" not in tokens_html(["a"], [5.0])


def test_a_number_that_is_none_leaves_no_tint() -> None:
    assert "rgba(230,126,34,0)" in tokens_html(["a"], [float("nan")], [1.0])


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


def test_errors_are_told_by_underlines() -> None:
    claimed = [True, False, False, True, False]
    html = tokens_html(["hit", "miss", "weak", "alarm", "quiet"], [5, 0.01, 5, 0, 0], [1.5, 1, 0, 1, 2], claimed)
    marks = re.findall(r"underline (dashed|wavy) .*?>(\w+)<", html)
    assert marks == [("dashed", "miss"), ("dashed", "weak"), ("wavy", "alarm")]
    for truth in (0.0, 0.5, 5.0):
        for expected in (0.0, 1.0, 5.0):
            for claims in (False, True):
                fault = {"miss": "missed", "alarm": "false alarm", "": None}[mark_of(truth, claims)]
                html = tokens_html(["a"], [truth], [expected], [claims])
                assert (f'title="{fault}: ' in html) == (fault is not None)
    assert "underline" not in tokens_html(["a"], [5.0], [0.0])
    assert "underline" not in tokens_html(["a"], [5.0])


THEMES = {
    "Jupyter light": ((0, 0, 0, 0.87), (255, 255, 255)),
    "Jupyter dark": ((255, 255, 255, 0.87), (17, 17, 17)),
    "VS Code light": ((59, 59, 59, 1.0), (255, 255, 255)),
    "VS Code dark": ((204, 204, 204, 1.0), (31, 31, 31)),
}


@pytest.mark.parametrize("theme", THEMES)
def test_text_on_the_strongest_tints_has_the_contrast_of_aa(theme: str) -> None:
    (*ink, alpha), ground = THEMES[theme]
    text = mixed(tuple(ink), alpha, ground)
    html = tokens_html(["a"], [5.0], [5.0])
    for red, green, blue, opacity in re.findall(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", html):
        behind = mixed((int(red), int(green), int(blue)), float(opacity), ground)
        lighter, darker = sorted((luminance(mixed(tuple(ink), alpha, behind)), luminance(behind)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (theme, red)
    assert luminance(text) != luminance(ground)


def mixed(colour: tuple[float, ...], opacity: float, ground: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(opacity * c + (1 - opacity) * g for c, g in zip(colour, ground, strict=True))


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def test_a_record_shows_its_positives() -> None:
    positive = record((" raise", "\n"), (10.0, 0.0), 1)
    shown = SAEIndexRecord(SAEIndexId(3, 17), 10.0, 0.0, (positive,), (), (), (), ())._repr_html_()
    assert Fragment(shown).text == "layer 3, latent 171 positives, largest activation 10 raise↵"


def test_a_result_shows_its_rules_or_its_reason() -> None:
    text = Fragment(explained(3, 17, 0.8)._repr_html_()).text
    assert "latent 17: explained" in text
    assert "test correlation withexplanationtoken lookupshort lookupback offconstant zeroshuffled" in text
    assert (
        "similar negatives0.800 [0.700, 0.900]0.250 [0.200, 0.300]0.2100.270"
        "undefined: the expected activation is constant-0.050 [-0.100, 0.000]random sentences0.4000.300––––" in text
    )
    assert "▸ 0: train 0.500, valid 0.450: [5] the word 'raise'" in text
    assert "★ 2: train 0.600, valid 0.500: [5] the token ' raise'; [2] words ending in 'ing'" in text
    assert text.index("★ 2") < text.index("· 1: failed: the answer is not JSON")
    assert "the token ' raise'" in text
    assert Fragment(without_explanation(0, 1, "dead", "never <fires>")._repr_html_()).text.endswith("never <fires>")


def test_a_hostile_result_is_text() -> None:
    fragment = Fragment(hostile()._repr_html_())
    assert set(fragment.seen) <= {
        "div", "span", "b", "ul", "li", "details", "summary", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    for token in HOSTILE_TOKENS:
        assert visible_token(token) in fragment.text


def test_a_rule_and_a_window_and_scores_show_themselves() -> None:
    assert Fragment(Rule("<b>", 2)._repr_html_()).text == "●●○○○ 2 <b>"
    assert Fragment(record((" a", "<b>"), (1.0, 0.0), 1)._repr_html_()).text == " a<b>"
    text = Fragment(explained(0, 1, 0.8).scores["random"]._repr_html_()).text
    assert "correlation0.400" in text
    assert "precisionundefined: no token is claimed" in text


def test_a_latents_records_show_each_complementary_list() -> None:
    negative = record((" quiet",), (0.0,), 2)
    shown = SAEIndexRecord(SAEIndexId(3, 17), 10.0, 0.0, (), (negative,), (), (), (negative,) * 7)._repr_html_()
    text = Fragment(shown).text
    assert "random sentences: 1 quiet" in text
    assert "similar negatives: 7" + " quiet" * 5 in text
    assert "projected" not in text


def test_a_search_shows_its_tree_with_the_best_path() -> None:
    attempts = explained(0, 1, 0.8).attempts
    text = Fragment(ExplainerResult.of(attempts, [attempts[2]])._repr_html_()).text
    assert text.startswith("the best explanation4 attempts")
    assert text.index("▸ 0") < text.index("★ 2") < text.index("· 1")
    assert Fragment(ExplainerResult.of(attempts[1:2], [])._repr_html_()).text.startswith("no explanation1 attempts")


@given(st.dictionaries(st.integers(0, 9), st.none() | st.integers(0, 9), max_size=8))
def test_a_tree_shows_every_node_that_hangs_on_a_root_once(parents: dict[int, int | None]) -> None:
    order = tree_order(parents)
    depths = dict(order)
    assert len(depths) == len(order)
    for node, parent in parents.items():
        if node in depths and parent in depths:
            assert depths[node] == depths[parent] + 1
    acyclic = {node: parent for node, parent in parents.items() if parent is None or parent < node}
    assert {node for node, _ in tree_order(acyclic)} == set(acyclic)
    Fragment(tree_html(parents, {node: (str(node), "") for node in parents}, max(parents, default=None)))


def test_a_run_shows_its_features(tmp_path) -> None:
    with RunStore.create(tmp_path / "run", {"seed": 0}, {"model": "<tiny>", "SAE": "x"}) as store:
        for result in (explained(0, 3, 0.9), without_explanation(1, 4, "dead", "it never fires")):
            store.put(result)
        store.ask([explained(2, 5, 0.1).key])
        text = Fragment(store._repr_html_()).text
    assert text.startswith("run runmodel <tiny>; SAE x; 1 dead, 1 explained, 1 waiting")
    assert "0/3[5] the token ' raise'; [2] words ending in 'ing'0.900 [0.800, 1.000]" in text
    assert text.endswith("1/4it never fires–")
    assert "not finished; 3 waiting" in Fragment(SUMMARY._repr_html_()).text
