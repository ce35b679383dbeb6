"""Names of models, addresses, and where keys come from."""

import os

import pytest

from featureinterp.errors import EndpointConfigError, InputError
from featureinterp.llm.api.providers import PROVIDERS, find_key, parse_model_name, setting

LOCAL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("text", "name", "base_url"),
    [
        ("openrouter:meta-llama/llama-4-scout", "openrouter:meta-llama/llama-4-scout", "https://openrouter.ai/api/v1"),
        ("meta-llama/llama-4-scout", "openrouter:meta-llama/llama-4-scout", "https://openrouter.ai/api/v1"),
        ("qwen/qwen3-8b:free", "openrouter:qwen/qwen3-8b:free", "https://openrouter.ai/api/v1"),
        ("openai:gpt-4.1-mini", "openai:gpt-4.1-mini", "https://api.openai.com/v1"),
        ("gemini:gemini-2.5-flash", "gemini:gemini-2.5-flash", PROVIDERS["gemini"].base_url),
        (f"local:llama3.2:3b@{LOCAL}/", "local:llama3.2:3b", LOCAL),
        (f"local:google/gemma-2-9b-it@{LOCAL}", "local:google/gemma-2-9b-it", LOCAL),
        (f"local:name@work@{LOCAL}", "local:name@work", LOCAL),
        ("openai:m@https://proxy.example/openai/v1", "openai:m", "https://proxy.example/openai/v1"),
    ],
)
def test_a_name_says_provider_model_and_address(text, name, base_url) -> None:
    endpoint = parse_model_name(text)
    assert (endpoint.name, endpoint.base_url) == (name, base_url)


def test_the_address_of_local_can_be_given_apart_and_is_no_part_of_its_name() -> None:
    assert parse_model_name("local:m", LOCAL).base_url == LOCAL
    assert parse_model_name(f"local:m@{LOCAL}").name == parse_model_name("local:m@http://other:1/v1").name
    assert parse_model_name("openai:m", LOCAL).base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("anthropic:opus", "openrouter, openai, gemini, local"),
        ("gpt-4o", "provider:model"),
        ("", "provider:model"),
        ("openai:", "names no model"),
        ("local:m", "FEATUREINTERP_BASE_URL"),
        ("local:m@http://", "is not a URL"),
        ("local:m@http://user:secret@host/v1", "user or password"),
        ("local:m@http://host:port/v1", "is not a URL"),
    ],
)
def test_a_name_that_cannot_be_used_is_told_in_a_sentence(text, told) -> None:
    with pytest.raises(InputError) as raised:
        parse_model_name(text)
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.fixture
def no_keys(monkeypatch, tmp_path):
    for provider in PROVIDERS.values():
        monkeypatch.delenv(provider.key_name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_comes_from_the_environment_before_dotenv_which_leaves_the_environment_alone(no_keys, monkeypatch):
    (no_keys / ".env").write_text("OPENAI_API_KEY=from-file\nGOOGLE_API_KEY = 'other'\n")
    before = dict(os.environ)
    assert find_key(PROVIDERS["openai"]) == "from-file"
    assert find_key(PROVIDERS["gemini"]) == "other"
    assert dict(os.environ) == before
    monkeypatch.setenv("OPENAI_API_KEY", " from-environment\n")
    assert find_key(PROVIDERS["openai"]) == "from-environment"


def test_a_missing_key_is_one_sentence_that_names_the_variable(no_keys) -> None:
    with pytest.raises(EndpointConfigError, match="no key for openrouter.*OPENROUTER_API_KEY"):
        find_key(PROVIDERS["openrouter"])
    assert find_key(PROVIDERS["local"]) == ""


@pytest.mark.parametrize("key", ["sk-secret two", "sk-secret\nX-Header: 1", "sk-sécret"])
def test_what_cannot_be_a_key_is_refused_without_being_told(no_keys, monkeypatch, key) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EndpointConfigError) as raised:
        find_key(PROVIDERS["openai"])
    assert "OPENAI_API_KEY" in str(raised.value)
    assert "cret" not in str(raised.value)


def test_a_dotenv_that_is_no_text_is_told(no_keys) -> None:
    (no_keys / ".env").write_bytes(b"\xff\xfe\x00KEY")
    with pytest.raises(InputError, match="not UTF-8"):
        setting("OPENAI_API_KEY")


@pytest.mark.parametrize(
    "address",
    [
        "http://u:hunter2222@h:1/v1",
        "http://u:hun/hunter2222@h:1/v1",
        "http://u:p[hunter2222@h:1/v1",
        "http://h/v1?key=hunter2222",
        "http://h/v1#hunter2222",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(address) -> None:
    for name in (f"local:m@{address}", f"openrouter:v/m@{address}"):
        with pytest.raises(InputError) as raised:
            parse_model_name(name)
        assert "hunter" not in str(raised.value)
