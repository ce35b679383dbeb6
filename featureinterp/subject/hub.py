"""The Hugging Face hub: whether it can be reached, and what it refused, in words.

Trap: the hub's client asks an unreachable hub six times per file, half a minute for each. So the hub is asked once, for
a moment, and where nothing answers the client is kept to the files that were downloaded earlier.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from featureinterp.errors import SubjectError

TIMEOUT_S = 5.0
"""How long the hub has to answer at all."""


@contextmanager
def hub_access(what: str, local_hint: str) -> Iterator[None]:
    """Load something from the hub or from what was downloaded earlier.

    Args:
        what: What is loaded, such as `model 'gpt2'`.
        local_hint: How to do it with a local folder.

    Raises:
        SubjectError: if the hub refuses it, has nothing of that name, or cannot be reached and nothing was downloaded.
    """
    constants = _client().constants

    offline, reachable = constants.HF_HUB_OFFLINE, not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = not reachable
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise _in_words(error, what, local_hint, reachable) from error
    finally:
        constants.HF_HUB_OFFLINE = offline


def _client() -> Any:
    """The hub's client that transformers downloads with."""
    return import_module("transformers.utils.hub")


def _answers(endpoint: str) -> bool:
    """Say whether anything answers there, be it with a refusal."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _in_words(error: BaseException, what: str, local_hint: str, reachable: bool) -> SubjectError:
    client = _client()
    causes = list(_chain(error))
    if any(isinstance(cause, client.GatedRepoError) for cause in causes):
        return SubjectError(
            f"{what} is gated: the hub gives it only to accounts that accepted its licence",
            f"accept it at {client.constants.ENDPOINT}, then set HF_TOKEN or run `hf auth login`; or {local_hint}",
        )
    if any(isinstance(cause, client.RepositoryNotFoundError) for cause in causes):
        return SubjectError(
            f"there is no {what} on the hub, or it is private", f"check the name, or set HF_TOKEN; or {local_hint}"
        )
    if not reachable or any(isinstance(cause, client.LocalEntryNotFoundError) for cause in causes):
        return SubjectError(
            f"{what} was not downloaded yet, and the hub at {client.constants.ENDPOINT} cannot be reached", local_hint
        )
    return SubjectError(f"{what} cannot be loaded: {str(error).strip().partition(chr(10))[0]}", local_hint)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
