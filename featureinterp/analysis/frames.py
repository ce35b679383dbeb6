"""Runs as pandas data frames: a row for each feature and complementary source, for each attempt, for each run.

    from featureinterp.analysis.frames import read_scores

    scores = read_scores(Path("results/complementary"))    # or one run: Path("runs/demo")

A path is a run's folder, or any folder above runs. An undefined number is NaN, and so is one of a feature without an
explanation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from featureinterp.analysis.runs import OUTCOMES, RunInfo, list_runs, open_runs, run_info, run_labels
from featureinterp.core import Attempt, Score, Scores, simulated
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.scores.verdict import verdict
from featureinterp.experiment.store import RunStore
from featureinterp.record import MEASURED_SOURCES
from featureinterp.scoring.baselines import BASELINES

FEATURE = ["experiment", "subject", "variant", "hook_name", "latent"]
"""Columns that identify one feature of one run."""

_TEXT, _FLAG, _COUNT, _NUMBER = "str", "bool", "Int64", "float64"
_RUN_COLUMNS = {
    "experiment": _TEXT,
    "subject": _TEXT,
    "model": _TEXT,
    "n_layers": _COUNT,
    "variant": _TEXT,
    "explainer": _TEXT,
    "proposer": _TEXT,
    "simulator": _TEXT,
    "structured": _FLAG,
    "holistic": _FLAG,
    "train_negatives": _FLAG,
    "rule_cap": _COUNT,
}
_FEATURE_COLUMNS = {
    "hook_name": _TEXT,
    "layer": "int64",
    "relative_depth": _NUMBER,
    "latent": "int64",
}
_SCORE_NAMES = (
    "r_squared",
    "absolute_deviation_explained",
    "auroc",
    "precision",
    "recall",
    "f1",
    "false_positives_per_sentence",
    "false_positives_expected_per_sentence",
)
_CORPUS_NAMES = ("corpus_correlation", "corpus_ci_low", "corpus_ci_high")
_CORPUS_MARGIN_NAMES = ("corpus_margin", "corpus_margin_ci_low", "corpus_margin_ci_high")
_MARGIN_NAMES = ("margin", "margin_ci_low", "margin_ci_high")
_SCORE_COLUMNS = {
    "status": _TEXT,
    "reason": _TEXT,
    "verdict": _TEXT,
    "best_table": _TEXT,
    **dict.fromkeys((*_CORPUS_NAMES, *_CORPUS_MARGIN_NAMES), _NUMBER),
    "n_rules": _NUMBER,
    "valid_score": _NUMBER,
    "complexity": _NUMBER,
    "density": _NUMBER,
    "n_attempts": "int64",
    "n_failed_attempts": "int64",
    "n_converged_attempts": "int64",
    "n_simulated": "int64",
    "seconds": _NUMBER,
    "source": _TEXT,
    **dict.fromkeys(("correlation", "ci_low", "ci_high", *_SCORE_NAMES), _NUMBER),
    "n_sentences": "int64",
    "n_complementary": "int64",
    "undefined": _TEXT,
    **dict.fromkeys((*_MARGIN_NAMES, "false_positives_margin"), _NUMBER),
    **dict.fromkeys((f"floor_{name}" for name in BASELINES), _NUMBER),
}
_ATTEMPT_COLUMNS = {
    "number": "int64",
    "parent": _COUNT,
    "depth": "int64",
    "failure": _TEXT,
    "converged": _TEXT,
    "n_rules": _NUMBER,
    **dict.fromkeys(("train_score", "valid_score", "test_score", "complexity"), _NUMBER),
    "chosen": _FLAG,
}
_MISSING_COLUMNS = {
    **dict.fromkeys(("experiment", "subject", "variant"), _TEXT),
    **dict.fromkeys(("asked", "finished", *OUTCOMES), "int64"),
}


class RunReader:
    """Runs as rows of data frames, collected in one pass: each result is decoded once.

    Rows stay in memory, results do not.
    """

    def __init__(self) -> None:
        self.runs: list[RunInfo] = []
        """Runs whose results were all read, in the order of reading."""
        self._scores: list[Mapping[str, object]] = []
        self._attempts: list[Mapping[str, object]] = []

    @classmethod
    def of(cls, path: Path) -> RunReader:
        """Read every run in or below a folder.

        Raises:
            DataFolderError: if there is no run, or one cannot be read.
        """
        reader = cls()
        for store in open_runs(path):
            for _ in reader.results(store):
                pass
        return reader

    def results(self, store: RunStore) -> Iterator[FeatureResult]:
        """Yield a run's results, one in memory at a time; the run counts as read after the last one."""
        run, last_layer = _run_row(store), int(store.about().get("n_layers", 0)) - 1
        for result in store.results():
            feature = {**run, **_feature_row(result, last_layer)}
            outcome = {**feature, **_outcome_row(result)}
            sources = dict.fromkeys([*(source.value for source in MEASURED_SOURCES), *result.scores])
            self._scores += ({**outcome, **_source_row(result, source)} for source in sources)
            self._attempts += (
                {**feature, **_attempt_row(attempt), "chosen": attempt.number == result.chosen}
                for attempt in result.attempts
            )
            yield result
        self.runs.append(run_info(store))

    def scores(self) -> pd.DataFrame:
        """Return the test scores: a row for each run, feature and complementary source; see `read_scores`."""
        return _frame(self._scores, {**_RUN_COLUMNS, **_FEATURE_COLUMNS, **_SCORE_COLUMNS})

    def attempts(self) -> pd.DataFrame:
        """Return the attempts: a row for each run, feature and attempt; see `read_attempts`."""
        return _frame(self._attempts, {**_RUN_COLUMNS, **_FEATURE_COLUMNS, **_ATTEMPT_COLUMNS})


