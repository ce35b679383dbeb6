"""Request parameters rejected by an endpoint, detected from its messages, and their replacements.

    "System role not supported"                          the instruction goes into the user's turn
    "Use 'max_completion_tokens' instead"                the limit gets the other name
    "'temperature' does not support 0 with this model"   none is sent, unless the user set this one
    "Unrecognized request argument supplied: seed"       none is sent
    "maximum context length is 8192 tokens", "max_tokens is too large"
                                                         no limit is sent: less than the limit is left

A cached answer is identified by the request, never by the form: an endpoint always rejects the same forms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from featureinterp.chat import ChatRequest, Message
from featureinterp.errors import EndpointConfigError
from featureinterp.llm.api.faults import Fault, FaultKind
from featureinterp.llm.api.providers import Provider

LIMIT_NAMES = ("max_tokens", "max_completion_tokens")

_REFUSING = re.compile(
    r"not (?:be |been )?(?:support|allow|permit|enabl|accept|recogni|implement)|n't (?:support|allow|accept)"
    r"|unsupported|unrecogni[sz]ed|unknown|unexpected|deprecated|forbidden|\binvalid\b|only|no longer|must alternate"
)
_SYSTEM = re.compile(
    r"system[ _](?:role|message|prompt|instruction)|developer instruction|(?:role|messages?)\b.{0,60}\bsystem\b"
    r"|user and assistant|roles must alternate"
)
_FIELD = re.compile(r"\b(?:temperature|seed|max_completion_tokens|max_tokens|top_logprobs|logprobs)\b")
_TOO_LARGE = re.compile(
    r"max_(?:completion_|new_|output_)?tokens\b.{0,100}?(?:too large|must be|at most|less than|maximum|exceed|greater)"
)


@dataclass(frozen=True)
class Form:
    """Form of requests to an endpoint."""

    limit_names: tuple[str, ...] = LIMIT_NAMES
    """Names of the limit of answer tokens: the first is used, the others were not rejected yet."""
    system_role: bool = True
    """Whether the instruction is a system turn."""
    temperature: bool = True
    seed: bool = True
    limit: bool = True
    """Whether the limit of answer tokens is sent."""

    @classmethod
    def of(cls, provider: Provider) -> Form:
        """Return the default form of a provider."""
        others = (name for name in LIMIT_NAMES if name != provider.limit_name)
        return cls((provider.limit_name, *others), seed=provider.takes_seed)

    def and_of(self, other: Form) -> Form:
        """Return the common form of two, except for the answer limit of a single request."""
        names = min(self.limit_names, other.limit_names, key=len)
        return Form(
            names,
            self.system_role and other.system_role,
            self.temperature and other.temperature,
            self.seed and other.seed,
        )


def asked_otherwise(form: Form, fault: Fault, request: ChatRequest, name: str) -> Form | None:
    """Return an adapted form for a rejected request; None if the message names no parameter.

    Args:
        form: rejected form.
        fault: fault of the attempt.
        request: rejected request.
        name: name of the model.

    Raises:
        EndpointConfigError: if a temperature set by the user is rejected.
    """
    words = fault.body.lower() or fault.message.lower()
    if fault.kind is FaultKind.TOO_LONG or (fault.kind is FaultKind.REFUSED and _TOO_LARGE.search(words)):
        return replace(form, limit=False) if form.limit else None
    if fault.kind is not FaultKind.REFUSED or not _REFUSING.search(words):
        return None
    has_system = any(message.role == "system" for message in request.messages)
    if form.system_role and has_system and _SYSTEM.search(words):
        return replace(form, system_role=False)
    field = _FIELD.search(words)
    named = field.group() if field else ""
    if named == "temperature" and form.temperature and request.temperature is not None:
        if request.temperature != 1.0 and not request.any_temperature:
            problem = f"{name} refuses the temperature {request.temperature:g}: {fault.message}"
            raise EndpointConfigError(problem, "use --temperatures none to send no temperature")
        return replace(form, temperature=False)
    if named == "seed" and form.seed:
        return replace(form, seed=False)
    if named == form.limit_names[0] and form.limit and len(form.limit_names) > 1:
        return replace(form, limit_names=form.limit_names[1:])
    return None


def told(before: Form, after: Form) -> str:
    """Return a message about an adapted form."""
    learned = {
        "the system role: its words stand in the user's turn": before.system_role and not after.system_role,
        "a temperature: none is sent": before.temperature and not after.temperature,
        "a seed: none is sent": before.seed and not after.seed,
        f"{before.limit_names[0]}: {after.limit_names[0]} is sent": before.limit_names != after.limit_names,
    }
    return "; ".join(words for words, is_new in learned.items() if is_new)


def messages_in(form: Form, messages: Sequence[Message]) -> list[Message]:
    r"""Return a conversation in the given form.

    >>> messages_in(Form(system_role=False), [Message("system", "be brief"), Message("user", "hi")])
    [Message(role='user', content='be brief\n\nhi')]
    """
    if form.system_role:
        return list(messages)
    made: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
        elif message.role == "user" and waiting:
            made.append(Message("user", "\n\n".join([*waiting, message.content])))
            waiting = []
        else:
            made.append(message)
    return made if not waiting else [*made, Message("user", "\n\n".join(waiting))]
