import pytest

from featureinterp.subject.pieces import piece_text


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
    assert piece_text(piece, byte_level) == text


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
