"""Estimate of a rule's complexity from its form, without a language model.

    complexity = min(5, kind(target) + Σ over its contexts of (1.5 + 0.2·kind(context)))

    kind   tokens and words   spelling or class   words like   free text
           0.5·(1 − 1/n)      1                   3.5          4

with n the number of quoted strings. So tokens come before classes, these before tokens and classes in a context, and
meanings last. A sentence's complexity is the mean over its phrases.
"""

from __future__ import annotations

from featureinterp.errors import ExplanationError
from featureinterp.phrases import Phrase, Target, TargetKind, parse_sentence, read_words
from featureinterp.record import MAX_LEVEL

FREE_TEXT = 4.0
"""Kind of a text without a phrase."""

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


class LexicalJudge:
    """Estimate from a rule's form."""

    async def judge(self, words: str) -> float:
        """Return `lexical_complexity`."""
        return lexical_complexity(words)


def make_lexical_judge(model: str, device: str) -> LexicalJudge:  # noqa: ARG001 - every kind is called so
    """Return the judge without a language model; it needs neither a model nor a device."""
    return LexicalJudge()


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
