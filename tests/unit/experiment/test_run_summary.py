from __future__ import annotations

from datetime import datetime

from featureinterp.analysis.runs import run_summary
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.store import RunStore


def test_a_summary_counts_what_became_of_the_features_and_tells_the_settings(tmp_path, world):
    method = {"explainer": "tree", "proposer": "local:m", "simulator": "lexical"}
    configuration = {"seed": 3, "method": method, "data": {"model_name": "embedded", "layers": [0, 2]}, "sources": []}
    with RunStore.create(
        tmp_path / "demo", configuration, {"command": "featureinterp demo --seed 3", "corpus": "notes"}
    ) as store:
        store.ask(world.key(latent) for latent in (1, 2, 3, 6))
        store.put(FeatureResult(world.key(6), "dead"))
        store.put(FeatureResult(world.key(1), "explained"))
        early = run_summary(store)
        for latent in (2, 3):
            store.put(FeatureResult(world.key(latent), "failed"))
        late = run_summary(store)
    assert (early.finished, early.counts) == (False, {"dead": 1, "explained": 1, "waiting": 2})
    assert (late.finished, late.counts) == (True, {"dead": 1, "explained": 1, "failed": 2})
    assert late.made_by == "tree/local:m, simulated by lexical"
    assert (late.title, late.command) == ("demo", "featureinterp demo --seed 3")
    assert list(late.settings.items()) == [
        ("corpus", "notes"),
        ("data: layers", "0, 2"),
        ("data: model name", "embedded"),
        ("method: explainer", "tree"),
        ("method: proposer", "local:m"),
        ("method: simulator", "lexical"),
        ("seed", "3"),
        ("sources", "none"),
    ]
    assert datetime.fromisoformat(late.created).tzinfo is not None


def test_going_on_with_a_run_keeps_when_and_how_it_began(tmp_path):
    with RunStore.create(tmp_path, {"seed": 0}, {"command": "first"}) as store:
        first = run_summary(store)
    with RunStore.create(tmp_path, {"seed": 0}, {"command": "second"}) as store:
        assert run_summary(store) == first
