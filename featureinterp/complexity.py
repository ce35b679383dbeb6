"""Complexity of explanations: 0 for the name of a token, 5 for an abstract idea.

With a language model, a rule's complexity is the expected digit: the mean of 0..5 under the probabilities that the
model gives them after worked examples. Without one it is an estimate from the rule's form:

    complexity = min(5, kind(target) + Σ over its contexts of (1.5 + 0.2·kind(context)))

    kind   tokens and words   spelling or class   words like   free text
           0.5·(1 − 1/n)      1                   3.5          4

with n the number of quoted strings. So tokens come before classes, these before tokens and classes in a context, and
meanings last. An explanation's complexity is the mean over its rules, a sentence's that over its phrases.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from featureinterp import llm
from featureinterp.chat import ChatAnswer, ChatRequest, Message
from featureinterp.core import StructuredExplanation
from featureinterp.errors import ChatError, ExplanationError, InputError
from featureinterp.formatting import one_line
from featureinterp.llm.api.endings import Ending, ending_of
from featureinterp.llm.api.providers import BASE_URL_NAME, parse_model_name, setting
from featureinterp.llm.api.thoughts import has_begun, used_up, without_thoughts
from featureinterp.llm.local.encoding import Turn, open_encoder
from featureinterp.phrases import Phrase, Target, TargetKind, parse_sentence, read_words
from featureinterp.protocols import ChatModel
from featureinterp.record import MAX_LEVEL
from featureinterp.stats import expectation_over_levels

if TYPE_CHECKING:
    from featureinterp.llm.local.model import LocalModel

FREE_TEXT = 4.0
"""Kind of a text that nothing can be read out of."""

_KINDS = {
    TargetKind.TOKENS: 0.0,
    TargetKind.WORDS: 0.0,
    TargetKind.ANY: 0.0,
    TargetKind.ENDING: 1.0,
    TargetKind.STARTING: 1.0,
    TargetKind.CLASS: 1.0,
    TargetKind.LIKE: 3.5,
}
_CONTEXT, _CONTEXT_KIND, _LIST = 1.5, 0.2, 0.5

FIRST_TOKENS = 4
"""Tokens of the answer of a model that does not think first."""

_LOCAL_HINT = "write hf:MODEL, a folder or a name on the hub"
_PROMPT = Path(llm.__file__).parent / "prompts" / "complexity.json"


class ComplexityJudge(Protocol):
    """Interface: complexity of a rule's words."""

    async def judge(self, words: str) -> float:
        """Return a number from 0 to 5."""
        ...


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
        self._judge = judge or _judge_of(model_name, device)
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


class LexicalJudge:
    """The estimate from a rule's form, without a language model."""

    async def judge(self, words: str) -> float:
        """Return `lexical_complexity`."""
        return lexical_complexity(words)


def lexical_complexity(words: str) -> float:
    """Estimate the complexity of a rule's words from their form, 0..5; the formula is the module's.

    Free text counts as what it quotes and names, one above it, and at most as free text that does neither.

    >>> [lexical_complexity(words) for words in ("the token ' a'", "numbers", "numbers right after ' a'", "doubt")]
    [0.0, 1.0, 2.5, 4.0]
    """
    try:
        phrases = parse_sentence(words)
        return sum(map(_phrase_complexity, phrases)) / len(phrases)
    except ExplanationError:
        found = [_phrase_complexity(phrase) for phrase in read_words(words)]
        return min(FREE_TEXT, 1.0 + max(found)) if found else FREE_TEXT


def _phrase_complexity(phrase: Phrase) -> float:
    contexts = [part for part in (phrase.after, phrase.not_after, phrase.earlier) if part is not None]
    added = sum(_CONTEXT + _CONTEXT_KIND * _kind(part) for part in contexts)
    return min(float(MAX_LEVEL), _kind(phrase.target) + added)


def _kind(target: Target) -> float:
    kind = _KINDS[target.kind]
    return kind if kind or not target.strings else _LIST * (1 - 1 / len(target.strings))


