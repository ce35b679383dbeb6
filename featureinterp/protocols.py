"""Interfaces of the pipeline's parts.

Explainers use proposers and simulators only through these; scoring uses simulators only through these. So a method
is replaced by one class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest
from featureinterp.core import (
    Attempt,
    ExplainerResult,
    Feedback,
    Proposal,
    ScoredSequence,
    SequenceSimulation,
    StructuredExplanation,
)
from featureinterp.record import ActivationRecord


class Simulator(Protocol):
    """Predicts a feature's activations from the words of one explanation."""

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return the expected level (0..5) of every token of every sequence, in order."""
        ...


SimulatorFactory = Callable[[StructuredExplanation], Simulator]
"""Creates the simulator of an explanation; may cache computations of earlier ones."""


class Proposer(Protocol):
    """Proposes explanations from train records, and revises them from feedback."""

    async def propose(self, train_records: Sequence[ActivationRecord], n: int) -> list[Proposal]:
        """Return `n` first proposals, as different as it can; each may be a failure with its reason."""
        ...

    async def revise(
        self, train_records: Sequence[ActivationRecord], attempt: Attempt, feedback: Feedback, n: int
    ) -> list[Proposal]:
        """Return `n` revisions of an attempt; each may have failed or converged, with the reason."""
        ...


class Explainer(Protocol):
    """Turns records into explanations."""

    async def generate_explanations(
        self,
        train_records: Sequence[ActivationRecord],
        valid_records: Sequence[ActivationRecord],
        num_samples: int = 1,
    ) -> ExplainerResult:
        """Return the `num_samples` best explanations by valid score, and every attempt."""
        ...


Statistic = Callable[[Sequence[ScoredSequence]], float]
"""A custom score: a function from simulated windows to a number, NaN if undefined."""


class TextEmbedder(Protocol):
    """Maps texts to unit vectors whose dot product is their similarity."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [texts, dimensions], each row of length 1."""
        ...


class ChatModel(Protocol):
    """A language model behind an endpoint that answers conversations."""

    @property
    def name(self) -> str:
        """Provider and model, such as `openrouter:meta-llama/llama-4-scout`."""
        ...

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        """Return `n` samples of an answer, numbered from `first`; the same number gives the same stored sample.

        Raises:
            ChatError: if the endpoint rejects this request; others may succeed.
            RequestFailedError: if all attempts fail.
            EndpointConfigError: if the endpoint rejects every request (key, model); ends the run.
            BudgetExceededError: if a limit of money or tokens is reached; ends the run.
            EndpointUnavailableError: if the endpoint is down; ends the run.
        """
        ...


class PromptModel(Protocol):
    """Rates the tokens of a prompt: an endpoint that echoes prompts with log probabilities, such as vLLM."""

    @property
    def name(self) -> str:
        """Provider and model."""
        ...

    async def read_prompt(self, request: PromptRequest) -> PromptReading:
        """Return the prompt's tokens with the model's log probabilities at each position.

        Raises:
            ChatError: if the endpoint does not echo prompts, or rejects this one.
            RequestFailedError: if all attempts fail.
            EndpointConfigError, EndpointUnavailableError, BudgetExceededError: as `ChatModel.answer`.
        """
        ...
