"""The proposer that asks a language model: samples, answers that cannot be read, refusals."""

import asyncio
import json

import pytest

from featureinterp.chat import ChatAnswer
from featureinterp.core import Attempt, Feedback, Proposal, Rule, StructuredExplanation
from featureinterp.errors import BudgetExceededError, ChatError, EndpointConfigError
from featureinterp.explainer import OneShotExplainer, OneShotExplainerParams, TreeExplainer, TreeExplainerParams
from featureinterp.explainer.best_of_n import BestOfNExplainer
from featureinterp.explainer.llm.prompts import PROMPT_VERSION
from featureinterp.explainer.llm.proposer import MOST_ANSWERS, LLMProposer
from featureinterp.explainer.params import ANSWER_TOKENS
from featureinterp.explainer.registry import default_simulator, proposer_params
from featureinterp.llm.api.scripted import ScriptedChatModel
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.simulator.lexical import LexicalLevels
from featureinterp.simulator.rules import RuleSimulatorFactory
from featureinterp.simulator.server import ChatRuleLevels


def answer(words, strength=5):
    return json.dumps([{"activates_on": words, "strength": strength}])


def explanation(words, strength=5):
    return StructuredExplanation((Rule(words, strength),))


DRAFT = f"Rivers? Perhaps {answer('rivers')}, but the third text has"


def propose(script, records, n=1, **params):
    model = ScriptedChatModel(script)
    return asyncio.run(LLMProposer(model, OneShotExplainerParams(**params)).propose(records, n)), model


def test_every_sample_has_its_number(train):
    proposals, model = propose(lambda _, number: answer(f"the token 'w{number}'"), train, 3)
    assert [p.explanation for p in proposals] == [explanation(f"the token 'w{i}'") for i in range(3)]
    assert [number for _, number in model.asked] == [0, 1, 2]
    assert {request.purpose for request, _ in model.asked} == {f"propose/{PROMPT_VERSION}"}


def test_samples_can_begin_at_another_number(train):
    model = ScriptedChatModel(lambda *_: answer("x"))
    params = proposer_params("openai:m", TreeExplainerParams(temperatures=(0.2, 1.0)), {"first_sample": "1000"})
    asyncio.run(LLMProposer(model, params).propose(train, 3))
    assert [(request.temperature, number) for request, number in model.asked] == [(0.2, 1000), (1.0, 1000), (0.2, 1001)]


def test_temperatures_are_taken_in_turn(train):
    _, model = propose(lambda *_: answer("x"), train, 3, temperatures=(0.2, 1.0))
    assert [(request.temperature, number) for request, number in model.asked] == [(0.2, 0), (1.0, 0), (0.2, 1)]


def test_an_answer_that_cannot_be_read_is_asked_for_again_under_a_number_of_its_own(train):
    good = {1, 4}  # the second sample at once, the first when it is asked again
    proposals, model = propose(lambda _, n: answer(f"w{n}") if n in good else "I cannot say.", train, 3)
    assert [str(p.explanation) for p in proposals] == ["None", "[5] w1", "None"]
    numbers = [number for _, number in model.asked]
    assert sorted(numbers) == [0, 1, 2, 3, 5, 6, 8]
    assert "no answer of 3 can be read; the last: no list of rules" in proposals[0].failure
    assert len(numbers) == 1 + 2 * MOST_ANSWERS


def test_one_refused_sample_leaves_the_others_alone(train):
    refusal = ChatError("the endpoint refused", "ask for less")
    proposals, model = propose(lambda _, n: refusal if n == 1 else answer("x"), train, 3)
    assert [p.failure for p in proposals] == ["", "the endpoint refused (ask for less)", ""]
    assert len(model.asked) == 3


@pytest.mark.parametrize("text", ["", "<think>The texts name", "<|channel|>analysis<|message|>Let me", "[THINK]We"])
def test_an_answer_whose_tokens_went_into_thoughts_is_not_paid_for_again(train, text):
    (proposal,), model = propose(lambda *_: ChatAnswer(text, "length"), train)
    assert proposal.failure == f"{ANSWER_TOKENS} tokens were used up before the answer began (raise --answer-tokens)"
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("text", "structured"),
    [("This feature activates on names of", False), ("They name rivers, so maybe [{", True), (DRAFT, True)],
)
def test_what_cannot_be_read_because_it_was_cut_short_is_not_asked_for_again(train, text, structured):
    (proposal,), model = propose(lambda *_: ChatAnswer(text, "MAX_TOKENS"), train, structured_explanations=structured)
    assert proposal.explanation is None
    assert f"cut short after {ANSWER_TOKENS} tokens" in proposal.failure and "--answer-tokens" in proposal.failure
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "before", ["", "Improvement: fewer\nExplanation: ", "```json\n", '{"rules": ', "**Explanation:** "]
)
def test_of_a_list_that_was_cut_short_the_finished_rules_are_taken(train, before):
    rule = '{"activates_on": "rivers", "strength": 5}'
    for rest in (', {"activates_on": "la', "]\nThese rules are abo"):
        (proposal,), _ = propose(lambda *_: ChatAnswer(f"{before}[{rule}{rest}", "length"), train)  # noqa: B023
        assert proposal.explanation == explanation("rivers"), proposal.failure


