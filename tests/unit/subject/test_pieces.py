import json
from itertools import islice
from pydoc_data.topics import topics

import pytest
from tokenizers import BertWordPieceTokenizer, CharBPETokenizer
from transformers import CTRLTokenizer, PreTrainedTokenizerFast

from featureinterp.subject.pieces import byte_level_text, sentencepiece_text, token_texts


@pytest.mark.parametrize(
    ("piece", "byte_level", "text"),
    [
        ("Ġhello", True, " hello"),
        ("ĊĊ", True, "\n\n"),
        ("ĉx", True, "\tx"),
        ("Ã©", True, "é"),
        ("âĢ", True, "\\xe2\\x80"),
        ("<|endoftext|>", True, "<|endoftext|>"),
        ("▁the", False, " the"),
        ("<0x0A>", False, "\n"),
        ("<0xE2>", False, "\\xe2"),
        ("<0xZZ>", False, "<0xZZ>"),
    ],
)
def test_piece_text(piece, byte_level, text):
    assert (byte_level_text if byte_level else sentencepiece_text)(piece) == text


def test_byte_level_pieces_of_any_text_join_to_the_text(tiny_subject):
    text = "naïve — “日本” \t\r\n x=1; 😀 <script>"
    model = tiny_subject.model
    whole = b"".join(
        piece.encode("utf-8").decode("unicode_escape").encode("latin-1") if "\\x" in piece else piece.encode("utf-8")
        for piece in model.token_strings(model.tokenize([text])[0])
    )
    assert whole.decode("utf-8") == text


def test_ascii_text_is_its_token_strings_joined(tiny_subject):
    text = "def f(x):\n    return  x ** 2  # two  spaces\n"
    assert "".join(tiny_subject.model.token_strings(tiny_subject.model.tokenize([text])[0])) == text


TEXTS = list(islice((block for name in sorted(topics) for block in topics[name].split("\n\n")), 400))


def trained(tokenizer, vocabulary=900):
    tokenizer.train_from_iterator(TEXTS, vocab_size=vocabulary, show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, unk_token="<unk>")


@pytest.mark.parametrize("make", [BertWordPieceTokenizer, CharBPETokenizer], ids=["##", "</w>"])
@pytest.mark.parametrize("text", ["the function returns, or raises an error", "walking, in (x)!", *TEXTS[20:40]])
def test_pieces_of_words_join_to_what_the_tokenizer_decodes(make, text):
    tokenizer = trained(make(lowercase=True))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = token_texts(tokenizer, ids)
    assert "".join(pieces).strip() == tokenizer.decode(ids).strip()
    assert not any("##" in piece or "</w>" in piece for piece in pieces)


def test_wordpiece_puts_no_space_between_chinese_characters():
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(["今天天气很好。 it is fine"], vocab_size=200, show_progress=False)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, unk_token="[UNK]")
    ids = wrapped("今天天气很好。", add_special_tokens=False)["input_ids"]
    assert "".join(token_texts(wrapped, ids)) == "今天天气很好。"


def test_a_tokenizer_without_a_decoder_is_read_by_its_marks(tmp_path):
    vocabulary = ["<unk>", "wo@@", "rd", "of", "Z@@", "x@@", "q@@"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nw o\nr d</w>\no f</w>\n")
    tokenizer = CTRLTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    ids = tokenizer("word of word", add_special_tokens=False)["input_ids"]
    assert token_texts(tokenizer, ids) == ["wo", "rd ", "of ", "wo", "rd "]
