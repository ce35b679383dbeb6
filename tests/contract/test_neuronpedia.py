"""Neuronpedia's folder against SAEDashboard's converter and Neuronpedia's own client, on the same feature."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from neuronpedia.np_activation import Activation
from neuronpedia.np_explanation import Explanation
from neuronpedia.np_feature import Feature, Logit
from neuronpedia.requests.feature_request import MAX_FEATURES_PER_BATCH, FeatureRequest
from sae_dashboard.components import (
    ActsHistogramData,
    FeatureTablesData,
    LogitsHistogramData,
    LogitsTableData,
    SequenceData,
    SequenceGroupData,
    SequenceMultiGroupData,
)
from sae_dashboard.feature_data import FeatureData
from sae_dashboard.neuronpedia.neuronpedia_converter import NeuronpediaConverter
from sae_dashboard.neuronpedia.neuronpedia_runner_config import NeuronpediaRunnerConfig
from sae_dashboard.sae_vis_data import SaeVisData

from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.store import RunStore
from featureinterp.interop.folder import positives_of
from featureinterp.interop.neuronpedia import MOST_CHARACTERS, MOST_TOKENS, write_neuronpedia
from tests.report.features import explained

ROUNDED = 5e-4
"""SAEDashboard keeps three decimals."""
NAMES = {
    "bin_min": "binMin", "bin_max": "binMax", "bin_contains": "binContains", "tokens": "tokens", "values": "values",
    "qualifying_token_index": "qualifyingTokenIndex", "dfa_values": "dfaValues", "dfa_maxValue": "dfaMaxValue",
    "dfa_targetIndex": "dfaTargetIndex",
}  # fmt: skip
"""SAEDashboard's names of what an activation has, and the columns they become."""
OF_THE_SOURCE = {"n_prompts_total", "n_tokens_in_prompt", "dataset", "activations", "feature_index"}
"""What SAEDashboard writes beside a feature that is no column of its row."""
RESULT = explained(0, 3, 0.9)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with RunStore.create(tmp_path / "run", {"seed": 0}, {"model": "gpt2", "SAE": "res-jb"}) as store:
        store.put(RESULT)
        write_neuronpedia(store, tmp_path / "out")
    return tmp_path / "out" / "gpt2" / "0-res-jb"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def dashboard(result: FeatureResult) -> dict[str, Any]:
    """The batch that SAEDashboard's converter makes of a feature's windows, histogram and logits."""
    vocabulary: dict[str, int] = {}

    def number(token: str) -> int:
        return vocabulary.setdefault(token, len(vocabulary))

    windows = positives_of(result)
    peaks = [one.expressions.index(max(one.expressions)) for one in windows]
    sequences = [
        SequenceData(
            original_index=one.dataset_index,
            qualifying_token_index=peak + 1,  # counted with BOS
            token_ids=[number(token) for token in one.tokens],
            feat_acts=list(one.expressions),
        )
        for one, peak in zip(windows, peaks, strict=True)
    ]
    acts = torch.tensor([one.expressions[peak] for one, peak in zip(windows, peaks, strict=True)])
    title = f"TOP ACTIVATIONS<br>MAX = {acts.max():.3f}"
    profile = result.profile
    assert profile is not None
    n = len(profile.histogram)
    data = FeatureData(
        feature_tables_data=FeatureTablesData(),
        acts_histogram_data=ActsHistogramData(
            bar_heights=list(profile.histogram),
            bar_values=[result.max_activation * (i + 0.5) / n for i in range(n)],
            title=f"ACTIVATIONS<br>DENSITY = {profile.share_active:.3%}",
        ),
        logits_table_data=LogitsTableData(
            bottom_token_ids=[number(token.text) for token in profile.suppressed],
            bottom_logits=[token.logit for token in profile.suppressed],
            top_token_ids=[number(token.text) for token in profile.promoted],
            top_logits=[token.logit for token in profile.promoted],
        ),
        logits_histogram_data=LogitsHistogramData(),
        sequence_data=SequenceMultiGroupData([SequenceGroupData(title, sequences)]),
    )
    model: Any = SimpleNamespace(cfg=SimpleNamespace(d_vocab=len(vocabulary)))
    config = NeuronpediaRunnerConfig("res-jb", "nowhere", "nowhere", model_id="gpt2", layer=0)
    vis: Any = SaeVisData(cfg=SimpleNamespace(), feature_data_dict={result.key.latent: data})
    strings = {index: token for token, index in vocabulary.items()}
    return json.loads(NeuronpediaConverter.convert_to_np_json(model, vis, config, strings))


