"""Whole sweeps with a language model whose endpoint fails: no result is decided by its faults, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import pytest

from featureinterp.errors import RequestFailedError
from featureinterp.experiment.engines.open import TaskEngine
from featureinterp.experiment.engines.worker import OpenRun
from featureinterp.experiment.method import methods
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Methods, Models
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.experiment.store import RunStore
from featureinterp.experiment.sweep import SweptRun, sweep
from featureinterp.llm.api.connection import ChatParams
from featureinterp.scoring.baselines import CONSTANT_ZERO, SHUFFLED, TABLES
from tests.llm_server import Fault, LLMServer, at_rate
from tests.unit.experiment.conftest import World

FEATURES = 200
LINE = re.compile(r"^(.+)\t[1-5]$", re.MULTILINE)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "ChatParams", partial(ChatParams, backoff_seconds=0.01, failures=1000))


@pytest.fixture
def world(world: World) -> World:
    """The made-up world with one complementary source, to be quick."""
    whole = world.record
    world.record = lambda key: replace(whole(key), random_records=(), random_no_act_records=(), similar_records=())
    return world


def brain(body) -> str:
    """Name the firing token most often seen; a revision names one more. Every sample is another."""
    firing = Counter(token for message in body["messages"] for token in LINE.findall(message["content"]))
    tokens = [token for token, _ in firing.most_common(1 + body["seed"])]
    rules = [{"activates_on": f"the token {json.dumps(token)}", "strength": 5} for token in tokens]
    return json.dumps(rules)


@dataclass(frozen=True)
class WorldJob:
    """A run over a made-up world with a language model that proposes."""

    world: World
    spec: MethodSpec
    light = False

    def open(self, models: Models) -> OpenRun:
        how = Methods(self.spec, models)
        return OpenRun(self.world, how.make, FeatureRunParams(3, 2), at_once=how.at_once)


def explain(world, folder, server: LLMServer, keys):
    """Sweep features with the real client, ledger, proposer, tree search and lexical simulator."""
    spec = MethodSpec(proposer=f"local:m@{server.url}", simulator="lexical", depth=1, width=1)
    access = ModelAccess(concurrency=32, ledger=folder / "llm.sqlite")

    async def run(store: RunStore) -> None:
        async with Models(access) as models:
            engine = TaskEngine({"run": WorldJob(world, spec)}, models)
            await sweep({"run": SweptRun(store, keys)}, engine)

    with RunStore.create(folder, {"seed": 0}) as store:
        asyncio.run(run(store))
    return results(folder)


def results(folder):
    with RunStore.open(folder) as store:
        return [replace(result, seconds=0.0) for result in store.results()]


def features(world, n: int):
    return [world.key(latent, layer) for layer in range(-(-n // 6)) for latent in range(6)][:n]


def test_200_features_through_faults_end_as_without_and_nothing_is_asked_twice(world, tmp_path):
    keys, found = features(world, FEATURES), {}
    for rate in (0.0, 0.2):
        with LLMServer(brain, at_rate(rate), cost=0.001) as server:
            server.slow_seconds = 0.05
            found[rate] = explain(world, tmp_path / str(rate), server, keys)
            seen = server.seen
        assert set(seen.answered.values()) == {1}
        assert len(seen.requests) == len(seen.answered) + seen.faults.total()
        assert seen.faults.total() == 0 if rate == 0 else 0.15 < seen.faults.total() / len(seen.requests) < 0.25
        assert sum(result.usage.requests for result in found[rate]) >= len(seen.answered) > 3 * FEATURES
    assert found[0.0] == found[0.2]
    assert len(found[0.2]) == FEATURES
    assert {result.status for result in found[0.2]} == {"explained"}
    assert all(set(result.floors) == {*TABLES, CONSTANT_ZERO, SHUFFLED} for result in found[0.2])


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.HTML, Fault.DROPPED])
def test_a_feature_without_answers_is_left_unfinished_and_done_another_time(world, tmp_path, fault):
    keys = features(world, 12)
    with LLMServer(brain) as server:
        whole = explain(world, tmp_path / "whole", server, keys)
    with LLMServer(brain) as server:
        server.faults = lambda number: fault if "bird" in json.dumps(server.seen.requests[number]) else None
        with pytest.raises(RequestFailedError, match="2 of 12 features are unfinished.* after 6 attempts") as raised:
            explain(world, tmp_path / "run", server, keys)
        assert "repeat the command" in raised.value.hint
        missing = {result.key for result in whole} - {result.key for result in results(tmp_path / "run")}
        assert {key.latent for key in missing} == {3}  # the two that fire on ' bird'
        asked = len(server.seen.requests)
        server.faults = lambda number: None
        assert explain(world, tmp_path / "run", server, keys) == whole
        assert set(server.seen.answered.values()) == {1}
        assert len(server.seen.requests) - asked <= 2 * 5  # the answers of the two features


def test_a_refusal_is_a_failed_feature_and_stays_one(world, tmp_path):
    keys = features(world, 6)
    with LLMServer(brain) as server:
        server.faults = lambda number: Fault.BAD_REQUEST if "bird" in json.dumps(server.seen.requests[number]) else None
        found = explain(world, tmp_path, server, keys)
        assert [result.status for result in found] == [*["explained"] * 3, "failed", *["explained"] * 2]
        assert "temperature is out of range" in found[3].reason
        asked = len(server.seen.requests)
        assert explain(world, tmp_path, server, keys) == found
        assert len(server.seen.requests) == asked
