"""Errors, one class per kind of remedy.

Every expected error is a `FeatureInterpError`: one sentence with the problem and its place, and
a hint with the remedy. The command line prints both and exits with 2; a batch stores them with
the feature and continues. Secrets are redacted here, for everything printed, logged, stored or served of an error.
"""

from __future__ import annotations

import math

from featureinterp.secrets import without_secrets

ANY_SEED = (-(2**63), 2**63 - 1)
"""Range of seeds: 64-bit integers in JSON."""

_LONGEST = 1000
"""Maximum characters of a sentence, which may quote a file or an option of any length."""


class FeatureInterpError(Exception):
    """Base of all expected errors of featureinterp."""

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = _bounded(without_secrets(problem))
        self.hint = _bounded(without_secrets(hint))
        super().__init__(self.problem)

    def __str__(self) -> str:
        return f"{self.problem} ({self.hint})" if self.hint else self.problem


def _bounded(sentence: str) -> str:
    """Return a long sentence without its middle: the problem is at its start or its end."""
    half = _LONGEST // 2
    return sentence if len(sentence) <= _LONGEST else f"{sentence[:half]} … {sentence[-half:]}"


class InputError(FeatureInterpError):
    """Invalid option or argument: an unknown layer, too few records, a bad value."""


class CorpusError(FeatureInterpError):
    """Missing, empty or non-text corpus."""


class SubjectError(FeatureInterpError):
    """Model or SAE that cannot be loaded, or a mismatch of the two."""


class ActivationError(FeatureInterpError):
    """NaN or infinite activations."""


class DataFolderError(FeatureInterpError):
    """Data folder or run that is unreadable, or has other settings or another version."""


class DamagedFeatureError(DataFolderError):
    """Damaged records or result of one feature; it is recreated, the others are kept."""


class StorageError(FeatureInterpError):
    """File that could not be written (a full disk, a read-only folder); existing files are kept."""


class SharingError(FeatureInterpError):
    """Data folder that cannot be uploaded or downloaded, or a damaged or unsafe archive."""


class ExplanationError(FeatureInterpError):
    """Text that cannot be read as an explanation."""


class ChatError(FeatureInterpError):
    """Request rejected by a language model endpoint; the attempt fails, the run continues."""


class RequestFailedError(FeatureInterpError):
    """Request without an answer in all attempts: the feature stays unfinished, the run continues."""


class EndpointConfigError(FeatureInterpError):
    """Unusable language model (missing or rejected key, unknown model); the run ends."""


class BudgetExceededError(FeatureInterpError):
    """Cost or token limit reached, or an account without credit; the run ends, stored results are kept."""


class EndpointUnavailableError(FeatureInterpError):
    """Endpoint that is down, rate-limited or unreachable; the run ends, stored results are kept."""


class WorkerError(FeatureInterpError):
    """Workers of a run lost repeatedly; finished results are kept."""


class SimulationError(FeatureInterpError):
    """Simulation that does not match its tokens, or is not on the scale 0..5."""


OF_ONE_FEATURE = (ActivationError, ChatError, ExplanationError, InputError, SimulationError)
"""Errors of a single attempt or feature; any other ends the run."""


def check_numbers(params: object, **bounds: tuple[float, float]) -> None:
    """Check numbers that a user chose.

    Args:
        params: object with the numbers as attributes; None is skipped.
        bounds: minimum and maximum of each, by name.

    Raises:
        InputError: if one is out of range or NaN; the sentence names it.
    """
    for name, (least, most) in bounds.items():
        value = getattr(params, name)
        if value is not None and not least <= value <= most:
            wanted = f"at least {least}" if most == math.inf else f"a number from {least} to {most}"
            raise InputError(f"{name} is {value}; expected {wanted}")