def test_a_feature_has_the_columns_that_saedashboard_gives_it(place):
    batch = dashboard(RESULT)
    (theirs,) = batch["features"]
    (ours,) = lines(place / "features" / "batch-0.jsonl.gz")
    assert place.name == f"{batch['layer']}-{batch['sae_set']}"
    assert (batch["model_id"], str(theirs["feature_index"])) == (ours["modelId"], ours["index"])
    columns = theirs.keys() - OF_THE_SOURCE
    assert columns <= ours.keys()
    for name in columns:
        expected = theirs[name]
        if isinstance(expected, float) or (isinstance(expected, list) and expected and isinstance(expected[0], float)):
            assert ours[name] == pytest.approx(expected, abs=ROUNDED), name
        else:
            assert ours[name] == expected, name
    assert len(ours["pos_str"]) == len(ours["neg_values"]) == 10
    assert sum(ours["freq_hist_data_bar_heights"]) > 0


def test_an_activation_has_the_columns_that_saedashboard_gives_it(place):
    (feature,) = dashboard(RESULT)["features"]
    ours = lines(place / "activations" / "batch-0.jsonl.gz")
    assert len(ours) == len(feature["activations"]) == 3
    for row, theirs in zip(ours, feature["activations"], strict=True):
        assert theirs.keys() <= NAMES.keys()
        # Without direct feature attribution SAEDashboard's numbers for it are placeholders, and ours are the table's.
        for name in theirs.keys() - {"dfa_values", "dfa_maxValue", "dfa_targetIndex"}:
            same = row[NAMES[name]]
            assert same == (theirs[name] if name == "tokens" else pytest.approx(theirs[name], abs=ROUNDED)), name
        assert set(NAMES.values()) <= row.keys()
        assert row["dfaValues"] == theirs["dfa_values"] == []


def client_features(place: Path) -> list[Feature]:
    """Rows as the client's own classes, by the readers that it has for rows."""
    activations = []
    for row in lines(place / "activations" / "batch-0.jsonl.gz"):
        with pytest.raises(ValueError, match="quantileFraction"):  # the client refuses what SAEDashboard writes
            Activation.from_np_db_json({**row, "source": row["layer"]})
        activations.append(Activation.from_np_db_json({**row, "source": row["layer"], "binContains": None}))
    explanations = [
        Explanation.from_np_db_json({**row, "source": row["layer"]})
        for row in lines(place / "explanations" / "batch-0.jsonl.gz")
    ]
    return [
        Feature(
            row["modelId"], row["layer"], int(row["index"]), row["frac_nonzero"],
            [Logit(*pair) for pair in zip(row["pos_str"], row["pos_values"], strict=True)],
            [Logit(*pair) for pair in zip(row["neg_str"], row["neg_values"], strict=True)], explanations, activations,
        )
        for row in lines(place / "features" / "batch-0.jsonl.gz")
    ]  # fmt: skip


def test_rows_are_what_neuronpedias_client_reads_and_uploads(place, monkeypatch):
    sent = {}
    monkeypatch.setenv("NEURONPEDIA_API_KEY", "none")
    monkeypatch.setattr(FeatureRequest, "send_request", lambda self, **request: sent.update(request["json"]))
    features = client_features(place)
    assert len(features) <= MAX_FEATURES_PER_BATCH
    FeatureRequest().upload_batch("gpt2", place.name, features)
    assert (sent["modelId"], sent["source"]) == ("gpt2", "0-res-jb")
    (feature,) = sent["features"]
    assert feature["index"] == 3
    assert feature["explanations"][0]["text"] == "the token ' raise' (5 of 5); words ending in 'ing' (2 of 5)"
    assert len(feature["explanations"][0]["text"]) <= MOST_CHARACTERS == 512
    assert len(feature["topLogits"]) <= 20
    for activation, window in zip(feature["activations"], positives_of(RESULT), strict=True):
        assert activation["tokens"] == list(window.tokens)
        assert activation["values"] == list(window.expressions)
        assert len(activation["tokens"]) <= MOST_TOKENS == 1024
