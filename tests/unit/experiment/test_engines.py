"""Engines: the results of one unit after the other, whoever does them and whoever dies over them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from featureinterp.chat import Usage
from featureinterp.errors import FeatureInterpError, InputError, StorageError, WorkerError
from featureinterp.experiment.engines.open import EngineSpec, TaskEngine, open_engine, shared_out
from featureinterp.experiment.engines.processes import MAX_DEATHS
from featureinterp.experiment.engines.worker import OpenRun
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Methods, Models
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.experiment.store import RunStore
from featureinterp.experiment.sweep import SweptRun, sweep
from featureinterp.llm.api.spending import RunLimits
from tests.llm_server import LLMServer
from tests.unit.experiment.conftest import World

KEYS = [(latent, layer) for layer in (1, 2) for latent in range(8)]


@dataclass(frozen=True)
class MortalJob:
    """A run over the made-up world; the first workers that open it die of it."""

    graves: Path
    n_deaths: int = 0
    error: type[FeatureInterpError] | None = None
    light = True

    def open(self, models) -> OpenRun:
        if len(list(self.graves.iterdir())) < self.n_deaths:
            (self.graves / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        world = World()
        if self.error is not None:
            world.record = partial(refuse, self.error)
        return OpenRun(world, world.method)


def refuse(error, _key):
    raise error("nothing can be read any more", "make room")


@asynccontextmanager
async def one_after_the_other(jobs):
    yield TaskEngine(jobs, Models())


def swept(path, job, engine_spec=None):
    """The results of a sweep of two runs over the same features, seconds aside."""
    jobs = {"a": job, "b": job}
    opened = one_after_the_other(jobs) if engine_spec is None else open_engine(engine_spec, jobs, ModelAccess())
    keys = [World().key(*key) for key in KEYS]
    order = []

    async def work(runs):
        async with opened as engine:
            await sweep(runs, engine, lambda unit, result: order.append((unit.run, result.key)))

    with RunStore.create(path / "a", {}) as a, RunStore.create(path / "b", {}) as b:
        asyncio.run(work({"a": SweptRun(a, keys), "b": SweptRun(b, keys, seed=1)}))
        return [[replace(result, seconds=0.0) for result in store.results()] for store in (a, b)], order


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster on this machine, as the engine starts one; the engines of the tests connect to it."""
    import ray

    ray.init(address="local", num_cpus=2, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture
def graves(tmp_path) -> Path:
    folder = tmp_path / "graves"
    folder.mkdir()
    return folder


@pytest.fixture
def whole(tmp_path, graves):
    results, order = swept(tmp_path / "whole", MortalJob(graves))
    keys = [World().key(*key) for key in KEYS]
    assert order == [(run, key) for key in keys for run in ("a", "b")], "runs take turns, feature by feature"
    return results


def test_processes_give_the_same_results_also_when_some_die(tmp_path, graves, whole):
    results, order = swept(tmp_path, MortalJob(graves, n_deaths=MAX_DEATHS - 1), EngineSpec(workers=2))
    assert results == whole
    assert len(order) == len(set(order)) == 2 * len(KEYS)
    assert len(list(graves.iterdir())) == MAX_DEATHS - 1


def test_processes_that_die_again_and_again_end_the_work(tmp_path, graves):
    with pytest.raises(WorkerError, match=f"{MAX_DEATHS} processes died one after the other"):
        swept(tmp_path, MortalJob(graves, n_deaths=99), EngineSpec(workers=2))


def test_an_error_of_the_machine_comes_back_from_a_process_as_it_was(tmp_path, graves):
    with pytest.raises(StorageError) as caught:
        swept(tmp_path, MortalJob(graves, error=StorageError), EngineSpec(workers=2))
    assert str(caught.value) == "nothing can be read any more (make room)"


def test_no_cluster_at_an_address_is_told(tmp_path, graves):
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        swept(tmp_path, MortalJob(graves), EngineSpec("ray", workers=1, address="127.0.0.1:1"))


@pytest.mark.usefixtures("cluster")
def test_ray_gives_the_same_results_also_when_an_actor_dies(tmp_path, graves, whole):
    results, order = swept(tmp_path, MortalJob(graves, n_deaths=1), EngineSpec("ray", workers=2))
    assert results == whole
    assert len(order) == len(set(order)) == 2 * len(KEYS)
    assert len(list(graves.iterdir())) == 1


@pytest.mark.usefixtures("cluster")
def test_an_error_of_the_machine_comes_back_from_ray_as_it_was(tmp_path, graves):
    with pytest.raises(StorageError) as caught:
        swept(tmp_path, MortalJob(graves, error=StorageError), EngineSpec("ray", workers=1))
    assert str(caught.value) == "nothing can be read any more (make room)"


def test_engines_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="workers is 0"):
        EngineSpec(workers=0)
    with pytest.raises(InputError, match="--engine ray"):
        EngineSpec(address="auto")


