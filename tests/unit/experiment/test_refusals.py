"""Whose a refusal is: of a request, whose feature fails, or of the endpoint, which ends the run and decides nothing."""

from __future__ import annotations

import json

import pytest

from featureinterp.errors import EndpointConfigError
from featureinterp.experiment.refusals import FIRST, LATER, Refusals
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.sweep import Unit
from tests.llm_server import LLMServer, Refusal, Reply
from tests.unit.experiment.conftest import World
from tests.unit.experiment.test_faulty_endpoint import brain, explain, features, short_waits, world  # noqa: F401

REFUSALS = [
    (400, "System role not supported and no user either"),
    (403, "Your region may not use this model"),
    (413, "<html>413 Request Entity Too Large</html>"),
    (422, "logit bias is wanted"),
]


@pytest.mark.parametrize(("status", "words"), REFUSALS)
def test_the_same_refusal_of_the_first_features_ends_the_run_and_a_mended_server_is_asked_again(
    world: World,  # noqa: F811
    tmp_path,
    status,
    words,
):
    keys = features(world, 8)
    with LLMServer(lambda body: Refusal(status, f"{words}, request {len(body['messages'][-1]['content'])}")) as server:
        with pytest.raises(EndpointConfigError, match="refused in the same words, and none was answered"):
            explain(world, tmp_path, server, keys)
        server.brain = brain
        mended = explain(world, tmp_path, server, keys)
        assert mended == explain(world, tmp_path / "fresh", server, keys)
    assert {each.status for each in mended} == {"explained"}


def test_a_refusal_of_few_features_is_theirs(world: World, tmp_path):  # noqa: F811
    """One in four is refused: those fail with the reason, the others are explained, and nothing is asked again."""
    keys = features(world, 8)
    bad: list[str] = []

    def blocking(body):
        text = body["messages"][-1]["content"]
        if not bad:
            bad.append(text)
        if text == bad[0]:
            return Refusal(200, json.dumps({"choices": [], "usage": {"prompt_tokens": 9}}))
        return brain(body)

    with LLMServer(blocking) as server:
        found = explain(world, tmp_path, server, keys)
        assert sorted(each.status for each in found) == ["explained"] * 7 + ["failed"]
        [failed] = [each for each in found if each.status == "failed"]
        assert "returns no answer" in failed.reason
        asked = len(server.seen.requests)
        assert explain(world, tmp_path, server, keys) == found
        assert len(server.seen.requests) == asked


@pytest.mark.parametrize(
    "blocked",
    [
        {"choices": [{"index": 0, "finish_reason": "content_filter", "message": None}]},
        {"choices": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"choices": [{"finish_reason": "SAFETY", "message": {"content": ""}}]},
    ],
)
def test_blocked_answers_are_failed_features_even_where_all_are(world: World, tmp_path, blocked):  # noqa: F811
    with LLMServer(lambda _: Refusal(200, json.dumps(blocked))) as server:
        found = explain(world, tmp_path, server, features(world, 3))
        assert {each.status for each in found} == {"failed"}
        assert all("content filter" in each.reason for each in found)
        assert len(server.seen.requests) == 3 * 3  # one for each proposal


def test_answers_that_never_begin_end_the_run_after_the_first_features(world: World, tmp_path):  # noqa: F811
    with LLMServer(lambda _: Reply("", "length")) as server:
        with pytest.raises(EndpointConfigError, match="8192 tokens were used up before the answer began") as raised:
            explain(world, tmp_path, server, features(world, 2))
        assert "--answer-tokens" in str(raised.value)
        assert len(server.seen.requests) == 2 * 3


def unit(latent: int) -> Unit:
    return Unit("run", FeatureKey("hook", 0, latent))


def result(latent: int, status="refused", reason="m refuses: request 12ab is 900 tokens") -> FeatureResult:
    return FeatureResult(FeatureKey("hook", 0, latent), status, reason)


def taken(refusals: Refusals, *results: FeatureResult) -> list[tuple[int, str]]:
    return [(r.key.latent, r.status) for each in results for _, r in refusals.take(unit(each.key.latent), each)]


def test_refusals_are_held_back_until_another_feature_is_answered():
    refusals = Refusals(answered=False)
    assert taken(refusals, result(1), result(2), result(3, "dead"), result(4, "failed")) == [(3, "dead"), (4, "failed")]
    assert taken(refusals, result(5, "explained")) == [(1, "failed"), (2, "failed"), (5, "explained")]
    assert taken(refusals, result(6)) == []
    assert [each.status for _, each in refusals.rest()] == ["failed"]


@pytest.mark.parametrize(("answered", "limit"), [(False, FIRST), (True, LATER)])
def test_so_many_in_the_same_words_are_the_endpoints(answered, limit):
    refusals = Refusals(answered=answered)
    same = [result(i, reason=f"m refuses: request {i}ab is {900 + i} tokens") for i in range(limit)]
    assert taken(refusals, *same[:-1], *(result(100 + i, reason="x" * i) for i in range(3))) == []
    with pytest.raises(EndpointConfigError, match=f"{limit} features were refused"):
        taken(refusals, same[-1])


@pytest.mark.parametrize(
    ("reasons", "endpoints"), [(["a"], True), (["a", "a", "b"], True), (["a", "b"], False), ([], False)]
)
def test_at_the_end_an_endpoint_that_never_answered_is_told(reasons, endpoints):
    refusals = Refusals(answered=False)
    taken(refusals, *(result(i, reason=reason) for i, reason in enumerate(reasons)))
    if endpoints:
        with pytest.raises(EndpointConfigError):
            list(refusals.rest())
    else:
        assert [each.status for _, each in refusals.rest()] == ["failed"] * len(reasons)
