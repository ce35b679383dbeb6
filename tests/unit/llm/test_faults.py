"""Faults: what a status or a message means, what is asked again, and how long to wait before."""

from datetime import datetime, timedelta, timezone
from random import Random

import pytest

from featureinterp.errors import (
    BudgetExceededError,
    ChatError,
    EndpointConfigError,
    EndpointUnavailableError,
    FeatureInterpError,
    RequestFailedError,
)
from featureinterp.llm.api.faults import REMEDIES, Fault, FaultKind, backoff, fault_of_status, wait_asked_for


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, '{"error": {"message": "Incorrect API key"}}', FaultKind.AUTHENTICATION),
        (400, '[{"error": {"code": 400, "message": "API key not valid. Please pass one."}}]', FaultKind.AUTHENTICATION),
        (402, '{"error": {"message": "Insufficient credits"}}', FaultKind.CREDIT),
        (429, '{"error": {"message": "quota", "code": "insufficient_quota"}}', FaultKind.CREDIT),
        (429, '{"error": {"message": "slow down"}}', FaultKind.RATE_LIMITED),
        (404, '{"error": {"message": "No endpoints found"}}', FaultKind.MODEL),
        (400, '{"message": "This model\'s maximum context length is 4096 tokens."}', FaultKind.TOO_LONG),
        (400, '{"error": {"message": "the request exceeds the available context size"}}', FaultKind.TOO_LONG),
        (400, "The input token count exceeds the maximum number of tokens allowed", FaultKind.TOO_LONG),
        (413, "", FaultKind.TOO_LONG),
        (400, '{"error": {"message": "temperature"}}', FaultKind.REFUSED),
        (403, '{"error": {"message": "flagged"}}', FaultKind.REFUSED),
        (422, '{"detail": [{"msg": "x"}]}', FaultKind.REFUSED),
        (500, "maximum context length", FaultKind.FAILING),
        (503, "", FaultKind.FAILING),
        (529, "", FaultKind.FAILING),
        (504, "", FaultKind.TIMEOUT),
        (301, "", FaultKind.MOVED),
        (302, "", FaultKind.MOVED),
        (308, "<html>Permanent Redirect</html>", FaultKind.MOVED),
        (405, "Method Not Allowed", FaultKind.MOVED),
        (410, "", FaultKind.MODEL),
    ],
)
def test_statuses_and_words_mean_kinds(status, text, kind) -> None:
    assert fault_of_status(status, text, {}).kind is kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"error": {"message": "too  many\\nwords"}}', "too many words"),
        ('{"error": "plain"}', "plain"),
        ('[{"error": {"message": "in a list"}}]', "in a list"),
        ('{"detail": "of fastapi"}', "of fastapi"),
        ("<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        ('{"other": 1}', '{"other": 1}'),
        ("x" * 1000, "x" * 300 + " ..."),
    ],
)
def test_the_servers_own_words_are_passed_on_in_one_short_line(text, message) -> None:
    assert fault_of_status(400, text, {}).message == f"status 400, {message}"


def test_every_kind_has_a_remedy_and_only_passing_ones_are_tried_again() -> None:
    assert set(REMEDIES) == set(FaultKind)
    again = {kind for kind, remedy in REMEDIES.items() if remedy.retry}
    passing = {FaultKind.RATE_LIMITED, FaultKind.FAILING, FaultKind.UNREACHABLE, FaultKind.TIMEOUT, FaultKind.MALFORMED}
    assert again == passing | {FaultKind.NO_CHOICE, FaultKind.ENDING, FaultKind.SILENT}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.AUTHENTICATION, EndpointConfigError),
        (FaultKind.MODEL, EndpointConfigError),
        (FaultKind.CREDIT, BudgetExceededError),
        (FaultKind.RATE_LIMITED, EndpointUnavailableError),
        (FaultKind.UNREACHABLE, EndpointUnavailableError),
        (FaultKind.TOO_LONG, ChatError),
        (FaultKind.REFUSED, ChatError),
        (FaultKind.FAILING, RequestFailedError),
        (FaultKind.TIMEOUT, RequestFailedError),
        (FaultKind.MALFORMED, RequestFailedError),
        (FaultKind.ENDING, RequestFailedError),
        (FaultKind.NO_CHOICE, ChatError),
        (FaultKind.MOVED, EndpointConfigError),
    ],
)
def test_a_fault_becomes_the_error_of_whoever_it_concerns(kind: FaultKind, error: type[FeatureInterpError]) -> None:
    made = Fault(kind, "because").error("local:m", attempts=3)
    assert type(made) is error
    assert made.problem.startswith(f"local:m {kind.value}")
    assert ("after 3 attempts" in made.problem) == REMEDIES[kind].retry


NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds) -> None:
    assert wait_asked_for(headers, NOW) == seconds


def test_a_date_is_measured_from_now_where_no_time_is_given() -> None:
    then = datetime.now(timezone.utc) + timedelta(seconds=90)
    waited = wait_asked_for({"retry-after": then.strftime("%a, %d %b %Y %H:%M:%S GMT")})
    assert waited == pytest.approx(90, abs=5)


def test_waits_double_up_to_the_longest_and_differ_from_each_other() -> None:
    rng = Random(0)
    for attempt, whole in enumerate([1, 2, 4, 8, 10, 10]):
        waits = [backoff(attempt, 1.0, 10.0, rng) for _ in range(200)]
        assert whole / 2 <= min(waits) < 0.6 * whole
        assert 0.9 * whole < max(waits) <= whole
    assert backoff(10**6, 1.0, 10.0, rng) <= 10
