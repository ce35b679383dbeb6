"""Providers of language models, model names, and API keys.

A model is named `provider:model`; a bare `vendor/model`, as in the original, is a model of OpenRouter. The
provider `local` is any server with the OpenAI protocol; its URL comes from `@`, an option, or the
environment:

    openrouter:meta-llama/llama-4-scout        meta-llama/llama-4-scout
    openai:gpt-4.1-mini                        gemini:gemini-2.5-flash
    local:qwen3@http://127.0.0.1:8000/v1       local:qwen3   with FEATUREINTERP_BASE_URL
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from featureinterp.errors import EndpointConfigError, InputError
from featureinterp.secrets import note

BASE_URL_NAME = "FEATUREINTERP_BASE_URL"
"""Environment variable of the base URL of `local`."""


@dataclass(frozen=True)
class Provider:
    """A provider's base URL, key and parameters."""

    name: str
    base_url: str
    """Base URL; empty if the user must supply it."""
    key_name: str
    """Environment variable that holds the key."""
    needs_key: bool = True
    is_free: bool = False
    """Whether requests cost nothing."""
    tells_cost: bool = False
    """Whether answers report their cost."""
    takes_seed: bool = True
    """Whether a seed can be sent; the seed of a sample is its number."""
    limit_name: str = "max_tokens"
    """Name of the parameter for the maximum tokens of an answer."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further fields of every request's JSON."""


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "openrouter",
            "https://openrouter.ai/api/v1",
            "OPENROUTER_API_KEY",
            tells_cost=True,
            extra={"usage": {"include": True}},
        ),
        Provider("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", limit_name="max_completion_tokens"),
        Provider(
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GOOGLE_API_KEY",
            takes_seed=False,  # its compatible endpoint rejects unknown fields
        ),
        Provider("local", "", "FEATUREINTERP_API_KEY", needs_key=False, is_free=True),
    )
}


@dataclass(frozen=True)
class Endpoint:
    """One model at one base URL."""

    provider: Provider
    model: str
    base_url: str

    @property
    def name(self) -> str:
        """`provider:model`, the identifier in results and in the ledger (without the URL)."""
        return f"{self.provider.name}:{self.model}"


def parse_model_name(text: str, base_url: str = "") -> Endpoint:
    """Parse a model name.

    Args:
        text: `provider:model`, `provider:model@URL`, or `vendor/model` for OpenRouter.
        base_url: base URL of `local` if the name has none; other providers have their own.

    Raises:
        InputError: if the provider is unknown, the model is missing, or there is no valid URL.

    >>> parse_model_name("meta-llama/llama-4-scout").name
    'openrouter:meta-llama/llama-4-scout'
    >>> parse_model_name("local:llama3.2:3b@http://127.0.0.1:11434/v1").model
    'llama3.2:3b'
    """
    known = f"the providers are {', '.join(PROVIDERS)}; vendor/model alone means openrouter"
    head, colon, rest = text.strip().partition(":")
    if "/" in head:  # OpenRouter's names have colons of their own, as in vendor/model:free
        head, rest = "openrouter", text.strip()
    elif not colon:
        raise InputError(f"{text!r} is not the name of a language model", f"write provider:model; {known}")
    if head not in PROVIDERS:
        raise InputError(f"there is no provider {head!r} of language models: {text!r}", known)
    model, _, address = rest.partition("@http")
    if not model:
        raise InputError(f"{text!r} names no model", f"write {head}:MODEL")
    provider = PROVIDERS[head]
    url = f"http{address}" if address else provider.base_url or base_url
    if not url:
        raise InputError(
            f"{text!r} has no URL",
            f"set {BASE_URL_NAME}, or write {head}:{model}@http://127.0.0.1:8000/v1",
        )
    return Endpoint(provider, model, check_url(url))


def check_url(url: str) -> str:
    """Normalise a base URL: without a trailing slash or the chat path.

    Raises:
        InputError: if it is not an HTTP URL, or contains a password.

    >>> check_url("http://127.0.0.1:8000/v1/chat/completions")
    'http://127.0.0.1:8000/v1'
    """
    example = "use a URL such as http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(url)
        host, secret, _ = parts.hostname, parts.password or parts.username, parts.port
    except ValueError as error:
        if "@" in url:  # the text before it may be a password
            raise InputError(
                "the URL of a model cannot be read", f"{example}, and set the key in the environment"
            ) from None
        raise InputError(f"{url!r} is not a URL: {error}", example) from error
    if secret:
        raise InputError(f"the URL of {host} contains a user or password", "set the key in the environment")
    if parts.query or parts.fragment:
        raise InputError(f"the URL of {host} contains ? or #", "remove them, and set the key in the environment")
    if parts.scheme not in ("http", "https") or not host or any(map(str.isspace, url)):
        raise InputError(f"{url!r} is not a URL", example)
    return url.rstrip("/").removesuffix("/chat/completions").rstrip("/")


def setting(name: str, folder: Path | None = None) -> str:
    """Return a setting from the environment, else from `.env`, else empty.

    Nothing is written to the environment.

    Args:
        name: name of the environment variable.
        folder: folder of `.env`; the working directory by default.

    Raises:
        InputError: if there is a `.env` that cannot be read.
    """
    value = os.environ.get(name, "").strip()
    path = (folder or Path.cwd()) / ".env"
    if value or not path.is_file():
        return value
    from dotenv import dotenv_values

    try:
        settings = dotenv_values(path)
        note(settings)
        return (settings.get(name) or "").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"{path} cannot be read: {problem}", "fix it, or set the environment variable instead"
        ) from None


def find_key(provider: Provider, folder: Path | None = None) -> str:
    """Return a provider's key; empty if none is set and none is required.

    Raises:
        EndpointConfigError: if it is missing or not a valid key. The error never contains the key.
    """
    key = setting(provider.key_name, folder)
    if not key and provider.needs_key:
        raise EndpointConfigError(
            f"there is no key for {provider.name}",
            f"set {provider.key_name} in the environment or in a .env in the working directory",
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EndpointConfigError(
            f"{provider.key_name} is not a valid key: it has spaces, line breaks or characters outside ASCII",
            "set it again",
        )
    return key
