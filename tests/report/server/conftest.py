"""A small run on the embedded model with one dead feature, made once, and a server of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.report.server.spec import ServeSpec
from tests.cli.tiny import run_command
from tests.report.server.running import Running, running

DEAD = FeatureKey("blocks.1.hook_resid_post", 1, 3)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    made = run_command(
        *("demo", "--features", 4, "--layers", "1,3", "--max-dataset-size", 500, "--depth", 1, "--out", folder)
    )
    assert made.code == 0, made.err
    with RunStore.open(folder) as store:
        store.ask([DEAD])
        store.put(FeatureResult(DEAD, "dead", "it never fires on the 500 windows of the corpus"))
    return folder


@pytest.fixture(scope="session")
def server(run: Path) -> Iterator[Running]:
    with running(ServeSpec(run)) as served:
        yield served


@pytest.fixture(scope="session")
def results(run: Path) -> list[FeatureResult]:
    """The explained features of the run."""
    with RunStore.open(run) as store:
        return [result for result in store.results() if result.status == "explained"]
