"""The files of a report, read without a browser: what they hold, and that no text breaks out."""

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from featureinterp import codec
from featureinterp.core import BEFORE_CLAIMS, StructuredExplanation
from featureinterp.display import visible, visible_token
from featureinterp.errors import StorageError
from featureinterp.experiment.result import FeatureKey, FeatureResult, RunSummary
from featureinterp.report.feature_row import LONGEST_TOKEN
from featureinterp.report.pages.index import LONGEST_WORDS, script_json
from featureinterp.report.pages.run_pages import N_WORST, feature_json, write_report
from featureinterp.report.pages.snippets import result_code
from tests.report.features import (
    HOSTILE_TOKENS,
    SIMILAR_NEGATIVE,
    SUMMARY,
    all_kinds,
    explained,
    hostile,
    record,
    scored,
)


class Page(HTMLParser):
    """A page as a parser sees it: its elements, its attributes and its text by element."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tokens: list[str] = []
        self.everything = ""
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag
        if tag == "i":
            self.tokens.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.everything += data
        if self._open == "i":
            self.tokens[-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_a_page_of_a_run_made_before_claims_says_so(tmp_path: Path) -> None:
    told = "This run was made before claims were stored"
    new = explained(0, 1, 0.5)
    old = {
        source: replace(scores, false_positives_expected_per_sentence=BEFORE_CLAIMS)
        for source, scores in new.scores.items()
    }
    write_report([new, replace(new, key=replace(new.key, latent=2), scores=old)], SUMMARY, tmp_path)
    assert told not in Page(tmp_path / "features" / "0-1.html").everything
    assert told in Page(tmp_path / "features" / "0-2.html").everything


def pages(report: Path) -> list[Path]:
    return [report / "index.html", *sorted((report / "features").glob("*.html"))]


def test_every_feature_has_a_page_and_a_file_of_data(report: Path) -> None:
    names = {f"{result.key.layer}-{result.key.latent}" for result in all_kinds()}
    assert {path.stem for path in (report / "features").glob("*.html")} == names
    assert {path.stem for path in (report / "features").glob("*.json")} == names
    assert {path.name for path in report.iterdir()} == {
        "index.html",
        "report.css",
        "index.js",
        "features.js",
        "feature.js",
        "features",
    }


def test_no_text_becomes_an_element_or_an_attribute(report: Path) -> None:
    for path in pages(report):
        page = Page(path)
        sources = [script.get("src", script.get("type", "")) for script in page.all("script")]
        assert sources == (["features.js", "index.js"] if path.stem == "index" else ["../feature.js"])
        assert not {tag for tag, _ in page.elements} & {"img", "style", "iframe", "object", "base"}
        for _, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_nothing_is_fetched_from_elsewhere(report: Path) -> None:
    for path in pages(report):
        for tag, attributes in Page(path).elements:
            for name in ("src", "href"):
                target = attributes.get(name, "").split("#")[0]
                if target and target != "data:,":
                    assert (path.parent / target).is_file(), (path.name, tag, target)
    for asset in ("report.css", "index.js", "feature.js"):
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", (report / asset).read_text())


def test_hostile_tokens_are_shown_as_text(report: Path) -> None:
    page = Page(report / "features" / "5-99.html")
    for token in HOSTILE_TOKENS:
        assert visible_token(token) in page.tokens
    assert "{{7*7}}" in page.everything
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202e\u2028\ud800-\udfff]", page.everything)


def test_a_dead_feature_says_why_on_its_page(report: Path) -> None:
    page = Page(report / "features" / "1-4.html")
    assert "it never fires on the corpus" in page.everything
    assert "What breaks this explanation" not in page.everything


def headline_of(result: FeatureResult, folder: Path) -> str:
    """Return the text of the head of a feature's scores, on one line."""
    write_report([result], SUMMARY, folder)
    key = result.key
    page = (folder / "features" / f"{key.layer}-{key.latent}.html").read_text()
    head = page[page.index('<div class="headline">') : page.index("<h2>Score and baselines")]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", head)).split())