@pytest.mark.parametrize(
    ("answer", "asked", "told"),
    [
        (ChatAnswer("", "content_filter"), 1, "content filter stopped the answer before it began"),
        (ChatAnswer("This feature", "SAFETY"), MOST_ANSWERS, "content filter stopped the answer"),
        (ChatAnswer(answer("half a"), "insufficient_system_resource"), MOST_ANSWERS, "has an unknown finish reason"),
    ],
)
def test_a_stored_answer_that_did_not_end_well_is_no_proposal(train, answer, asked, told):
    (proposal,), model = propose(lambda *_: answer, train)
    assert told in proposal.failure
    assert len(model.asked) == asked


@pytest.mark.parametrize("error", [BudgetExceededError("no money left"), EndpointConfigError("no key")])
def test_an_error_of_the_run_goes_up(train, valid, error):
    with pytest.raises(type(error)):
        propose(lambda *_: error, train, 2)
    explainer = TreeExplainer(proposer=LLMProposer(ScriptedChatModel(lambda *_: error)))
    with pytest.raises(type(error)):
        asyncio.run(explainer.generate_explanations(train, valid))


def test_a_silent_feature_is_not_asked_about(train):
    (proposal,), model = propose(lambda *_: answer("x"), [r for r in train if not r.is_active])
    assert "silent on all train records" in proposal.failure
    assert model.asked == []


def test_missing_causes_are_the_reason_of_a_failed_proposal(train, valid):
    params = OneShotExplainerParams(include_holistic_expressions=True)
    explainer = OneShotExplainer(params=params, proposer=LLMProposer(ScriptedChatModel(lambda *_: ""), params))
    result = asyncio.run(explainer.generate_explanations(train, valid))
    assert result.explanations == ()
    assert "--write-holistic-acts" in result.trace[0].proposal.failure


def test_a_revision_is_told_what_was_said_and_how_it_fared(train):
    model = ScriptedChatModel(lambda *_: f"Improvement: narrower\nExplanation: {answer('better')}")
    attempt = Attempt(0, None, 0, Proposal(explanation("too broad", 3)))
    (revision,) = asyncio.run(LLMProposer(model).revise(train, attempt, Feedback(0.25, ()), 1))
    assert (revision.improvement, revision.explanation) == ("narrower", explanation("better"))
    ((request, _),) = model.asked
    assert [message.role for message in request.messages][-3:] == ["user", "assistant", "user"]
    assert "too broad" in request.messages[-2].content and "is 0.25;" in request.messages[-1].content
    assert request.purpose == f"revise/{PROMPT_VERSION}"


def test_nothing_is_revised_without_an_explanation(train):
    attempt = Attempt(0, None, 0, Proposal(None, failure="unreadable"))
    (revision,) = asyncio.run(LLMProposer(ScriptedChatModel(lambda *_: "")).revise(train, attempt, Feedback(0, ()), 1))
    assert revision.failure == "there is nothing to revise"


def test_the_search_is_the_same_for_a_language_model(train, valid):
    """It guesses ' the', then is told and names the right token; one branch of each round is nonsense."""

    def script(request, number):
        if request.purpose.startswith("propose"):
            return answer("the token ' the'") if number == 1 else "no idea"
        return answer("the token ' error' right after ' raise'") if number == 0 else "no idea"

    params = TreeExplainerParams(root_nodes=2, width=1, depth=2, branching_factor=2, temperatures=(0.0,))
    model = ScriptedChatModel(script)
    explainer = TreeExplainer("any", LexicalSimulatorFactory(), params, proposer=LLMProposer(model, params))
    result = asyncio.run(explainer.generate_explanations(train, valid))
    assert result.explanations == (explanation("the token ' error' right after ' raise'"),)
    assert [(a.number, a.parent, a.depth) for a in result.trace] == [
        (0, None, 0), (1, None, 0), (2, 1, 1), (3, 1, 1), (4, 2, 2), (5, 2, 2)
    ]  # fmt: skip
    failed = [a.number for a in result.trace if a.explanation is None]
    assert failed == [0, 3, 5]
    assert all("no list of rules" in result.trace[n].proposal.failure for n in failed)


def test_sentences_are_explanations_of_one_rule(train, valid):
    params = OneShotExplainerParams(structured_explanations=False)
    model = ScriptedChatModel(lambda *_: "Explanation: the token ' error'")
    explainer = OneShotExplainer("any", params, proposer=LLMProposer(model, params))
    result = asyncio.run(explainer.generate_explanations(train, valid))
    assert result.explanations == (explanation("the token ' error'"),)


def test_without_a_simulator_a_language_model_reads_its_own_words(monkeypatch):
    model = ScriptedChatModel(lambda request, _: answer("x"))
    monkeypatch.setattr("featureinterp.llm.api.client.open_chat_model", lambda name: model)

    def levels(explainer: TreeExplainer) -> object:
        assert isinstance(explainer.simulator_factory, RuleSimulatorFactory)
        return explainer.simulator_factory.levels

    for kind in (TreeExplainer, BestOfNExplainer):
        assert isinstance(levels(kind("openai:m")), ChatRuleLevels)
        for explainer in (kind(), kind("openai:m", proposer=LLMProposer(model))):
            assert isinstance(levels(explainer), LexicalLevels)
    assert default_simulator("local:m@http://127.0.0.1:1/v1") == "chat:local:m@http://127.0.0.1:1/v1"