def test_workers_share_the_limits_of_a_run():
    access = ModelAccess(RunLimits(max_cost=3.0, max_tokens=100), concurrency=16)
    shared = shared_out(access, 3)
    assert (shared.limits.max_cost, shared.limits.max_tokens, shared.concurrency) == (1.0, 33, 5)
    assert shared_out(ModelAccess(), 3).limits == RunLimits()


def test_workers_share_what_earlier_runs_left_of_the_limits():
    spent = Usage(2, 30, 10, cost=0.75)
    shared = shared_out(ModelAccess(RunLimits(max_cost=3.0, max_tokens=100), spent), 3)
    assert (shared.limits.max_cost, shared.limits.max_tokens) == (1.5, 60)
    assert shared.spent == spent
    over = RunLimits(max_cost=0.5, max_tokens=40)
    assert shared_out(ModelAccess(over, spent), 3).limits == over, "nothing is left to share"


@dataclass(frozen=True)
class ProposedJob:
    """A run over the made-up world whose explanations a language model proposes."""

    proposer: str
    light = False

    def open(self, models: Models) -> OpenRun:
        how = Methods(MethodSpec(proposer=self.proposer, simulator="lexical", depth=1, width=1), models)
        return OpenRun(World(), how.make, FeatureRunParams(3, 2), at_once=how.at_once)


EARLIER = Usage(7, 100, 10, cost=0.5)
KINDS = [EngineSpec(workers=1), EngineSpec(workers=2), EngineSpec("ray", workers=2)]


def spent_on_six_features(server: LLMServer, run: Path, spec: EngineSpec) -> tuple[Usage, Usage]:
    """What the engine reports, and what the results of its features sum up to."""
    jobs = {"a": ProposedJob(f"local:m@{server.url}")}
    access = ModelAccess(spent=EARLIER, concurrency=4, ledger=run.parent / "llm.sqlite")

    async def work(store: RunStore) -> Usage:
        async with open_engine(spec, jobs, access) as engine:
            await sweep({"a": SweptRun(store, [World().key(latent) for latent in range(6)])}, engine)
            return engine.spent

    with RunStore.create(run, {}) as store:
        return asyncio.run(work(store)), sum((result.usage for result in store.results()), Usage())


def one_word(body) -> str:
    return '[{"activates_on": "the token dog", "strength": 5}]'


@pytest.mark.parametrize("spec", KINDS, ids=["one process", "processes", "ray"])
def test_every_engine_reports_what_the_endpoint_charged(request, tmp_path, spec):
    if spec.kind == "ray":
        request.getfixturevalue("cluster")
    with LLMServer(one_word, cost=0.25) as server:
        spent, used = spent_on_six_features(server, tmp_path / "run", spec)
        charged = len(server.seen.requests)
        assert set(server.seen.answered.values()) == {1}
    assert charged >= 6
    assert spent - EARLIER == used
    assert (used.requests, used.cost, used.unpriced) == (charged, 0.25 * charged, 0)


def test_cached_answers_are_not_reported_as_spent(tmp_path):
    with LLMServer(one_word, cost=0.25) as server:
        first, used = spent_on_six_features(server, tmp_path / "first", KINDS[0])
        assert first != EARLIER
        assert spent_on_six_features(server, tmp_path / "again", KINDS[0]) == (EARLIER, used)
