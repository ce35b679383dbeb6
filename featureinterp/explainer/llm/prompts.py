"""Proposer prompts: records and feedback as messages.

The texts are data, in `featureinterp/llm/prompts/`. Changes of them, or of this layout, increment `PROMPT_VERSION`.
Every line of a text is a token and a tab, with line breaks escaped, and no other line holds a tab: so no
token, whatever its content, can be confused with the layout.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featureinterp import llm
from featureinterp.chat import Message
from featureinterp.core import Feedback, StructuredExplanation, WorstRecord
from featureinterp.explainer.lexical.evidence import check_causes
from featureinterp.explainer.params import OneShotExplainerParams
from featureinterp.formatting import discretise, escape, format_record
from featureinterp.record import ActivationRecord
from featureinterp.scoring.leave_one_out import LEAST_ERROR, error_kind

if TYPE_CHECKING:
    import jinja2

PROMPT_VERSION = 1
"""Version of texts and layout; part of every request and of a run's configuration."""

MOST_TEXTS = 10
"""Maximum number of firing texts shown, and of silent ones."""

SPARSE = 0.2
"""Share of active tokens below which they are repeated under the text."""

_FOLDER = Path(llm.__file__).parent / "prompts"


def prompt_fingerprint() -> str:
    """Return a SHA-256 over the words of all prompts."""
    digest = hashlib.sha256()
    for path in sorted(path for path in _FOLDER.iterdir() if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def proposal_messages(records: Sequence[ActivationRecord], params: OneShotExplainerParams) -> tuple[Message, ...]:
    """Return the messages of a first proposal.

    Args:
        records: train records; the first `MOST_TEXTS` with a level above 0 are shown token by token, and as many
            silent ones, taken from their sources in turn, as text.
        params: structured or not, the rule cap, and whether activation-causing tokens are shown.

    Raises:
        InputError: if activation-causing tokens are needed and no record has them.
        ActivationError: if an activation is NaN or infinite.
    """
    system = _render(
        "explain_system.jinja",
        structured=params.structured_explanations,
        holistic=params.include_holistic_expressions,
        rule_cap=params.rule_cap,
    )
    examples = chain.from_iterable(_example(example, params) for example in _examples())
    return (Message("system", system), *examples, Message("user", _records(records, params)))


def revision_messages(
    records: Sequence[ActivationRecord],
    explanation: StructuredExplanation,
    feedback: Feedback,
    params: OneShotExplainerParams,
) -> tuple[Message, ...]:
    """Return the messages of a revision: the first request, its answer, and its feedback.

    Raises:
        InputError, ActivationError: as `proposal_messages`.
    """
    told = _render(
        "explain_feedback.jinja",
        structured=params.structured_explanations,
        score=_number(feedback.train_score),
        worst=[
            {"lines": _error_lines(worst), "without": _number(worst.score_without)} for worst in feedback.worst_records
        ],
    )
    answer = explanation_text(explanation, structured=params.structured_explanations)
    return (*proposal_messages(records, params), Message("assistant", answer), Message("user", told))


def explanation_text(explanation: StructuredExplanation, *, structured: bool) -> str:
    """Return an explanation in the form of an answer: a JSON list of rules, or `Explanation: ` and a sentence."""
    if structured:
        rules = (json.dumps(rule, ensure_ascii=False) for rule in explanation.to_json())
        return "[\n  " + ",\n  ".join(rules) + "\n]"
    return "Explanation: " + "; ".join(rule.activates_on for rule in explanation.rules)


def as_text(messages: Sequence[Message]) -> str:
    """Return messages as readable text, each under its role."""
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)


def _records(records: Sequence[ActivationRecord], params: OneShotExplainerParams) -> str:
    firing = [(record, discretise(record.expressions, record.max_expression).tolist()) for record in records]
    shown = [(record, levels) for record, levels in firing if any(levels)][:MOST_TEXTS]
    silent = _in_turn([record for record in records if not record.is_active])[:MOST_TEXTS]
    holistic = params.include_holistic_expressions
    if holistic:
        check_causes([record for record, _ in shown])
    texts = [_text(record.tokens, levels, _causes(record) if holistic else []) for record, levels in shown]
    return _render("explain_records.jinja", firing=texts, silent=[escape("".join(r.tokens)) for r in silent])


def _in_turn(records: Sequence[ActivationRecord]) -> list[ActivationRecord]:
    """Take the first of every complementary source, then the second, and so on."""
    place: dict[object, int] = {}
    numbered: list[tuple[int, ActivationRecord]] = []
    for record in records:
        place[record.source] = place.get(record.source, -1) + 1
        numbered.append((place[record.source], record))
    return [record for _, record in sorted(numbered, key=lambda pair: pair[0])]


def _causes(record: ActivationRecord) -> list[int]:
    return discretise(record.holistic_expressions, record.max_holistic_expression).tolist()


def _text(tokens: Sequence[str], levels: Sequence[int], causes: Sequence[int]) -> dict[str, str]:
    sparse = sum(level > 0 for level in levels) < SPARSE * len(levels)
    return {
        "lines": format_record(tokens, levels),
        "active": _above_zero(tokens, levels) if sparse else "",
        "causes": _above_zero(tokens, causes) if causes else "",
    }


def _above_zero(tokens: Sequence[str], levels: Sequence[int]) -> str:
    return "\n".join(f"{escape(token)}\t{level}" for token, level in zip(tokens, levels, strict=True) if level > 0)


def _error_lines(worst: WorstRecord) -> str:
    truths = worst.record.scaled_activations().tolist()
    return "\n".join(
        f"{escape(token)}\t{_level(expected)}\t{_level(truth)}{_wrong(truth, expected, claimed)}"
        for token, truth, expected, claimed in zip(
            worst.record.tokens, truths, worst.expected_activations, worst.simulation.claims, strict=True
        )
    )


def _wrong(truth: float, expected: float, claimed: bool) -> str:
    return f"\t{error_kind(truth, expected, claimed)}" if abs(truth - expected) >= LEAST_ERROR else ""


def _level(value: float) -> str:
    return f"{round(value, 1):g}"


def _number(score: float) -> str | None:
    return None if math.isnan(score) else f"{score:.2f}"


def _example(example: Mapping[str, Any], params: OneShotExplainerParams) -> tuple[Message, Message]:
    """Return an invented feature as a question and its answer, laid out as the real one."""
    holistic, structured = params.include_holistic_expressions, params.structured_explanations
    texts = [_text(text["tokens"], text["levels"], text["causes"] if holistic else []) for text in example["firing"]]
    asked = _render("explain_records.jinja", firing=texts, silent=example["silent"])
    rules, sentence = example["rules"][: params.rule_cap], example["sentence"]
    explanation = StructuredExplanation.from_json(rules) if structured else StructuredExplanation.from_text(sentence)
    return Message("user", asked), Message("assistant", explanation_text(explanation, structured=structured))


def _render(name: str, **values: object) -> str:
    return _template(name).render(**values).strip("\n")


@cache
def _examples() -> list[dict[str, Any]]:
    return json.loads((_FOLDER / "explain_examples.json").read_text(encoding="utf-8"))


@cache
def _template(name: str) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - no HTML
    return environment.from_string((_FOLDER / name).read_text(encoding="utf-8"))
