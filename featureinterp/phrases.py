"""The small grammar of lexical rules: phrases in plain English that can be matched against tokens exactly.

    sentence = phrase {"; or " phrase}
    phrase   = target [" right after " target] [" but not right after " target] [" with " target " before"]
    target   = "the token" / "the tokens" quoted     exactly these tokens, with their spaces
             | "the word" / "the words" quoted       the same letters, ignoring case and surrounding spaces
             | "words ending in" quoted | "words starting with" quoted
             | "words like" quoted                   close in meaning to one of them
             | a class, such as "numbers" | "any token"
    quoted   = "' raise'" {", " "' raises'"}         backslash escapes for quotes and control characters

In a context the words "the tokens" are omitted: "the token ' error' right after ' an', ' the'". A sentence holds
where one of its phrases does. `parse` inverts `render`, and `parse_sentence` inverts `render_sentence`;
matching is pure, and the similarity of meanings is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import ExplanationError

MAX_QUOTED = 8
"""Maximum quoted strings in one phrase, which keeps it readable."""


class TokenClass(str, Enum):
    """Named classes of tokens; the value is the name."""

    NUMBERS = "numbers"
    CAPITALISED = "capitalised words"
    CAPITALS = "words in capitals"
    LOWERCASE = "lower-case words"
    CONTINUATIONS = "word continuations"
    PUNCTUATION = "punctuation"
    OPENING = "opening brackets or quotes"
    CLOSING = "closing brackets or quotes"
    LINE_BREAKS = "line breaks"
    INDENTATION = "indentation"
    UNDERSCORED = "underscores"

    def contains(self, token: str) -> bool:
        """Return whether a token belongs to the class."""
        return bool(_CLASS_PATTERNS[self].fullmatch(token))


_CLASS_PATTERNS = {
    TokenClass.NUMBERS: re.compile(r" ?\d+"),
    TokenClass.CAPITALISED: re.compile(r" ?[A-Z][a-z]*"),
    TokenClass.CAPITALS: re.compile(r" ?[A-Z]{2,}"),
    TokenClass.LOWERCASE: re.compile(r" [a-z]+"),
    TokenClass.CONTINUATIONS: re.compile(r"[a-z]+"),
    TokenClass.PUNCTUATION: re.compile(r" ?[^\w\s]+"),
    TokenClass.OPENING: re.compile(r" ?[\[({<`'\"]+"),
    TokenClass.CLOSING: re.compile(r"[\])}>`'\"]+[.,:;]?"),
    TokenClass.LINE_BREAKS: re.compile(r"\s*\n\s*"),
    TokenClass.INDENTATION: re.compile(r"\n?[ \t]{2,}"),
    TokenClass.UNDERSCORED: re.compile(r" ?\w*_+\w*"),
}


class TargetKind(str, Enum):
    """Comparison of a target's quoted strings with a token."""

    TOKENS = "tokens"
    WORDS = "words"
    ENDING = "ending"
    STARTING = "starting"
    LIKE = "like"
    CLASS = "class"
    ANY = "any"


@dataclass(frozen=True)
class Target:
    """A set of tokens: quoted strings with their comparison, a named class, or any token."""

    kind: TargetKind
    strings: tuple[str, ...] = ()
    token_class: TokenClass | None = None

    def __post_init__(self) -> None:
        if (self.kind is TargetKind.CLASS) != (self.token_class is not None):
            raise ExplanationError(f"a target of kind {self.kind.value} has token class {self.token_class}")
        if (self.kind in _QUOTING) != bool(self.strings):
            raise ExplanationError(f"a target of kind {self.kind.value} has {len(self.strings)} quoted strings")


@dataclass(frozen=True)
class Phrase:
    """A target and its context."""

    target: Target
    after: Target | None = None
    """Required previous token; the first token of a window has none."""
    not_after: Target | None = None
    """Excluded previous token."""
    earlier: Target | None = None
    """Required earlier token of the window."""

    @property
    def n_quoted(self) -> int:
        """Number of quoted strings."""
        parts = (self.target, self.after, self.not_after, self.earlier)
        return sum(len(part.strings) for part in parts if part is not None)


_PREFIXES = {
    TargetKind.TOKENS: ("the token ", "the tokens "),
    TargetKind.WORDS: ("the word ", "the words "),
    TargetKind.ENDING: ("words ending in ", "words ending in "),
    TargetKind.STARTING: ("words starting with ", "words starting with "),
    TargetKind.LIKE: ("words like ", "words like "),
}
_QUOTING = frozenset(_PREFIXES)
_ANY = "any token"
_OR = "; or "
_AFTER, _NOT_AFTER, _EARLIER, _BEFORE = " right after ", " but not right after ", " with ", " before"
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quote(text: str) -> str:
    """Quote a string; control and other unprintable characters become escapes."""

    def escape(character: str) -> str:
        if character in _ESCAPES:
            return _ESCAPES[character]
        return character if character.isprintable() else f"\\u{{{ord(character):x}}}"

    return "'" + "".join(map(escape, text)) + "'"