class LocalJudge:
    """The expected digit on a local model."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._digits = model.encoder.digits(MAX_LEVEL + 1, "\n")

    async def judge(self, words: str) -> float:
        """Return the mean of the digits under the softmax over their six logits."""
        return await asyncio.to_thread(self._compute, words)

    def prompt(self, words: str) -> list[int]:
        """Return the ids of the whole prompt, before the digit."""
        parts = self._model.encoder.conversation(_turns(words))
        return [number for part in parts for number in part]

    def _compute(self, words: str) -> float:
        ids = self.prompt(words)
        if self._model.max_length is not None and len(ids) > self._model.max_length:
            raise InputError(
                f"a rule of {len(words)} characters needs {len(ids)} tokens with its prompt, "
                f"the context of {self._model.name!r} is {self._model.max_length}"
            )
        [logits] = self._model.logits([ids], [[len(ids) - 1]], self._digits)
        return float(expectation_over_levels(logits[0]))


class ChatJudge:
    """The expected digit from the log probabilities of an endpoint's answer."""

    def __init__(self, model: ChatModel, top_logprobs: int = 20, answer_tokens: int = 8192) -> None:
        """Make it.

        Args:
            model: the language model.
            top_logprobs: number of most likely tokens requested at each position.
            answer_tokens: limit of an answer that begins with reasoning.
        """
        self._model = model
        self._top_logprobs = top_logprobs
        self._answer_tokens = answer_tokens
        self._purpose = f"complexity/{prompt_version()}"

    async def judge(self, words: str) -> float:
        """Return the mean digit under the probabilities of the first answer token after the reasoning.

        Raises:
            ChatError, RequestFailedError: if the endpoint does not answer, or returns no probability of a digit.
        """
        request = ChatRequest(
            _messages(words), 0.0, FIRST_TOKENS, self._top_logprobs, self._purpose, any_temperature=True
        )
        [answer] = await self._model.answer(request)
        place = 0
        if (
            ending_of(answer.finish_reason) is Ending.CUT
            and not _is_digit(answer.text)
            and self._answer_tokens > FIRST_TOKENS
        ):
            longer = replace(request, max_tokens=self._answer_tokens)
            [thought] = await self._model.answer(longer)
            behind = _place_behind_thoughts(thought) if has_begun(thought) else None
            if behind is None and ending_of(thought.finish_reason) is Ending.CUT:
                raise ChatError(*used_up(longer.max_tokens))
            answer, place = (answer, 0) if behind is None else (thought, behind)
        if not answer.logprobs:
            raise ChatError(
                f"{self._model.name} returns no log probabilities",
                "complexity needs them: use another model, or lexical",
            )
        logits = digit_logits(answer.logprobs[place])
        if max(logits) == -math.inf:
            raise ChatError(f"{self._model.name} answers {answer.text[:40]!r}; expected a digit from 0 to {MAX_LEVEL}")
        return float(expectation_over_levels(logits))


def _is_digit(text: str) -> bool:
    return text.strip()[:1] in tuple(map(str, range(MAX_LEVEL + 1)))


def _place_behind_thoughts(answer: ChatAnswer) -> int | None:
    """Return the position of the digit in an answer with reasoning; None if there is none."""
    text = without_thoughts(answer.text)
    if not _is_digit(text):
        return None
    tail = ""
    for place in range(len(answer.logprobs) - 1, -1, -1):
        tail = next(iter(answer.logprobs[place]), "") + tail
        if tail.strip().startswith(text):
            return place
    return None


def digit_logits(logprobs: Mapping[str, float]) -> list[float]:
    """Return the log probabilities of the digits 0..5; tokens that differ by spaces around are added up."""
    digits = [-math.inf] * (MAX_LEVEL + 1)
    for token, logprob in logprobs.items():
        if token.strip() in map(str, range(MAX_LEVEL + 1)):
            level = int(token)
            digits[level] = float(np.logaddexp(digits[level], logprob))
    return digits


def prompt_version() -> int:
    """Return the prompt version of the complexity model."""
    return _prompt()["version"]


def prompt_hash(name: str) -> str | None:
    """Return a hash of the analyzer's prompt prefix; None without a model.

    Of a local model it is of the token ids, so it changes with its chat template and its tokenizer.

    Raises:
        InputError: if no model is named.
        SubjectError: if the tokenizer of a local model cannot be loaded, or does not fit the task.
    """
    if name == "lexical":
        return None
    if name.partition(":")[0] == "hf":
        return open_encoder(_local_model(name), _LOCAL_HINT).digest(_turns("x"))
    said = "\n".join(f"{message.role}\n{message.content}" for message in _messages("x"))
    return hashlib.sha256(said.encode()).hexdigest()


def prompt_version_of(name: str) -> int | None:
    """Return the version of what the analyzer of that name asks; None where it asks no language model."""
    return None if name == "lexical" else prompt_version()


def is_local(name: str) -> bool:
    """Return whether the analyzer of that name uses no endpoint."""
    return name == "lexical" or name.partition(":")[0] == "hf"


def check_complexity_name(name: str) -> str:
    """Return an analyzer's name as stored in results: `lexical`, `hf:MODEL`, or provider and model without URL.

    Raises:
        InputError: if it names neither.
    """
    return name if is_local(name) else parse_model_name(name, setting(BASE_URL_NAME)).name


def _judge_of(name: str, device: str) -> ComplexityJudge:
    if name == "lexical":
        return LexicalJudge()
    if not is_local(name):
        from featureinterp.llm.api.client import open_chat_model

        return ChatJudge(open_chat_model(name))
    from featureinterp.llm.local.model import LocalModel, LocalModelParams

    return LocalJudge(LocalModel.load(_local_model(name), LocalModelParams(device=device)))


def _local_model(name: str) -> str:
    what = name.partition(":")[2]
    if not what:
        raise InputError("'hf' names no model", _LOCAL_HINT)
    return what


@cache
def _prompt() -> Mapping[str, Any]:
    return json.loads(_PROMPT.read_text(encoding="utf-8"))


def _messages(words: str) -> tuple[Message, ...]:
    prompt = _prompt()
    messages: list[Message] = []
    opening = prompt["instruction"] + "\n\n"
    for example in prompt["examples"]:
        messages.append(Message("user", opening + prompt["question"] + example["words"]))
        messages.append(Message("assistant", str(example["level"])))
        opening = ""
    return (*messages, Message("user", opening + prompt["question"] + one_line(words)))


def _turns(words: str) -> list[Turn]:
    """Return the conversation for a local model, with an open last turn."""
    return [*(Turn(message.role, (message.content,)) for message in _messages(words)), Turn("assistant", ())]
