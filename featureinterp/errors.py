"""What can go wrong, one class per kind of remedy.

Every error a user can meet is a `FeatureInterpError`: it says in one sentence what is wrong and where, and
carries a hint that says what to do. The command line prints both and exits with 2; a batch stores them with
the feature and goes on. Secrets are cut out here, once for all that is printed, logged, stored or served of an error.
"""

from __future__ import annotations

import math

from featureinterp.secrets import without_secrets

ANY_SEED = (-(2**63), 2**63 - 1)
"""What a seed may be: what JSON of 64 bits can hold."""


class FeatureInterpError(Exception):
    """Base of all errors that featureinterp raises on purpose."""

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = without_secrets(problem)
        self.hint = without_secrets(hint)
        super().__init__(self.problem)

    def __str__(self) -> str:
        return f"{self.problem} ({self.hint})" if self.hint else self.problem


class InputError(FeatureInterpError):
    """An option or argument that cannot be honoured: an unknown layer, too few records, a bad value."""


class CorpusError(FeatureInterpError):
    """A corpus that is missing, empty, or not text."""


class SubjectError(FeatureInterpError):
    """A model and SAE that cannot be loaded or do not belong together."""


class ActivationError(FeatureInterpError):
    """Activations that are not finite numbers."""


class DataFolderError(FeatureInterpError):
    """A data folder or run that is unreadable, or was made with other settings or another version."""


class DamagedFeatureError(DataFolderError):
    """What is stored of one feature is damaged or of another one; the feature is done again, the others stay."""


class StorageError(FeatureInterpError):
    """A file that could not be written (a full disk, a read-only folder); what was there before stays."""


class SharingError(FeatureInterpError):
    """A data folder that cannot be sent or fetched, or an archive that is damaged or not safe to unpack."""


class ExplanationError(FeatureInterpError):
    """Text that cannot be read as an explanation."""


class ChatError(FeatureInterpError):
    """A request that a language model's endpoint refused; the attempt fails, the run goes on."""


class RequestFailedError(FeatureInterpError):
    """A request that an endpoint left unanswered in all attempts: the feature is left unfinished, the run goes on."""


class EndpointError(FeatureInterpError):
    """A language model that cannot be asked at all: no key or a refused one, an unknown model; the run ends."""


class BudgetError(FeatureInterpError):
    """A limit of money or tokens, or an endpoint that is down: the run ends, what is stored stays."""


class WorkerError(FeatureInterpError):
    """Processes or machines that did a run's work and were lost again and again; what is finished stays."""


class SimulationError(FeatureInterpError):
    """A simulation that does not fit the tokens it was made for, or is not on the scale 0..5."""


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
