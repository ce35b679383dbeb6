"""The proposer that asks a language model: a prompt made from records, an answer read as an explanation.

Every proposal is a separate, numbered sample: the same number gets the same cached answer, and the outcome
of one sample does not affect the others. An unparsable answer is requested again under a new
number; a rejected request, or repeatedly unparsable answers, become a failed proposal with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from featureinterp.chat import ChatAnswer, ChatRequest, Message
from featureinterp.core import Attempt, Feedback, Proposal
from featureinterp.errors import ChatError, ExplanationError
from featureinterp.explainer.llm.parse import read_answer
from featureinterp.explainer.llm.prompts import PROMPT_VERSION, proposal_messages, revision_messages
from featureinterp.explainer.params import LLMProposerParams, OneShotExplainerParams
from featureinterp.llm.api.endings import Ending, ending_of
from featureinterp.llm.api.thoughts import RAISE, has_begun, used_up
from featureinterp.protocols import ChatModel
from featureinterp.record import ActivationRecord

MOST_ANSWERS = 3
"""Maximum answers per proposal until one can be parsed."""


class LLMProposer:
    """Proposes and revises explanations with a language model; cached answers cost nothing."""

    def __init__(self, model: ChatModel, params: OneShotExplainerParams | None = None) -> None:
        self.model = model
        self.params = params or OneShotExplainerParams()
        self._first = self.params.first_sample if isinstance(self.params, LLMProposerParams) else 0

    async def propose(self, train_records: Sequence[ActivationRecord], n: int) -> list[Proposal]:
        """Return `n` first proposals, requested concurrently.

        Raises:
            InputError: if the evidence needs activation-causing tokens and no record has them.
            ActivationError: if an activation is NaN or infinite.
            EndpointConfigError, EndpointUnavailableError, BudgetExceededError: if the language model is unusable.
        """
        if not any(record.is_active for record in train_records):
            return [Proposal(None, failure="the feature is silent on all train records")] * n
        return await self._samples("propose", proposal_messages(train_records, self.params), n)

    async def revise(
        self, train_records: Sequence[ActivationRecord], attempt: Attempt, feedback: Feedback, n: int
    ) -> list[Proposal]:
        """Return `n` revisions of an attempt, requested concurrently.

        Raises:
            FeatureInterpError: as `propose`.
        """
        if attempt.explanation is None:
            return [Proposal(None, failure="there is nothing to revise")] * n
        messages = revision_messages(train_records, attempt.explanation, feedback, self.params)
        return await self._samples("revise", messages, n)

    async def _samples(self, purpose: str, messages: tuple[Message, ...], n: int) -> list[Proposal]:
        temperatures = self.params.temperatures
        # Samples per request, so that a repeated request never uses the number of another.
        stride = -(-n // len(temperatures))
        requests = [
            ChatRequest(messages, temperature, self.params.answer_tokens, purpose=f"{purpose}/{PROMPT_VERSION}")
            for temperature in temperatures
        ]
        n_kinds = len(requests)
        asked = (self._sample(requests[i % n_kinds], self._first + i // n_kinds, stride) for i in range(n))
        return list(await asyncio.gather(*asked))

    async def _sample(self, request: ChatRequest, number: int, stride: int) -> Proposal:
        reasons: list[str] = []
        for again in range(MOST_ANSWERS):
            try:
                (answer,) = await self.model.answer(request, n=1, first=number + again * stride)
                return self._read(answer, request.max_tokens)
            except ChatError as error:
                return Proposal(None, failure=str(error))
            except ExplanationError as error:
                reasons.append(error.problem)
        return Proposal(None, failure=f"no answer of {MOST_ANSWERS} can be read; the last: {reasons[-1]}")

    def _read(self, answer: ChatAnswer, most: int) -> Proposal:
        """Return what an answer proposes.

        Args:
            answer: answer of the model.
            most: its token limit.

        Raises:
            ExplanationError: if it cannot be parsed; another answer may succeed.
            ChatError: if other answers would fail too, at a cost.
        """
        ending, params = ending_of(answer.finish_reason), self.params
        if ending is None:
            raise ExplanationError(f"the answer has an unknown finish reason: {answer.finish_reason!r}")
        if ending is Ending.BLOCKED:
            told = "the endpoint's content filter stopped the answer"
            raise ExplanationError(told) if answer.text else ChatError(f"{told} before it began")
        if not has_begun(answer):
            raise ChatError(*used_up(most))
        cut = ending is Ending.CUT
        try:
            return read_answer(
                answer.text, structured=params.structured_explanations, rule_cap=params.rule_cap, cut=cut
            )
        except ExplanationError as error:
            if not cut:
                raise
            raise ChatError(f"the answer was cut short after {most} tokens; {error.problem}", RAISE) from error