def test_the_head_of_the_scores_begins_with_the_verdict_and_its_scores_with_margins(tmp_path: Path) -> None:
    head = headline_of(explained(0, 3, 0.9), tmp_path)
    assert head.startswith(
        "Score beats its baselines score explanation over the token table "
        "correlation on the corpus exact, every window 0.75 [0.73, 0.77] 0.04 [0.01, 0.07] "
        "correlation, same-token negatives 0.70 [0.60, 0.80] 0.11 [−0.02, 0.24] "
        "false claims per sentence, same-token negatives 0.75 [0.00, 1.00] −0.50 [−0.90, −0.10]"
    )


def test_scores_of_drawn_windows_are_named_estimates(tmp_path: Path) -> None:
    exact = explained(0, 3, 0.9)
    assert exact.corpus is not None
    drawn = replace(exact, corpus=replace(exact.corpus, is_exact=False), best_table="back_off")
    head = headline_of(drawn, tmp_path)
    assert "correlation on the corpus estimated from drawn windows 0.75" in head
    assert "over the back-off table" in head


def test_a_run_from_before_the_corpus_was_scored_opens_and_is_untested(tmp_path: Path) -> None:
    new = explained(0, 3, 0.9)
    tested = {name: each for name, each in new.scores.items() if name != "same_token_negative"}
    floors = {name: new.floors[name] for name in ("token_lookup", "shuffled")}
    head = headline_of(replace(new, corpus=None, best_table="", margins={}, scores=tested, floors=floors), tmp_path)
    assert head.startswith("Score untested (it was not scored on the corpus) score explanation correlation, ")
    assert "correlation, similar negatives 0.90 [0.80, 1.00] false claims" in head
    assert "on the corpus exact" not in head


def test_baselines_are_named_in_words(tmp_path: Path) -> None:
    quoting = explained(0, 3, 0.9, "the tokens ' raise', ' rise', ' lift'")
    write_report([quoting], SUMMARY, tmp_path)
    page = html.unescape((tmp_path / "features" / "0-3.html").read_text())
    for words in ("token table", "token table of 4 strings", "back-off table", "another feature’s explanation"):
        assert f"</span>{words}</td>" in page
    with_sentences = {pair.record.source.value for pair in quoting.test_sequences if pair.record.source}
    assert page.count("</span>constant zero</td>") == len(with_sentences)


def test_a_page_says_what_breaks_the_explanation_worst_first(tmp_path: Path) -> None:
    windows = [scored(record((f"w{i}",), (0.0,), i, SIMILAR_NEGATIVE), 5.0 * i / 20) for i in range(20)]
    reason = "not chosen by valid, where its score is undefined: the feature is silent"
    shown = replace(explained(0, 1, 0.5), contributions=(), test_sequences=tuple(windows), reason=reason)
    write_report([shown], RunSummary("x"), tmp_path)
    text = (tmp_path / "features" / "0-1.html").read_text()
    assert f"It was {reason}." in text
    worst = text[text.index("What breaks this explanation") : text.index("All sentences")]
    assert re.findall(r">(w\d+)</i>", worst) == [f"w{i}" for i in range(19, 19 - N_WORST, -1)]
    assert all(f">w{i}</i>" in text for i in range(20))


def test_a_page_shows_the_whole_search(report: Path) -> None:
    text = (report / "features" / "0-3.html").read_text()
    tree = text[text.index("<h2>Search") :]
    assert re.findall(r"<b>#(\d)</b>", tree) == ["0", "2", "3", "1"]
    assert "Failed: the answer is not JSON" in tree
    assert "Converged: no change of one rule lowers the error" in tree
    assert re.findall(r'<li class="([^"]*failed[^"]*)"', tree) == ["depth-0 failed"]
    assert "Add the ending." in tree
    assert "train score without it: 0.625 instead of 0.500" in tree
    chosen = re.findall(r'<li class="([^"]*chosen[^"]*)"', tree)
    assert chosen == ["depth-1 path chosen"]


def test_features_lead_from_one_to_the_next(report: Path) -> None:
    links = {path.stem: Page(path).all("a") for path in pages(report)[1:]}
    step = {name: {a.get("rel", ""): a["href"] for a in anchors} for name, anchors in links.items()}
    assert step["0-12"]["prev"] == "0-3.html"
    assert step["0-12"]["next"] == "1-4.html"
    assert "prev" not in step["0-3"]
    assert "next" not in step["5-99"]