def unquote(text: str) -> str:
    """Undo `quote`, given the text between the quotes."""
    plain = {"n": "\n", "t": "\t", "r": "\r"}

    def character(found: re.Match[str]) -> str:
        code = found.group(1)
        if code is None:
            return plain.get(found.group(2), found.group(2))
        return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else found.group(0)

    return re.sub(r"\\(?:u\{([0-9a-fA-F]{1,8})\}|(.))", character, text, flags=re.DOTALL)


def render(phrase: Phrase) -> str:
    """Return a phrase in words.

    >>> tokens = Target(TargetKind.TOKENS, (" raise", " raises"))
    >>> render(Phrase(tokens, after=Target(TargetKind.TOKENS, (" and",))))
    "the tokens ' raise', ' raises' right after ' and'"
    """
    words = _render_target(phrase.target)
    if phrase.after is not None:
        words += _AFTER + _render_context(phrase.after)
    if phrase.not_after is not None:
        words += _NOT_AFTER + _render_context(phrase.not_after)
    if phrase.earlier is not None:
        words += _EARLIER + _render_context(phrase.earlier) + _BEFORE
    return words


def render_sentence(phrases: Sequence[Phrase]) -> str:
    """Join one or more phrases to a sentence that holds where one of them does.

    >>> render_sentence([parse("the token ' a'"), parse("numbers")])
    "the token ' a'; or numbers"
    """
    return _OR.join(map(render, phrases))


def _render_target(target: Target) -> str:
    if target.token_class is not None:
        return target.token_class.value
    if target.kind is TargetKind.ANY:
        return _ANY
    return _PREFIXES[target.kind][len(target.strings) > 1] + _render_strings(target.strings)


def _render_context(target: Target) -> str:
    return _render_strings(target.strings) if target.kind is TargetKind.TOKENS else _render_target(target)


def _render_strings(strings: tuple[str, ...]) -> str:
    return ", ".join(map(quote, strings))


def parse(text: str) -> Phrase:
    """Parse the output of `render`.

    Raises:
        ExplanationError: if the text is not in the grammar.
    """
    phrase, rest = _parse_phrase(text)
    if rest:
        raise ExplanationError(f"{text!r} is not a lexical phrase: {rest!r} is left over")
    return phrase


def parse_sentence(text: str) -> tuple[Phrase, ...]:
    """Parse the output of `render_sentence`, or one phrase.

    Raises:
        ExplanationError: if the text is not in the grammar.
    """
    phrase, rest = _parse_phrase(text)
    phrases = [phrase]
    while rest.startswith(_OR):
        phrase, rest = _parse_phrase(rest[len(_OR) :])
        phrases.append(phrase)
    if rest:
        raise ExplanationError(f"{text!r} is not a lexical sentence: {rest!r} is left over")
    return tuple(phrases)


def _parse_phrase(text: str) -> tuple[Phrase, str]:
    """Parse a phrase at the start of a text; return it and the rest."""
    target, rest = _parse_target(text, context=False)
    parts: dict[str, Target] = {}
    for name, opening, closing in (
        ("after", _AFTER, ""),
        ("not_after", _NOT_AFTER, ""),
        ("earlier", _EARLIER, _BEFORE),
    ):
        if rest.startswith(opening):
            parts[name], rest = _parse_target(rest[len(opening) :], context=True)
            if not rest.startswith(closing):
                raise ExplanationError(f"{text!r} is not a lexical phrase: {closing!r} is missing at {rest!r}")
            rest = rest[len(closing) :]
    return Phrase(target, **parts), rest


def _parse_target(text: str, *, context: bool) -> tuple[Target, str]:
    if text.startswith(_ANY):
        return Target(TargetKind.ANY), text[len(_ANY) :]
    for token_class in sorted(TokenClass, key=lambda known: -len(known.value)):
        if text.startswith(token_class.value):
            return Target(TargetKind.CLASS, token_class=token_class), text[len(token_class.value) :]
    if context and text.startswith("'"):
        return _parse_strings(TargetKind.TOKENS, text)
    for kind, prefixes in _PREFIXES.items():
        for prefix in prefixes:
            if text.startswith(prefix + "'"):
                return _parse_strings(kind, text[len(prefix) :])
    raise ExplanationError(f"{text!r} does not begin with a target of the lexical grammar")


