from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from featureinterp.errors import StorageError
from featureinterp.experiment.engines.open import TaskEngine
from featureinterp.experiment.engines.worker import OpenRun
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.store import RunStore
from featureinterp.experiment.sweep import SweptRun, choose_features, shuffled_partner, sweep
from featureinterp.scoring.baselines import CONSTANT_ZERO, SHUFFLED, TABLES
from tests.unit.experiment.conftest import MostActiveWord

KEYS = [(latent, layer) for layer in (1, 2) for latent in range(8)]


@dataclass(frozen=True)
class WorldJob:
    """A run over a made-up world."""

    world: Any
    make_method: Any
    at_once: int
    light = True

    def open(self, models) -> OpenRun:
        return OpenRun(self.world, self.make_method, at_once=self.at_once)


def run_sweep(path, world, keys, seed=0, make_method=None, at_once=1, on_result=None):
    """The results of a sweep, seconds aside."""
    engine = TaskEngine({"run": WorldJob(world, make_method or world.method, at_once)}, Models())
    with RunStore.create(path, {"seed": seed}) as store:
        run = SweptRun(store, [world.key(*key) for key in keys], seed)
        asyncio.run(sweep({"run": run}, engine, None if on_result is None else lambda _, result: on_result(result)))
        return [replace(result, seconds=0.0) for result in store.results()]


def test_every_feature_becomes_a_result_dead_and_rare_ones_too(tmp_path, world):
    results = run_sweep(tmp_path, world, KEYS)
    assert [(r.key.layer, r.key.latent) for r in results] == [(layer, latent) for latent, layer in KEYS]
    assert [r.status for r in results] == (["explained"] * 6 + ["dead", "rare"]) * 2
    assert results[6].reason == "never fires on 1000 windows"
    assert (results[7].density, results[7].max_activation) == (0.001, 0.5)
    assert all(r.density == 0.25 for r in results if r.status == "explained")
    assert world.asked == [world.key(latent, layer) for latent, layer in KEYS if latent < 6]


def test_the_shuffled_floor_is_another_explanation_of_the_same_hook(tmp_path, world):
    results = run_sweep(tmp_path, world, KEYS)
    explained = [r for r in results if r.status == "explained"]
    assert all(set(r.floors) == {*TABLES, CONSTANT_ZERO, SHUFFLED} for r in explained)
    for result in explained:
        # another latent's word never occurs in this one's windows
        assert result.floors["shuffled"]["random"].reason == "the expected activation is the same on every token"
    assert all(r.floors == {} for r in results if r.status != "explained")


def test_finished_features_are_not_done_again_and_the_order_changes_nothing(tmp_path, world):
    whole = run_sweep(tmp_path / "whole", world, KEYS)
    world.asked.clear()
    run_sweep(tmp_path / "parts", world, KEYS[3:5])
    done = []
    parts = run_sweep(tmp_path / "parts", world, [*reversed(KEYS), KEYS[0]], on_result=lambda r: done.append(r.key))
    assert parts == whole
    assert len(world.asked) == len(set(world.asked)) == 12
    assert done == [world.key(*key) for key in reversed(KEYS) if key not in KEYS[3:5]]


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, world):
    whole = run_sweep(tmp_path / "whole", world, KEYS)
    world.asked.clear()

    def interrupt(result):
        if len(world.asked) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(tmp_path / "broken", world, KEYS, on_result=interrupt)
    assert run_sweep(tmp_path / "broken", world, KEYS) == whole
    assert len(world.asked) == len(set(world.asked)) == 12


def test_a_finished_sweep_writes_nothing(tmp_path, world):
    run_sweep(tmp_path, world, KEYS)
    before = (tmp_path / "run.sqlite").read_bytes()
    run_sweep(tmp_path, world, KEYS)
    assert (tmp_path / "run.sqlite").read_bytes() == before


