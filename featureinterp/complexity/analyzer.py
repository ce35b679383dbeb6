"""Analyzer: the complexity of an explanation, each rule judged once."""

from __future__ import annotations

import asyncio

from featureinterp.complexity.registry import ComplexityJudge, make_judge
from featureinterp.core import StructuredExplanation


class ComplexityAnalyzer:
    """Complexity analyzer of explanations, with a cache.

    `model_name` is `lexical`, `hf:` and a folder or a name on the Hugging Face hub, or `provider:model`; `judge`
    takes its place when given.
    """

    def __init__(
        self, model_name: str = "lexical", *, device: str = "auto", judge: ComplexityJudge | None = None
    ) -> None:
        """Make it, and load a local model.

        Raises:
            InputError: if the name names no model.
            SubjectError: if a local model cannot be loaded, or does not fit the task.
        """
        self.model_name = model_name
        self._judge = judge or make_judge(model_name, device)
        self._known: dict[str, float] = {}

    async def rule_complexity(self, words: str) -> float:
        """Return the complexity of a rule's words, 0..5.

        Raises:
            ChatError, RequestFailedError: if an endpoint does not answer, or returns no probabilities.
        """
        if words not in self._known:
            self._known[words] = await self._judge.judge(words)
        return self._known[words]

    async def complexity(self, explanation: StructuredExplanation) -> float:
        """Return the mean complexity of the explanation's rules, 0..5.

        Raises:
            ChatError, RequestFailedError: if an endpoint does not answer, or returns no probabilities.
        """
        words = dict.fromkeys(rule.activates_on for rule in explanation.rules)
        judged = dict(zip(words, await asyncio.gather(*map(self.rule_complexity, words)), strict=True))
        return sum(judged[rule.activates_on] for rule in explanation.rules) / len(explanation.rules)
