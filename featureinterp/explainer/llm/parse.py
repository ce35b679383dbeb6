"""Reading a language model's answer as an explanation: repaired where the meaning is clear, refused where it is not.

The table in `docs/language-models.md` lists what is repaired. Nothing is guessed: a rule whose strength is missing,
off the scale or a vague word makes the whole answer unreadable, because the other rules alone would be another
explanation.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from featureinterp.core import Proposal, Rule, StructuredExplanation
from featureinterp.display import visible
from featureinterp.errors import ExplanationError
from featureinterp.formatting import escape
from featureinterp.llm.api.thoughts import without_thoughts
from featureinterp.record import MAX_LEVEL

LONGEST_ANSWER, LONGEST_REPAIRED, LONGEST_SENTENCE, LONGEST_RULE, LONGEST_IMPROVEMENT = 50_000, 10_000, 1000, 500, 2000
"""Maximum characters of an answer: the time of a repair grows with the square of the length."""

DEEPEST = 6
"""Maximum depth of brackets; a list of rules needs two or three."""

MOST_BRACKETS, MOST_REPAIRS = 100, 5
"""Maximum number of examined brackets, and of repaired texts; the text after them is not read."""

_NUMBER_WORDS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_STRENGTH_KEYS = ("strength", "level")
_RULES_KEYS = ("rules", "explanation", "explanations")
_FRACTION = re.compile(r"(?P<number>\d+(?:\.\d+)?|[a-z]+)(?: ?/ ?5| out of (?:5|five))?")
_LABEL = re.compile(r"^[ \t>*_#]*(?:revised |new |final )?explanation[*_ ]*:[*_]*", re.IGNORECASE | re.MULTILINE)
_IMPROVEMENT_LABEL = re.compile(r"^[ \t>*_#]*improvements?[*_ ]*:[*_]*", re.IGNORECASE | re.MULTILINE)
_BEGINNING = re.compile(
    r"\s*(?:[ \t>*_#]*improvements?[*_ ]*:[^\n]*\n\s*)?"
    r"(?:[ \t>*_#]*(?:revised |new |final )?explanation[*_ ]*:[*_]*\s*)?(?:```[\w-]*\s*)?(?:\{[\s\"\w]*:\s*)?",
    re.IGNORECASE,
)
"""Text allowed before a list of rules that is the answer: labels, a one-line improvement, a fence, a key."""
_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
_REFUSAL = re.compile(
    r"(?:unfortunately|sorry|i'm|i am|i (?:cannot|can't|can not|won't|don't)|as an ai|there (?:is|are) (?:no|not)"
    r"|(?:it is |it's )?(?:unclear|not clear|impossible|not possible)|the feature cannot)\b",
    re.IGNORECASE,
)
_ECHO = "the whole new sentence"  # as in the form of the answer


def read_answer(text: str, *, structured: bool, rule_cap: int, cut: bool = False) -> Proposal:
    """Return what an answer proposes, with the improvement in words where it gives one.

    Args:
        text: the unchanged answer.
        structured: whether a list of rules was requested (else a sentence).
        rule_cap: maximum number of rules; the first ones are kept: the prompt requests the most important first.
        cut: whether the answer was truncated by its token limit.

    Raises:
        ExplanationError: if it cannot be parsed without guessing.
    """
    text = without_thoughts(text)
    if len(text) > LONGEST_ANSWER:
        raise ExplanationError(f"the answer has {len(text)} characters; the limit is {LONGEST_ANSWER}")
    if not text:
        raise ExplanationError("the answer is empty")
    if cut and not structured:
        raise ExplanationError(f"the sentence is incomplete: {_excerpt(text)}")
    if structured:
        rules, improvement = _rules(text, cut)
        return Proposal(StructuredExplanation(tuple(dict.fromkeys(rules))[:rule_cap]), improvement)
    label = next(reversed(list(_LABEL.finditer(text))), None)
    sentence = _sentence(text[label.end() :] if label else text, labelled=label is not None)
    return Proposal(StructuredExplanation.from_text(sentence), _improvement(text[: label.start()] if label else ""))


def _rules(text: str, cut: bool) -> tuple[list[Rule], str]:
    """Return the rules of the last list in a text, and the improvement stated inside or before it.

    In a truncated text, a list counts only if it starts the answer or was still being written: a list in
    the middle of prose may be a draft, in reasoning whose marker is in the prompt.
    """
    found = list(_rule_lists(text))
    if not found:
        raise ExplanationError(f"no list of rules in the answer: {_excerpt(text)}")
    start, closed, value = next((each for each in reversed(found) if each[2]), found[-1])
    if cut and closed and not _BEGINNING.fullmatch(text[:start]):
        raise ExplanationError(f"a list of rules that may be a draft: {_excerpt(text)}")
    told = value.get("improvement") if _is_object(value) else None
    return _rules_of(value), _improvement(told if isinstance(told, str) else _LABEL.sub("", text[:start]))


def _rule_lists(text: str) -> Iterator[tuple[int, bool, Any]]:
    """Yield lists meant as rules: place, whether the bracket closes, and value (the complete part of a truncated one).

    Only text that `json` cannot parse is repaired.
    """
    position, tried, repaired = 0, 0, 0
    while tried < MOST_BRACKETS and (opening := re.compile(r"[\[{]").search(text, position)):
        start = opening.start()
        end, closed = _extent(text, start)
        value = _strict(text[start:end])
        if value is None and repaired < MOST_REPAIRS and "activates" in text[start:end].lower():
            value, repaired = _repaired(text[start:end]), repaired + 1
        tried += 1
        if _is_meant_as_rules(value, whole=closed):
            yield start, closed, value
            position = end if closed else len(text)
        else:
            position = start + 1


def _extent(text: str, start: int) -> tuple[int, bool]:
    """Return where the bracket at `start` closes; if it never does, where the last object in it closes."""
    depth, last_closed, in_string, skip = 0, start, False, False
    for place in range(start, len(text)):
        character = text[place]
        if skip or (character == "\\" and in_string):
            skip = not skip
        elif character == '"':
            in_string = not in_string
        elif character in "[{" and not in_string:
            depth += 1
            if depth > DEEPEST:
                return start, False
        elif character in "]}" and not in_string:
            depth -= 1
            if depth == 0:
                return place + 1, True
            last_closed = place + 1 if character == "}" else last_closed
    return last_closed, False


def _strict(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _repaired(text: str) -> Any:
    import json_repair

    if len(text) > LONGEST_REPAIRED:
        return None
    try:
        return json_repair.repair_json(text, return_objects=True, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None


def _is_meant_as_rules(value: object, *, whole: bool = True) -> bool:
    """Return whether a value is meant as rules, well formed or not.

    A list without a closing bracket is truncated if it holds objects only; else it is part of prose.
    """
    if _is_object(value):
        named = _named(value)
        return any(isinstance(named.get(key), list) for key in _RULES_KEYS) or "activateson" in named
    if not _is_list(value) or not (whole or all(map(_is_object, value))):
        return False
    return not value or any(_is_object(item) and _is_meant_as_rules(item) for item in value)


def _rules_of(value: Any) -> list[Rule]:
    """Return the rules in a value meant as rules.

    Raises:
        ExplanationError: if it has no rule, or an unclear one.
    """
    if _is_object(value):
        named = _named(value)
        value = next((named[key] for key in _RULES_KEYS if isinstance(named.get(key), list)), [value])
    if not value:
        raise ExplanationError("the answer is an empty list of rules")
    return [_rule(item) for item in value]


def _rule(item: object) -> Rule:
    if not _is_object(item):
        raise ExplanationError(f"a rule is {_excerpt(repr(item))}; expected activates_on and strength")
    named = _named(item)
    words = named.get("activateson")
    if _is_list(words) and words and all(isinstance(part, str) for part in words):
        words = ", ".join(words)
    if not isinstance(words, str) or not (words := _escaped(words)).strip(" .…") or _REFUSAL.match(words):
        raise ExplanationError(f"a rule is empty: {_excerpt(repr(item))}")
    if len(words) > LONGEST_RULE:
        raise ExplanationError(f"a rule has {len(words)} characters; the limit is {LONGEST_RULE}")
    given = [named[key] for key in _STRENGTH_KEYS if key in named]
    if len(given) != 1:
        raise ExplanationError(f"a rule has no strength: {_excerpt(repr(item))}")
    return Rule(words, _strength(given[0]))


def _strength(value: object) -> int:
    """Read a strength: a number from 0 to 5, in figures or words; halves are rounded up."""
    number = value
    if isinstance(value, str):
        found = _FRACTION.fullmatch(value.strip().lower())
        told = found.group("number") if found else ""
        number = _NUMBER_WORDS.get(told, told)
        number = float(number) if isinstance(number, str) and number[:1].isdigit() else number
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= MAX_LEVEL:
        raise ExplanationError(f"a strength is {_excerpt(repr(value))}; expected a number from 0 to {MAX_LEVEL}")
    return math.floor(number + 0.5)


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _named(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object by its keys in small letters without spaces and signs: `Activates On` is `activateson`."""
    return {re.sub(r"[\W_]+", "", str(key)).lower(): value for key, value in item.items()}


