"""Errors, one class per kind of remedy.

Every error a user can meet is a `FeatureInterpError`: it says in one sentence what is wrong and where, and
carries a hint that says what to do. The command line prints both and exits with 2; a batch stores them with
the feature and goes on. Secrets are cut out here, once for all that is printed, logged, stored or served of an error.
"""

from __future__ import annotations

import math

from featureinterp.secrets import without_secrets

ANY_SEED = (-(2**63), 2**63 - 1)
"""What a seed may be: what JSON of 64 bits can hold."""

_LONGEST = 1000
"""Characters of a sentence; what a file or an option holds may be quoted in it, and be of any length."""


class FeatureInterpError(Exception):
    """Base of all errors that featureinterp raises on purpose."""

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = _bounded(without_secrets(problem))
        self.hint = _bounded(without_secrets(hint))
        super().__init__(self.problem)

    def __str__(self) -> str:
        return f"{self.problem} ({self.hint})" if self.hint else self.problem


def _bounded(sentence: str) -> str:
    """Return a sentence without its middle where it is long: what is wrong stands at its beginning or its end."""
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
"""Errors that spoil one attempt or one feature and leave the others alone; any other ends the run."""


def check_numbers(params: object, **bounds: tuple[float, float]) -> None:
    """Check numbers that a user chose.

    Args:
        params: what has them as attributes; None is left alone.
        bounds: the least and the greatest value of each, by its name.

    Raises:
        InputError: if one is out of its range, or no number at all (NaN); the sentence names it.
    """
    for name, (least, most) in bounds.items():
        value = getattr(params, name)
        if value is not None and not least <= value <= most:
            wanted = f"at least {least}" if most == math.inf else f"a number from {least} to {most}"
            raise InputError(f"{name} is {value}, {wanted} is wanted")