def read_scores(path: Path) -> pd.DataFrame:
    """Return the test scores of every finished feature: a row for each run, feature and complementary source.

    A feature without explanation has a row for each source too, with its `status` and `reason`. The columns from
    `experiment` to `rule_cap` describe the run; `n_simulated` counts the different explanations among the attempts, and
    `undefined` is the reason of an undefined correlation.

    Args:
        path: a run's folder, or any folder above runs.

    Raises:
        DataFolderError: if there is no run in or below it, or one cannot be read.
    """
    return RunReader.of(path).scores()


def read_attempts(path: Path) -> pd.DataFrame:
    """Return every attempt at every feature, failed ones too: a row for each run, feature and attempt.

    `depth` is the round of the search in which it was made; arguments and errors as of `read_scores`.
    """
    return RunReader.of(path).attempts()


def read_missing(path: Path) -> pd.DataFrame:
    """Return the progress of each run: requested and finished features, by status.

    What is missing is `asked` minus `finished`; arguments and errors as of `read_scores`.
    """
    rows = ({**run.labels, **run.counts} for run in list_runs(path))
    return _frame(rows, _MISSING_COLUMNS)


def _frame(rows: Iterable[Mapping[str, object]], columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns)).astype(columns)  # pyright: ignore[reportArgumentType]


def _run_row(store: RunStore) -> dict[str, object]:
    about, labels = store.about(), run_labels(store)
    configuration = json.loads(about["configuration"])
    method, records = configuration.get("method", {}), configuration.get("records", {})
    n_layers = about.get("n_layers")
    return {
        "experiment": labels["experiment"],
        "subject": labels["subject"],
        "model": about.get("model", ""),
        "n_layers": None if n_layers is None else int(n_layers),
        "variant": labels["variant"],
        **{name: method.get(name, "") for name in ("explainer", "proposer", "simulator")},
        "structured": method.get("structured", True),
        "holistic": method.get("holistic", False),
        "train_negatives": bool(records.get("train_sources")),
        "rule_cap": method.get("rule_cap"),
    }


def _feature_row(result: FeatureResult, last_layer: int) -> dict[str, object]:
    key = result.key
    return {
        "hook_name": key.hook_name,
        "layer": key.layer,
        "relative_depth": key.layer / last_layer if last_layer > 0 else None,
        "latent": key.latent,
    }


def _outcome_row(result: FeatureResult) -> dict[str, object]:
    corpus = result.corpus
    return {
        "status": result.status,
        "reason": result.reason,
        "verdict": verdict(result),
        "best_table": result.best_table,
        **_interval(_CORPUS_NAMES, corpus and corpus.scores.correlation),
        **_interval(_CORPUS_MARGIN_NAMES, corpus and corpus.margin),
        "n_rules": len(result.explanation.rules) if result.explanation else None,
        "valid_score": next((each.valid_score for each in result.attempts if each.number == result.chosen), None),
        "complexity": result.complexity,
        "density": result.density,
        "n_attempts": len(result.attempts),
        "n_failed_attempts": sum(attempt.has_failed for attempt in result.attempts),
        "n_converged_attempts": sum(bool(attempt.proposal.converged) for attempt in result.attempts),
        "n_simulated": len(simulated(result.attempts)),
        "seconds": result.seconds,
    }


def _source_row(result: FeatureResult, source: str) -> dict[str, object]:
    row: dict[str, object] = {"source": source, "n_sentences": 0, "n_complementary": 0, "undefined": ""}
    margin = result.margins.get(source)
    row.update(_interval(_MARGIN_NAMES, margin and margin.correlation))
    row["false_positives_margin"] = _value(margin and margin.false_positives_per_sentence)
    for floor in BASELINES:
        row[f"floor_{floor}"] = _value(result.floors.get(floor, {}).get(source))
    scores = result.scores.get(source)
    if scores is None:
        return {**row, "undefined": "not tested" if result.explanation else ""}
    return {**row, **_numbers(scores)}


def _numbers(scores: Scores) -> dict[str, object]:
    correlation = scores.correlation
    return {
        **_interval(("correlation", "ci_low", "ci_high"), correlation),
        **{name: _value(getattr(scores, name)) for name in _SCORE_NAMES},
        "n_sentences": scores.n_sentences,
        "n_complementary": scores.n_complementary,
        "undefined": correlation.reason,
    }


def _attempt_row(attempt: Attempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        "parent": attempt.parent,
        "depth": attempt.depth,
        "failure": attempt.proposal.failure,
        "converged": attempt.proposal.converged,
        "n_rules": len(attempt.explanation.rules) if attempt.explanation else None,
        "train_score": attempt.train_score,
        "valid_score": attempt.valid_score,
        "test_score": attempt.test_score,
        "complexity": attempt.complexity,
    }


def _interval(names: tuple[str, str, str], score: Score | None) -> dict[str, float | None]:
    """Return a score and the ends of its interval under three names."""
    values = (None, None, None) if score is None else (score.value, score.ci_low, score.ci_high)
    return dict(zip(names, values, strict=True))


def _value(score: Score | None) -> float | None:
    return None if score is None else score.value
