"""Delphi's files of explanations and scores: JSON under the names `{hookpoint}_latent{latent}.txt`.

Files in `explanations/` hold a string, in `scores/fuzz` and `scores/detection` the sentences shown to a judge, and in
`scores/simulation` scored simulations of OpenAI's kind: one over everything, then one per quantile of activation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from featureinterp.core import ScoredSimulation, StructuredExplanation
from featureinterp.errors import DataFolderError
from featureinterp.interop.openai import formats as openai
from featureinterp.interop.openai.formats import Value, scored_simulation
from featureinterp.interop.reading import read_json

UNPARSED = "Explanation could not be parsed."
"""Delphi's text for an unparsed answer."""

_NAME = re.compile(r"(.+)_latent(\d{1,9})")


class Example(msgspec.Struct, frozen=True):
    """A sentence classified by a judge."""

    str_tokens: list[str]
    activations: list[float]
    distance: float
    """Quantile of activation, from 1; for a sentence without activation -1, or minus its neighbour's distance."""
    activating: bool
    prediction: bool | float | None = None
    """Prediction of the judge; None for an unparsed answer."""
    probability: Value = None
    correct: bool | None = None


class _Scored(msgspec.Struct, frozen=True):
    """Delphi's simulation: OpenAI's objects, with the quantile as distance."""

    scored_sequence_simulations: list[openai.ScoredSequenceSimulation]
    distance: int
    ev_correlation_score: Value = None


@dataclass(frozen=True)
class Classification:
    """Classification results of a feature's explanation."""

    examples: tuple[Example, ...]

    @property
    def judged(self) -> tuple[Example, ...]:
        """The sentences with a parsed answer."""
        return tuple(one for one in self.examples if one.prediction is not None)

    @property
    def precision(self) -> float:
        """Precision; 0 if no sentence is called active."""
        return _share([one.activating for one in self.judged if _called_active(one)])

    @property
    def recall(self) -> float:
        """Recall; 0 if no sentence is active."""
        return _share([_called_active(one) for one in self.judged if one.activating])

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """Mean accuracy on active and on silent sentences; 0 for a missing class."""
        return (self.recall + _share([not _called_active(one) for one in self.judged if not one.activating])) / 2


def latent_of(path: Path) -> tuple[str, int]:
    """Return hookpoint and latent of a file of explanations or scores; `--` stands for `/` in names of scores.

    Raises:
        DataFolderError: if the name has another form.

    >>> latent_of(Path("explanations/layers.5.mlp_latent12.txt"))
    ('layers.5.mlp', 12)
    """
    found = _NAME.fullmatch(path.stem)
    if found is None or path.suffix != ".txt":
        raise DataFolderError(f"{path} does not follow delphi's naming", "expected HOOKPOINT_latentNUMBER.txt")
    return found.group(1), int(found.group(2))


def read_explanation(path: Path) -> StructuredExplanation | None:
    """Read an explanation as one rule of full strength; None for an unparsed answer.

    Raises:
        DataFolderError: if the file cannot be read, or is not an explanation.
    """
    words = read_json(path, str)
    if not words.strip():
        raise DataFolderError(f"{path} holds an empty explanation", "explain the latent again")
    return None if words.strip() == UNPARSED else StructuredExplanation.from_text(words.strip())


def read_explanations(folder: Path) -> Mapping[tuple[str, int], StructuredExplanation]:
    """Read the explanations of a folder by hookpoint and latent, without unparsed ones.

    Raises:
        DataFolderError: if a file cannot be read, has another name, or is not an explanation.
    """
    found = {latent_of(path): read_explanation(path) for path in sorted(folder.glob("*.txt"))}
    return {key: explanation for key, explanation in found.items() if explanation is not None}


def read_classification(path: Path) -> Classification:
    """Read a file below `scores/fuzz` or `scores/detection`.

    Raises:
        DataFolderError: if it cannot be read, or belongs to another scorer.
    """
    return Classification(tuple(read_json(path, list[Example])))


def read_simulations(path: Path) -> Mapping[int, ScoredSimulation]:
    """Read a file below `scores/simulation`: scored simulations by distance, 0 for all sentences.

    True activations are delphi's, on a scale from 0 to 10; its R² and deviation are placeholders (0).

    Raises:
        DataFolderError: if it cannot be read, or belongs to another scorer.
    """
    found = read_json(path, list[_Scored])
    made = {}
    for one in found:
        theirs = openai.ScoredSimulation(one.scored_sequence_simulations, one.ev_correlation_score)
        made[one.distance] = scored_simulation(theirs)
    return made


def _called_active(example: Example) -> bool:
    return example.prediction is not None and example.prediction >= 0.5


def _share(answers: Sequence[bool]) -> float:
    return sum(answers) / len(answers) if answers else 0.0