def _parse_strings(kind: TargetKind, text: str) -> tuple[Target, str]:
    strings: list[str] = []
    while found := _QUOTED.match(text):
        strings.append(unquote(found.group(1)))
        text = text[found.end() :]
        if not text.startswith(", '"):
            break
        text = text[2:]
    if not strings:
        raise ExplanationError(f"{text!r} should begin with a quoted string")
    return Target(kind, tuple(strings)), text


def read_words(text: str) -> list[Phrase]:
    """Find quoted strings (as words) and class names in free text.

    Returns an empty list if there are none.
    """
    quoted = tuple(dict.fromkeys(filter(None, (_normal(a or b) for a, b in _FREE_QUOTES.findall(text)))))
    phrases = [Phrase(Target(TargetKind.WORDS, quoted))] if quoted else []
    lowered = text.lower()
    for token_class, names in _CLASS_WORDS.items():
        if re.search(rf"\b(?:{names})\b", lowered):
            phrases.append(Phrase(Target(TargetKind.CLASS, token_class=token_class)))
    return phrases


_FREE_QUOTES = re.compile(r"[\"“]([^\"”]{1,40})[\"”]|(?<!\w)['‘`]([^'’`]{1,40})['’`](?!\w)")
_CLASS_WORDS = {
    TokenClass.NUMBERS: "numbers?|digits?|numerals?",
    TokenClass.CAPITALISED: "capitali[sz]ed|proper nouns?|names?",
    TokenClass.PUNCTUATION: "punctuation",
    TokenClass.OPENING: "opening (?:brackets?|parenthes[ei]s|quotes?)",
    TokenClass.CLOSING: "closing (?:brackets?|parenthes[ei]s|quotes?)",
    TokenClass.LINE_BREAKS: "line ?breaks?|newlines?",
    TokenClass.INDENTATION: "indentation|indented",
    TokenClass.UNDERSCORED: "underscores?",
}


def _normal(token: str) -> str:
    return token.strip().lower()


Likeness = Callable[[Sequence[str], Sequence[str]], NDArray[np.float64]]
"""Degree 0..1 to which each of some tokens is close in meaning to the closest of some strings, float64 [tokens]."""


def degrees_in(target: Target, tokens: Sequence[str], likeness: Likeness) -> NDArray[np.float64]:
    """Return the degree 0..1 to which each token is in a target, float64 [tokens]; 0 or 1 for all kinds but `LIKE`."""
    strings = target.strings
    match target.kind:
        case TargetKind.TOKENS:
            found = map(frozenset(strings).__contains__, tokens)
        case TargetKind.WORDS:
            found = map(frozenset(map(_normal, strings)).__contains__, map(_normal, tokens))
        case TargetKind.ENDING:
            found = (token.lower().endswith(strings) for token in tokens)
        case TargetKind.STARTING:
            found = (_normal(token).startswith(strings) for token in tokens)
        case TargetKind.LIKE:
            return likeness(tokens, strings)
        case TargetKind.ANY:
            return np.ones(len(tokens))
        case TargetKind.CLASS:
            known = target.token_class
            found = (known is not None and known.contains(token) for token in tokens)
    return np.fromiter(found, dtype=np.float64, count=len(tokens))


def match(
    phrase: Phrase, ids: NDArray[np.integer], table: Callable[[Target], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the degree 0..1 to which the phrase holds at every token, float64 [..., tokens].

    Args:
        phrase: what is matched.
        ids: windows as numbers of tokens [..., tokens].
        table: gives for a target the degree of the token of each number, float64 [numbers].
    """

    def degrees(target: Target | None) -> NDArray[np.float64] | None:
        return None if target is None else table(target)[ids]

    target = table(phrase.target)[ids]
    return combine(target, degrees(phrase.after), degrees(phrase.not_after), degrees(phrase.earlier))


def combine(
    target: NDArray[np.float64],
    after: NDArray[np.float64] | None = None,
    not_after: NDArray[np.float64] | None = None,
    earlier: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Combine the degrees of a phrase's parts, each [..., tokens], into the phrase's: their minimum."""
    degree = target
    if after is not None:
        degree = np.minimum(degree, shift(after))
    if not_after is not None:
        degree = np.minimum(degree, 1.0 - shift(not_after))
    if earlier is not None:
        degree = np.minimum(degree, shift(np.maximum.accumulate(earlier, axis=-1)))
    return degree


def shift(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift degrees by one token, with 0 at the first: those of the previous token, [..., tokens]."""
    moved = np.zeros_like(degrees)
    moved[..., 1:] = degrees[..., :-1]
    return moved
