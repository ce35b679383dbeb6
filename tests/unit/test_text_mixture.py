"""Gathered texts: formats, documents, near-duplicates."""

import gzip
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import text_mixture
from training.text_mixture import LONGEST, GatherError, NearDuplicates, documents_of, gather, is_text
from training.text_readers import dictionary, fortunes, html, lines, plain, pod, r_strings, speeches
from training.text_sources import SOURCES, Source

_SENTENCE = "the quick brown fox jumps over a lazy dog while seven other animals look on and say nothing"


def told(seed: int, n: int = 60) -> str:
    words = _SENTENCE.split()
    return " ".join(words[(seed * 7 + i * (seed + 1)) % len(words)] + str(seed % 3) * (i % 5 == 0) for i in range(n))


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters=" \n"), min_size=1, max_size=5000), max_size=8))
def test_documents_hold_every_character_in_order_and_none_is_too_long(texts):
    made = list(documents_of(texts))
    assert all(0 < len(document) <= LONGEST for document in made)
    assert "".join(made).replace("\n", "") == "".join(texts).replace("\n", "")


def test_long_paragraphs_are_cut_at_spaces():
    text = " ".join(["word"] * 1000)
    assert [len(document.split("word")) - 1 for document in documents_of([text])] == [400, 400, 200]


def test_text_is_long_enough_and_of_english_letters():
    prose = told(1)
    assert is_text(prose)
    assert not is_text(prose[:100])
    assert not is_text("1, 2, 3; " * 100)
    assert not is_text("Не говори никому об этом ни слова. " * 20)


def test_a_document_that_repeats_half_of_another_is_seen():
    memory = NearDuplicates()
    first = " ".join(f"word{n}" for n in range(400))
    changed = first.replace("word200 ", "else ")
    other = " ".join(f"other{n}" for n in range(400))
    assert [memory.seen(text) for text in (first, changed, other, first)] == [False, True, False, True]


def test_formats_give_their_paragraphs():
    page = (
        b"<html><head><title>No</title></head><body><p>One &amp;\n two</p><pre>code</pre><ul><li>three</li></ul></body>"
    )
    assert [text for text in html(page) if text] == ["One & two", "three"]
    assert plain(b"a\r\nb\r\n\r\nc") == ["a b", "c"]
    assert lines(b"a\nb\n\nc\n") == ["a\nb", "c"]
    assert fortunes(b"One.\n\t-- Me\n%\nTwo.\n") == ["One.\n -- Me", "Two."]
    articles = gzip.compress(
        b"abet\n    v 1: assist [syn: {help},\n       {aid}]\nable\n    adj 1: having means [1913 Webster]\n"
    )
    assert dictionary(articles) == ["abet v 1: assist", "able adj 1: having means"]
    assert pod(
        b"=head1 NAME\n\nSome B<bold> text.\n\n  verbatim\n\nMore C<< $x->y >> and L<perlop> or C<a-E<gt>b> here."
    ) == [
        "Some bold text.",
        "More $x->y and perlop or a->b here.",
    ]
    assert speeches(b'[{"name": "x", "speeches": ["A: Hello.\\nB: Yes."]}]') == ["A: Hello.", "B: Yes."]


def test_the_strings_of_an_r_database_are_read():
    def block(texts):
        body = b"".join(b"\x00\x04\x00\x09" + struct.pack(">i", len(text)) + text for text in texts)
        return struct.pack(">i", len(body)) + zlib.compress(b"X\n" + body)

    data = block([b"It was", b"a day.", b"", b"Another."]) + block([b"Third."])
    assert r_strings(data) == ["It was a day.", "Another.", "Third."]


@pytest.fixture
def packages(tmp_path: Path):
    """Folder with an unpacked package, as if fetched."""
    folder = tmp_path / "packages" / "debian-tales"
    folder.mkdir(parents=True)
    (folder / "VERSION").write_text("1.0-1")
    texts = [told(seed) for seed in range(30)]
    (folder / "tales.txt").write_text("\n%\n".join([*texts, texts[0]] * 8))
    return tmp_path


def source(**changes) -> Source:
    given = {"registry": "debian", "package": "tales", "genre": "general", "licence": "public domain"}
    return Source(**{**given, "files": "*.txt", "reader": fortunes, "characters": 10**6, **changes})


def test_gathered_text_is_kept_with_its_sources_and_read_again(packages, monkeypatch):
    documents = gather(packages, [source()])
    assert documents
    assert len(set(documents)) == len(documents)
    assert (packages / "sources.json").read_text().count("1.0-1") == 1
    monkeypatch.setattr(text_mixture, "fetched", lambda *_: pytest.fail("fetched again"))
    assert gather(packages, [source()]) == documents


def test_no_source_gives_more_than_its_share(packages):
    assert sum(map(len, gather(packages, [source(characters=3000)]))) <= 3000 + LONGEST


def test_a_package_without_the_files_is_an_error(packages):
    with pytest.raises(GatherError, match="package tales has no file"):
        gather(packages, [source(files="*.none")])


def test_general_english_may_be_more_than_half_of_the_text():
    shares = {
        genre: sum(each.characters for each in SOURCES if each.genre == genre) for genre in ("general", "technical")
    }
    assert shares["general"] > shares["technical"] > 0
