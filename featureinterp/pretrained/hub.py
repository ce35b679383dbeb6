"""The Hugging Face hub: whether it can be reached, and what it refused or broke off, in words.

Trap: the hub's client tries an unreachable hub six times per file, half a minute each. So the hub is probed once, for
a moment, and without an answer the client is restricted to files that were downloaded earlier.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from featureinterp.errors import SubjectError

TIMEOUT_S = 5.0
"""Timeout of the probe in seconds."""

_LONGEST_WORDS = 300
"""Maximum characters of a library's error, which may quote a file."""


def existing_folder(name: str) -> Path | None:
    """Return the folder of a path, in which `~` is the home; None for any other text."""
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, an unknown user's home, a zero byte
        return None


def local_folder(name: str, hint: str) -> Path | None:
    """Return the local folder of a name; None if it can only be a name on the hub.

    Args:
        name: a path, or a name on the hub.
        hint: hint of errors: the accepted values.

    Raises:
        SubjectError: if there is no such folder, and the name is not valid on the hub.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    folder = existing_folder(name)
    if folder is not None:
        return folder
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise SubjectError(f"there is no folder {name!r}, and it cannot be a name on the hub", hint) from error
    return None


@contextmanager
def hub_access(what: str, local_hint: str) -> Iterator[None]:
    """Load something from the hub or from what was downloaded earlier.

    Args:
        what: description for errors, such as `model 'gpt2'`.
        local_hint: hint for using a local folder.

    Raises:
        SubjectError: if the hub refuses it, does not have it, cannot be reached and nothing was downloaded, or the
            connection breaks off.
    """
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    silent = "HF_HUB_OFFLINE is set" if offline else why_silent(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = bool(silent)
    try:
        yield
    except (OSError, ValueError, KeyError, transport_error()) as error:
        raise _in_words(error, what, local_hint, not silent) from error
    finally:
        constants.HF_HUB_OFFLINE = offline


def why_silent(endpoint: str) -> str:
    """Return why a URL does not answer; empty if it answers, even with an error."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError:
        return ""
    except OSError as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def transport_error() -> type[Exception]:
    """Return the connection error in a chain of errors of the hub's client, under any of its names."""
    return _errors().HTTPError


def broken_connection(error: BaseException) -> str:
    """Return how a connection failed, if that caused an error; else an empty text."""
    errors = _errors()
    for cause in _chain(error):
        if isinstance(cause, errors.HTTPError) and not isinstance(cause, errors.HfHubHTTPError):
            return first_words(cause)
    lost = (ConnectionError, TimeoutError)
    return next((first_words(cause) for cause in _chain(error) if isinstance(cause, lost)), "")


def _errors() -> ModuleType:
    """Return the error classes of the hub's client, among them the base of its HTTP library's."""
    from huggingface_hub import errors

    return errors


def _in_words(error: BaseException, what: str, local_hint: str, reachable: bool) -> SubjectError:
    from huggingface_hub import constants

    errors, causes = _errors(), list(_chain(error))
    if any(isinstance(cause, errors.GatedRepoError) for cause in causes):
        return SubjectError(
            f"{what} is gated: the hub gives it only to accounts that accepted its licence",
            f"accept it at {constants.ENDPOINT}, then set HF_TOKEN or run `hf auth login`; or {local_hint}",
        )
    if any(isinstance(cause, errors.RepositoryNotFoundError) for cause in causes):
        return SubjectError(
            f"there is no {what} on the hub, or it is private", f"check the name, or set HF_TOKEN; or {local_hint}"
        )
    if not reachable:
        return SubjectError(
            f"{what} was not downloaded yet, and the hub at {constants.ENDPOINT} cannot be reached", local_hint
        )
    if broken := broken_connection(error):
        return SubjectError(
            f"the connection to the hub failed while {what} was loaded: {broken}",
            f"repeat the command: what was downloaded is kept; or {local_hint}",
        )
    return SubjectError(f"{what} cannot be loaded: {first_words(error)}", local_hint)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_words(error: BaseException) -> str:
    r"""Return a library's error as one line: its first line, with the next one if the first ends in a colon.

    The class name precedes messages that are too short to be understood alone.

    >>> first_words(RuntimeError("Error(s) in loading SAE:\n  Missing key(s): W_dec.\n  More."))
    'Error(s) in loading SAE: Missing key(s): W_dec.'
    >>> first_words(KeyError("hook_name"))
    "KeyError: 'hook_name'"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    needs_class = not words or isinstance(error, (AttributeError, LookupError, TypeError))
    words = ": ".join(filter(None, (type(error).__name__, words))) if needs_class else words
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"
