"""A scripted language model that does read its prompt: it names the tokens that its active lines name most often."""

from __future__ import annotations

import json
import re
from collections import Counter

from featureinterp.chat import ChatRequest
from featureinterp.errors import ChatError, FeatureInterpError
from featureinterp.llm.api.scripted import ScriptedChatModel

_ACTIVE_LINE = re.compile(r"^([^\t\n]+)\t[1-5]$", re.MULTILINE)


def reading_model() -> ScriptedChatModel:
    """Make it: samples name ever more tokens, one strength each; of seven one is no JSON, one is refused."""

    def answer(request: ChatRequest, number: int) -> str | FeatureInterpError:
        if number % 7 == 5:
            return ChatError("the endpoint refused the request")
        if number % 7 == 6:
            return "I am sorry, I see no pattern."
        about_it = [message.content for message in request.messages if _ACTIVE_LINE.search(message.content)][-1:]
        tokens = Counter(token for content in about_it for token in _ACTIVE_LINE.findall(content))
        chosen = [token for token, _ in tokens.most_common(1 + number % 7)] or ["nothing"]
        rules = [{"activates_on": f"the token {token!r}", "strength": 5 - i % 5} for i, token in enumerate(chosen)]
        return json.dumps(rules)

    return ScriptedChatModel(answer)
