r"""Removal of reasoning from the text of an answer, by its markers.

    <think>..</think>   also thinking, thought, reasoning, reflection, seed:think and the like, and [THINK]..[/THINK]
    ..</think>          opened by the chat template, so the answer holds the closing marker alone
    ◁think▷..◁/think▷   <|START_THINKING|>..<|END_THINKING|>   <|begin_of_thought|>..<|end_of_thought|>
    <|channel|>analysis<|message|>..<|channel|>final<|message|>     the channels of gpt-oss; only `final` is the answer
    analysis..assistantfinal..                                      the same without its special tokens

Reasoning without an end was truncated: the text after its marker is not part of the answer. A marker is at the start
of a line, or closes the reasoning at the end of one; inside a line it may be quoted by an explanation, as in
`"the token </think>"`.
"""

from __future__ import annotations

import re

from featureinterp.chat import ChatAnswer
from featureinterp.errors import ExplanationError
from featureinterp.llm.api.endings import Ending, ending_of

LONGEST_TEXT = 2_000_000
"""Maximum characters of an answer, including reasoning."""

MOST_MARKS = 1000
"""Maximum number of markers; each requires a search of its line."""

RAISE = "raise --answer-tokens"

_NAME = r"(?:[\w:.-]{0,20}(?:think|thought|reason|reflect|scratchpad|monologue)[\w:.-]{0,20}|analysis)"
_FORMS = (
    (rf"<{_NAME}(?: [^<>\n]{{0,200}})?>", rf"</{_NAME}>"),
    (r"\[(?:THINK|THINKING|THOUGHTS?|REASONING)\]", r"\[/(?:THINK|THINKING|THOUGHTS?|REASONING)\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|think\|>", r"<\|/think\|>"),
    (r"<\|channel>thought", r"<channel\|>"),
    (r"<unused94>thought", r"<unused95>"),
    (r"^Here(?:'s| is) my thought process:", r"^Here(?:'s| is) my response:"),
)
_OPENINGS = "|".join(opening for opening, _ in _FORMS)
_CLOSINGS = "|".join(closing for _, closing in _FORMS)
_MARK = re.compile(rf"(?P<opening>{_OPENINGS})|(?P<closing>{_CLOSINGS})", re.IGNORECASE | re.MULTILINE)
_FINAL = re.compile(r"<\|channel\|>\s*final\b[^\n]{0,80}?<\|message\|>")
_END_OF_FINAL = re.compile(r"<\|(?:return|end|start|call|channel)\|>")
_BARE_CHANNEL = re.compile(r"\A\s*analysis(?=[A-Z\"'(])")
_BARE_FINAL = re.compile(r"assistant\s{0,3}final")
_WRAPPER = re.compile(
    r"\A(?:<(answer|response|output)>(?P<a>.*)</\1>"
    r"|<\|START_RESPONSE\|>(?P<b>.*?)(?:<\|END_RESPONSE\|>)?"
    r"|<\|begin_of_solution\|>(?P<c>.*?)(?:<\|end_of_solution\|>)?)\Z",
    re.DOTALL | re.IGNORECASE,
)


def without_thoughts(text: str) -> str:
    r"""Return the answer without reasoning; empty if the reasoning has no end marker.

    Raises:
        ExplanationError: if the text is longer than `LONGEST_TEXT`, or an unopened closing marker is in the
            middle of a line, where it may end the reasoning or be quoted.

    >>> without_thoughts("Names of rivers, or of lakes?\n</think>\n\nNames of rivers.")
    'Names of rivers.'
    >>> without_thoughts("<think>Names of rivers, or"), without_thoughts('the token "</think>"')
    ('', 'the token "</think>"')
    """
    if len(text) > LONGEST_TEXT:
        raise ExplanationError(f"the answer has {len(text)} characters; the limit is {LONGEST_TEXT}")
    whole = text.strip()
    if "<|channel|>" in whole:
        return _final_channel(whole)
    if _BARE_CHANNEL.match(whole):
        ends = [found.end() for found in _BARE_FINAL.finditer(whole)]
        return whole[ends[-1] :].strip() if ends else ""
    rest = _outside(whole).strip()
    wrapped = _WRAPPER.match(rest)
    return next(part for part in wrapped.group("a", "b", "c") if part is not None).strip() if wrapped else rest


def has_begun(answer: ChatAnswer) -> bool:
    """Return whether the answer began before the token limit."""
    if ending_of(answer.finish_reason) is not Ending.CUT:
        return True
    try:
        return bool(without_thoughts(answer.text))
    except ExplanationError:
        return True


def used_up(tokens: int) -> tuple[str, str]:
    """Return problem and hint for an answer that hit the token limit before it began."""
    return f"{tokens} tokens were used up before the answer began", RAISE


def _final_channel(text: str) -> str:
    found = list(_FINAL.finditer(text))
    answer = text[found[-1].end() :] if found else ""
    end = _END_OF_FINAL.search(answer)
    return (answer[: end.start()] if end else answer).strip()


def _outside(text: str) -> str:
    """Return the text outside of reasoning."""
    kept: list[str] = []
    place, opened = 0, False
    for number, mark in enumerate(_MARK.finditer(text)):
        if number == MOST_MARKS:
            raise ExplanationError(f"the answer has more than {MOST_MARKS} reasoning markers")
        if mark["opening"] is not None:
            if not opened and _opens(text, mark):
                kept.append(text[place : mark.start()])
                opened = True
        elif _closes(text, mark, opened=opened):
            kept = kept if opened else []
            place, opened = mark.end(), False
    return "".join(kept) if opened else "".join([*kept, text[place:]])


def _opens(text: str, mark: re.Match[str]) -> bool:
    """Return whether a marker opens reasoning: at the start of a line, or right after another marker."""
    before = _line_before(text, mark).rstrip()
    return not _is_token(text, mark) and (before.strip(">") == "" or before.endswith((">", "]", "▷")))


def _closes(text: str, mark: re.Match[str], *, opened: bool) -> bool:
    """Return whether a marker closes reasoning (and is not quoted in the answer).

    Raises:
        ExplanationError: if it is ambiguous.
    """
    if _is_token(text, mark):
        return False
    before, behind = _line_before(text, mark), text[mark.end() :].partition("\n")[0]
    if not before.strip(" \t>") or not behind.strip():
        return True
    if before.count('"') % 2 or before.count("`") % 2 or before.endswith(("'", "“", "‘", "«")):
        return False
    if not opened and before.endswith(" "):
        raise ExplanationError(f"{mark.group()} is in the middle of a line: it may end the reasoning or be quoted")
    return True


def _line_before(text: str, mark: re.Match[str]) -> str:
    return text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]


def _is_token(text: str, mark: re.Match[str]) -> bool:
    """Return whether a marker is a token of a simulated text: a tab and a level follow."""
    return text[mark.end() : mark.end() + 1] == "\t"
