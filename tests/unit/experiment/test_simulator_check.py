"""Runs measure the separation of their simulator once, warn of one that ignores the words, and store both."""

from __future__ import annotations

import asyncio
import json

import pytest

from featureinterp.errors import BudgetExceededError, EndpointConfigError
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.method.simulator_check import SEPARATION, SimulatorCheck
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.result import SIMULATOR_WARNING, FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.experiment.sweep import SweptRun
from featureinterp.llm.api.spending import RunLimits
from featureinterp.simulator.calibration import CASES
from tests.llm_server import Fault, LLMServer, Refusal, always

KEY = FeatureKey("blocks.0.hook_resid_post", 0, 1)
REQUESTS = 2 * len(CASES)


def levels_of(body, level) -> str:
    rule, _, lines = body["messages"][-1]["content"].partition("\n\nThe text:\n")
    lines = lines.split("\n")
    return "\n".join(f"{line}\t{level(rule, i, lines)}" for i, line in enumerate(lines))


def ignoring(body) -> str:
    """Levels by the tokens alone."""
    return levels_of(body, lambda rule, i, lines: len(lines[i]) % 6)


def reading(body) -> str:
    """The known levels of the cases."""

    def level(rule, i, lines):
        [case] = [case for case in CASES if list(case.tokens) == lines]
        return case.levels[i] if rule.endswith(case.right) else 0

    return levels_of(body, level)


@pytest.fixture
def check(tmp_path):
    """Check the simulator of runs by name, against a server."""

    def make(server: LLMServer, *names: str, simulator: str = "chat:local:m", local: bool = True, **access):
        method = MethodSpec(simulator=f"{simulator}@{server.url}" if ":" in simulator else simulator)
        stores = [RunStore.create(tmp_path / name, {"method": {}}) for name in names]

        async def run():
            async with Models(ModelAccess(**{"ledger": tmp_path / "llm.sqlite", **access})) as models:
                runs = [(SweptRun(store, [KEY]), method) for store in stores]
                await SimulatorCheck(runs).make(models, local=local)
                return models.spent

        try:
            spent = asyncio.run(run())
            return spent, [store.about() for store in stores]
        finally:
            for store in stores:
                store.close()

    return make


def test_a_simulator_that_ignores_the_words_is_stored_and_told_at_every_command(check, caplog):
    with LLMServer(ignoring) as server:
        spent, abouts = check(server, "one", "two")
        assert len(server.seen.requests) == spent.requests == REQUESTS
        warning = "this simulator cannot tell right from wrong words (separation 0.000 [0.000, 0.000])"
        assert caplog.messages == [f"chat:local:m: {warning}"]
        assert [about[SIMULATOR_WARNING] for about in abouts] == [warning] * 2
        assert [about[SEPARATION] for about in abouts] == ["0.000 [0.000, 0.000]"] * 2
        assert check(server, "one")[1] == abouts[:1]
        assert caplog.messages == [f"chat:local:m: {warning}"] * 2
        assert len(server.seen.requests) == REQUESTS


def test_a_simulator_that_reads_the_words_is_stored_without_a_warning(check, caplog):
    with LLMServer(reading) as server:
        _, [about] = check(server, "run")
    assert (about[SEPARATION], about.get(SIMULATOR_WARNING)) == ("1.000 [1.000, 1.000]", None)
    assert caplog.messages == []


def test_a_simulator_without_a_language_model_and_a_finished_run_ask_nothing(check, tmp_path):
    with LLMServer(ignoring) as server:
        assert SEPARATION not in check(server, "lexical", simulator="lexical")[1][0]
        with RunStore.create(tmp_path / "finished", {"method": {}}) as store:
            store.put(FeatureResult(KEY, "dead"))
        assert SEPARATION not in check(server, "finished")[1][0]
        assert server.seen.requests == []


def test_a_local_model_is_not_loaded_where_workers_load_their_own(check):
    with LLMServer(ignoring) as server:
        assert SEPARATION not in check(server, "run", simulator="hf:nowhere", local=False)[1][0]
        assert SEPARATION in check(server, "served", local=False)[1][0]


def test_what_cannot_be_measured_now_is_left_to_the_next_command(check, caplog, tmp_path):
    refusal = Refusal(400, json.dumps({"error": {"message": "no such thing", "code": 400}}))
    with LLMServer(lambda body: refusal) as server:
        assert SEPARATION not in check(server, "run")[1][0]
    with LLMServer(lambda body: "I cannot") as server:
        assert SEPARATION not in check(server, "run")[1][0]
    with LLMServer(ignoring) as server:
        assert SEPARATION not in check(server, "run", offline=True, ledger=tmp_path / "empty.sqlite")[1][0]
        assert SEPARATION in check(server, "run", ledger=tmp_path / "empty.sqlite")[1][0]
    reasons = ("no such thing", "0 of 12 cases could be simulated: local:m gave no levels", "no cached answer")
    for message, reason in zip(caplog.messages, reasons, strict=False):
        assert message.startswith("the simulator chat:local:m was not checked: ") and reason in message
    assert len(caplog.messages) == len(reasons) + 1


def test_a_limit_and_a_rejected_key_end_the_run_before_its_first_feature(check):
    with LLMServer(ignoring, always(Fault.BAD_KEY)) as server, pytest.raises(EndpointConfigError):
        check(server, "run")
    with LLMServer(ignoring) as server, pytest.raises(BudgetExceededError, match="the limit of 2000 tokens"):
        check(server, "run", limits=RunLimits(max_tokens=2000))