def test_an_error_of_one_feature_is_its_result(tmp_path, world):
    record = world.record

    def leaking(key):
        made = record(key)
        if key.latent != 2:
            return made
        return replace(made, most_act_records=(made.most_act_records[0],) * 9)

    world.record = leaking
    results = run_sweep(tmp_path, world, KEYS[:4])
    assert [r.status for r in results] == ["explained", "explained", "failed", "explained"]
    assert "both the train and the valid split" in results[2].reason


def test_an_error_of_the_machine_ends_the_sweep_and_keeps_what_is_done(tmp_path, world):
    record = world.record

    def full(key):
        if key.latent == 2:
            raise StorageError("the disk is full")
        return record(key)

    world.record = full
    with pytest.raises(StorageError):
        run_sweep(tmp_path, world, KEYS[:4])
    with RunStore.open(tmp_path) as store:
        assert [r.key.latent for r in store.results()] == [0, 1]


class Waiting(MostActiveWord):
    """An explainer that waits, later features less long, and counts who waits with it."""

    at_once: ClassVar[list[int]] = []
    waiting = 0

    async def generate_explanations(self, train_records, valid_records, num_samples=1):
        Waiting.waiting += 1
        Waiting.at_once.append(Waiting.waiting)
        try:
            await asyncio.sleep(0.02 / len(Waiting.at_once))
        finally:
            Waiting.waiting -= 1
        return await super().generate_explanations(train_records, valid_records)


def test_features_at_the_same_time_give_the_results_of_one_after_the_other(tmp_path, world):
    whole = run_sweep(tmp_path / "whole", world, KEYS)
    done = []

    def finish(result):
        done.append(result.key)

    many = run_sweep(
        tmp_path / "many", world, KEYS, at_once=4, make_method=lambda: world.method(Waiting()), on_result=finish
    )
    assert many == whole
    assert max(Waiting.at_once) == 4
    assert sorted(done, key=lambda key: (key.layer, key.latent)) == [result.key for result in whole]


def test_an_error_of_the_machine_ends_what_goes_on_beside_it(tmp_path, world):
    record, asked = world.record, []

    def full(key):
        asked.append(key.latent)
        if len(asked) == 4:
            raise StorageError("the disk is full")
        return record(key)

    world.record = full
    with pytest.raises(StorageError):
        run_sweep(tmp_path, world, KEYS, at_once=3, make_method=lambda: world.method(Waiting()))
    with RunStore.open(tmp_path) as store:
        assert len(list(store.results())) < len(asked)
    assert 4 <= len(asked) <= 6  # the other two may have taken one more each before they are told


def test_a_lone_feature_says_why_it_has_no_shuffled_floor(tmp_path, world):
    (result,) = run_sweep(tmp_path, world, KEYS[:1])
    assert result.floors["shuffled"]["similar"].reason == "no other feature of this hook has an explanation"


def test_partners_are_others_and_depend_on_the_seed(world):
    latents = list(range(50))
    partners = [shuffled_partner(world.key(latent), latents, seed=0) for latent in latents]
    assert all(partner != latent for partner, latent in zip(partners, latents, strict=True))
    assert partners != [shuffled_partner(world.key(latent), latents, seed=1) for latent in latents]


def test_features_are_sampled_evenly_over_hooks_each_layer_in_turn():
    latents = {f"blocks.{layer}.hook_resid_post": range(100) for layer in (10, 2, 0)}
    latents["blocks.5.hook_resid_post"] = range(1)

    def layer_of(hook: str) -> int:
        return int(hook.split(".")[1])

    chosen = choose_features(latents, layer_of, 11, seed=0)
    assert [key.layer for key in chosen] == [0, 2, 5, 10, 0, 2, 10, 0, 2, 10, 0]
    assert len(set(chosen)) == 11
    assert choose_features(dict(reversed(latents.items())), layer_of, 40, seed=0)[:11] == chosen
    assert choose_features(latents, layer_of, 11, seed=1) != chosen
    assert len(choose_features(latents, layer_of, 10**6, seed=0)) == 301