def table_of(report: Path) -> dict[str, list]:
    text = (report / "features.js").read_text(encoding="ascii")
    [inside] = re.findall(r"\AglobalThis\.featureTable=(.*);\n\Z", text)
    assert not set(inside) & set("<>&\n")
    return json.loads(inside)


def test_data_beside_the_index_reads_back(report: Path) -> None:
    table = table_of(report)
    assert list(zip(table["layer"], table["latent"], table["status"], strict=True)) == [
        (result.key.layer, result.key.latent, result.status) for result in all_kinds()
    ]
    assert table["score"][0] == [0.9, 0.8, 1.0]
    assert table["score"][-1] is None
    assert table["words"][-1] == [visible("".join(HOSTILE_TOKENS[:-1]))]
    assert table["tokens"][0] == [" raise", " raising"]
    assert table["name"] == ["0-3", "0-12", "1-4", "1-7", "2-5", "2-6", "5-99"]


def test_long_texts_are_cut_in_the_table(tmp_path: Path) -> None:
    long = replace(explained(0, 1, 0.5, "a" * 10_000), train_positives=(record(("b" * 10_000,), (10.0,), 1),))
    table = table_of(write_report([long], RunSummary("x"), tmp_path).parent)
    assert table["words"][0][0] == "a" * (LONGEST_WORDS - 1) + "…"
    assert table["tokens"][0] == ["b" * (LONGEST_TOKEN - 1) + "…", " raise", " raising"]


def test_script_json_refuses_what_is_not_json() -> None:
    hostile_text = "</script>&\u2028\u2029<!--"
    assert json.loads(script_json([hostile_text, 1.5, None])) == [hostile_text, 1.5, None]
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def test_the_file_of_data_is_the_result(report: Path) -> None:
    for result in all_kinds()[:-1]:
        path = report / "features" / f"{result.key.layer}-{result.key.latent}.json"
        assert codec.decode(path.read_bytes(), FeatureResult) == result


def test_the_file_of_data_holds_hostile_text_but_lone_surrogates() -> None:
    odd = replace(hostile(), density=float("nan"))
    data = json.loads(feature_json(odd))["data"]
    tokens = data["test_sequences"][0]["record"]["tokens"]
    assert tokens == ["\ufffd" if token == "\ud83d" else token for token in HOSTILE_TOKENS]
    assert data["density"] is None


def test_the_python_on_the_page_gives_the_result(report: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(report)
    names: dict[str, object] = {}
    exec("\n".join(result_code(all_kinds()[0], "0-3")), names)
    assert names["result"] == all_kinds()[0]
    assert names["explanation"] == all_kinds()[0].explanation
    lines = result_code(hostile(), "5-99")
    written = "\n".join([lines[3], *lines[lines.index("# The words alone:") :]])
    assert written.isascii()
    assert isinstance(hostile().explanation, StructuredExplanation)
    exec(written, names)
    assert names["explanation"] == hostile().explanation


def test_two_hooks_with_the_same_latent_get_their_own_pages(tmp_path: Path) -> None:
    first, other = explained(0, 1, 0.5), replace(explained(0, 1, 0.6), key=FeatureKey("../../etc/x", 0, 1))
    write_report([first, other, other], RunSummary("x"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "features").glob("*.html")) == [
        "0-1-_etc_x.html",
        "0-1-_etc_x_.html",
        "0-1.html",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_report_of_nothing(tmp_path: Path) -> None:
    assert "0 features" in write_report([], RunSummary("Empty"), tmp_path).read_text()


def test_the_first_page_of_a_usual_run_is_small(tmp_path: Path) -> None:
    index = write_report([explained(k % 6, k, 0.5) for k in range(24)], RunSummary("x"), tmp_path)
    size = sum((index.parent / name).stat().st_size for name in ("index.html", "index.js", "report.css"))
    assert size < 100_000


def test_a_full_disk_or_a_file_in_the_way_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match="could not be written"):
        write_report([explained(0, 1, 0.5)], RunSummary("x"), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "in the way"


def test_an_unfinished_run_says_so(report: Path, tmp_path: Path) -> None:
    assert "not finished" in (report / "index.html").read_text()
    assert "3 waiting" in (report / "index.html").read_text()
    assert "not finished" not in write_report([], RunSummary("x"), tmp_path).read_text()