def _sentence(text: str, *, labelled: bool) -> str:
    """Read one sentence: a single paragraph, or the first one after the label."""
    paragraphs = [part for part in re.split(r"\n\s*\n", _FENCE.sub("", text).strip()) if part.strip()]
    if not paragraphs or (len(paragraphs) > 1 and not labelled):
        raise ExplanationError(f"expected one sentence, the answer is {_excerpt(text)}")
    sentence = _one_line(_sentence_in_json(paragraphs[0].strip()))
    for mark in ("**", '"'):
        inner = sentence[len(mark) : -len(mark)]
        if sentence.startswith(mark) and sentence.endswith(mark) and inner and mark not in inner:
            sentence = inner.strip()
    if not any(map(str.isalnum, sentence)) or len(sentence) > LONGEST_SENTENCE or sentence == _ECHO:
        raise ExplanationError(f"expected one sentence, the answer is {_excerpt(text)}")
    if _REFUSAL.match(sentence.replace("’", "'")):
        raise ExplanationError(f"the model refused: {_excerpt(sentence)}")
    return sentence


def _sentence_in_json(text: str) -> str:
    """Read `{"explanation": "a sentence"}`; a sentence may begin with a bracket too, but rules are none."""
    value = _strict(text) if text[:1] in "[{" else None
    told = _named(value).get("explanation") if _is_object(value) else None
    if isinstance(told, str):
        return told
    has_rules = "strength" in text.lower() and any(rules for _, _, rules in _rule_lists(text))
    if has_rules or isinstance(value, (Mapping, list)):
        raise ExplanationError(f"expected one sentence, the answer is {_excerpt(text)}")
    return text


def _improvement(text: str) -> str:
    label = _IMPROVEMENT_LABEL.search(text)
    return _one_line(re.sub(r"```[\w-]*", "", text[label.end() :] if label else text))[:LONGEST_IMPROVEMENT]


def _one_line(text: str) -> str:
    """Return prose on one line, without control characters and lone surrogates."""
    return _escaped(re.sub(r"\s*[\n\r]\s*", " ", text.strip()))


def _escaped(text: str) -> str:
    r"""Return text with control characters escaped (`\n` may be what a rule is about) and lone surrogates replaced."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
    return "".join(c if c == "\\" else escape(c) for c in joined)


def _excerpt(text: str) -> str:
    shown = visible(_one_line(text))
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
