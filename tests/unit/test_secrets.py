"""Secrets are cut out of texts, in every form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp import secrets
from featureinterp.errors import InputError
from featureinterp.secrets import cut_out, without_secrets

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=80)


@given(SECRETS, st.randoms())
def test_a_secret_is_found_in_any_mixture_of_escapes(secret, rng) -> None:
    forms = ("{c}", "\\u{n:04x}", "\\u{n:04X}", "\\\\u{n:04x}", "%{n:02X}", "%25{n:02x}", "&#{n};", "&#x{n:x};")
    written = "".join(rng.choice(forms).format(c=c, n=ord(c)) for c in secret)
    assert cut_out(f"1 {written} 2", secret) == "1 [key] 2"


@given(st.text(max_size=40), SECRETS)
def test_texts_without_it_stay(text, secret) -> None:
    if secret not in text and not set("\\%&") & set(text):
        assert cut_out(text, secret) == text


def test_many_backslashes_take_no_time() -> None:
    assert cut_out("\\" * 200_000, "sk-or-v1-abcdef") == "\\" * 200_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("proxy http://me:pa:ss@10.0.0.1:3128 failed", "proxy http://[key]@10.0.0.1:3128 failed"),
        ("socks5://u:p@ss@h", "socks5://[key]@h"),
        ("'https://token@hub.example'", "'https://[key]@hub.example'"),
        ("GET https://h/v1?a=1&key=abc&b=2", "GET https://h/v1?a=1&key=[key]&b=2"),
        ("https://h/?access_token=abc", "https://h/?access_token=[key]"),
        ("local:m@http://127.0.0.1:8000/v1", "local:m@http://127.0.0.1:8000/v1"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_addresses_lose_their_passwords(text, shown) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY", "MY_PROXY_PASSWORD", "S3_SECRET"])
def test_an_error_holds_no_secret_of_the_environment(monkeypatch, name) -> None:
    monkeypatch.setenv(name, "0123456789abcdef/+")
    error = InputError("refused: 0123456789abcdef/+", "not 0123456789abcdef%2f%2B")
    assert (str(error), error.args) == ("refused: [key] (not [key])", ("refused: [key]",))


def test_an_error_holds_no_secret_of_a_dotenv(monkeypatch, tmp_path) -> None:
    from featureinterp.llm.api.providers import setting

    monkeypatch.setattr(secrets, "_noted", set())
    (tmp_path / ".env").write_text("OTHER_API_KEY=dotenv-secret-1\nNAME=not-a-secret\n")
    setting("FEATUREINTERP_BASE_URL", tmp_path)
    assert str(InputError("dotenv-secret-1 of not-a-secret")) == "[key] of not-a-secret"
