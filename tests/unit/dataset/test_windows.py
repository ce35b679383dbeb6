from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from featureinterp.dataset.corpus.windows import WindowCounts, WindowParams, Windows, cut_windows
from featureinterp.errors import CorpusError, DataFolderError, InputError


class Characters:
    """A tokenizer whose tokens are characters; '#' is special."""

    special_token_ids = frozenset({ord("#"), 1})
    vocabulary_size = 128

    def __init__(self, bos_token_id: int | None = 1) -> None:
        self.bos_token_id = bos_token_id

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(character) for character in text] for text in texts]


def texts_of(windows: Windows) -> list[str]:
    return ["".join(map(chr, row)) for row in windows.text_tokens]


def test_windows_never_cross_a_document_and_remainders_are_dropped():
    windows, counts = cut_windows(["abcdefg", "hi", "jklm"], Characters(), WindowParams(length=3))
    assert texts_of(windows) == ["abc", "def", "jkl"]
    assert windows.documents.tolist() == [0, 0, 2]
    assert windows.tokens.dtype == np.int32 and windows.documents.dtype == np.int32
    assert counts == WindowCounts(documents=3, not_ascii=0, too_short=1, special=0, duplicates=0)


def test_a_document_is_cut_to_eight_characters_per_token():
    windows, _ = cut_windows(["".join(chr(65 + i) for i in range(50))], Characters(), WindowParams(length=2))
    assert "".join(texts_of(windows)) == "".join(chr(65 + i) for i in range(16))


def test_what_is_dropped_is_counted_by_its_reason():
    documents = ["abcabc", "dé", "ab#def", "abc", "", "xyz"]
    windows, counts = cut_windows(documents, Characters(), WindowParams(length=3))
    assert texts_of(windows) == ["abc", "def", "xyz"]
    assert windows.documents.tolist() == [0, 2, 5]
    assert counts == WindowCounts(documents=6, not_ascii=1, too_short=1, special=1, duplicates=2)


def test_other_characters_are_kept_on_demand():
    windows, counts = cut_windows(["déf"], Characters(), WindowParams(length=3, ascii_only=False))
    assert texts_of(windows) == ["déf"] and counts.not_ascii == 0


def test_bos_is_put_in_front_only_where_asked_for():
    windows, _ = cut_windows(["abcdef"], Characters(), WindowParams(length=3, prepend_bos=True))
    assert windows.has_bos
    assert windows.tokens.tolist() == [[1, 97, 98, 99], [1, 100, 101, 102]]
    assert windows.text_tokens.tolist() == [[97, 98, 99], [100, 101, 102]]


def test_a_model_without_bos_is_told_before_the_corpus_is_read():
    read = []
    corpus = (read.append(text) or text for text in ["abc"])
    with pytest.raises(InputError, match="windows begin with a BOS token.*tokenizer_config.json"):
        cut_windows(corpus, Characters(bos_token_id=None), WindowParams(length=3, prepend_bos=True))
    assert read == []


def test_reading_stops_when_there_are_enough_windows():
    def documents():
        yield "abcdef"
        yield "ghijkl"
        for number in range(1100):
            yield f"{number:04d}"
        raise AssertionError("read too far")

    windows, counts = cut_windows(documents(), Characters(), WindowParams(length=3, max_windows=3))
    assert texts_of(windows) == ["abc", "def", "ghi"]
    assert counts.documents == 2


def test_token_ids_are_only_cut_and_a_special_token_ends_a_document():
    ids = [np.array([1, *map(ord, "abcdefg"), ord("#"), *map(ord, "hijk")]), np.array([1, 1]), np.array([*b"xyz"])]
    windows, counts = cut_windows(ids, Characters(), WindowParams(length=3, prepend_bos=True))
    assert texts_of(windows) == ["abc", "def", "hij", "xyz"]
    assert windows.documents.tolist() == [0, 0, 1, 2]
    assert windows.tokens[:, 0].tolist() == [1, 1, 1, 1]
    assert counts == WindowCounts(documents=3, not_ascii=0, too_short=0, special=0, duplicates=0)


def test_long_documents_of_token_ids_are_not_shortened():
    windows, _ = cut_windows([np.arange(2, 32)], Characters(), WindowParams(length=2))
    assert windows.text_tokens.ravel().tolist() == list(range(2, 32))


@pytest.mark.parametrize("wrong", [-1, 128])
def test_token_ids_of_another_tokenizer_are_refused(wrong: int):
    with pytest.raises(CorpusError, match=f"document 1 .* token id {wrong}, the model's vocabulary ends at 127"):
        cut_windows([np.array([5, 6, 7]), np.array([5, wrong, 7])], Characters(), WindowParams(length=3))


def test_progress_is_told_while_reading():
    told: list[int] = []
    cut_windows((f"{n:04d}" for n in range(1500)), Characters(), WindowParams(length=4), told.append)
    assert told == [512, 1024]


def test_a_corpus_without_a_window_says_why():
    with pytest.raises(
        CorpusError, match=r"no window of 4 tokens \(of 3 documents 1 are not ASCII and 1 are too short"
    ):
        cut_windows(["é", "abc", "#bcd"], Characters(), WindowParams(length=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 1}, "windows of 1 tokens are too short"),
        ({"max_windows": 0}, "a data set of 0 windows is too small"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        WindowParams(**changes)


@pytest.mark.parametrize("prepend_bos", [False, True])
def test_windows_survive_the_disk(tmp_path: Path, prepend_bos: bool):
    windows, _ = cut_windows(["abcdef", "xyz"], Characters(), WindowParams(length=3, prepend_bos=prepend_bos))
    windows.save(tmp_path / "tokens.safetensors")
    again = Windows.load(tmp_path / "tokens.safetensors")
    assert again.has_bos == prepend_bos
    np.testing.assert_array_equal(again.tokens, windows.tokens)
    np.testing.assert_array_equal(again.documents, windows.documents)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "tokens.safetensors"
    with pytest.raises(DataFolderError, match=r"tokens\.safetensors cannot be read as arrays"):
        Windows.load(path)
    path.write_bytes(b"half")
    with pytest.raises(DataFolderError, match=r"tokens\.safetensors cannot be read as arrays"):
        Windows.load(path)
