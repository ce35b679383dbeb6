"""What the bench answers, computed again: Hugging Face's forward pass, the records, the run's own scores."""

import asyncio
import html
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from featureinterp.core import Rule, StructuredExplanation
from featureinterp.experiment.result import FeatureResult
from featureinterp.llm.api.spending import RunLimits
from featureinterp.report.server.spec import ServeSpec
from featureinterp.simulator import LexicalSimulatorFactory
from featureinterp.subject.embedded import sae_folder
from tests.llm_server import LLMServer
from tests.report.server.conftest import DEAD
from tests.report.server.running import Running, running

SENTENCE = "def main(argv): return 1 if you == 'g' else argv[0]\n"


def address(result: FeatureResult) -> dict[str, object]:
    return {"layer": result.key.layer, "latent": result.key.latent}


def stored_rules(result: FeatureResult) -> list[dict[str, str | int]]:
    assert result.explanation is not None
    return result.explanation.to_json()


def by_hand(text: str, result: FeatureResult, embedded_subject) -> np.ndarray:
    """Hugging Face's hidden states and the SAE's own weights; no code of ours computes anything."""
    model, tokenizer = embedded_subject.model._model, embedded_subject.model._tokenizer
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[result.key.layer + 1][0]
    folder = sae_folder(result.key.layer)
    config = json.loads((folder / "cfg.json").read_text())
    weights = load_file(folder / "sae_weights.safetensors")
    stream = hidden.double().numpy() - (weights["b_dec"] if config.get("apply_b_dec_to_input") else 0)
    before = stream @ weights["W_enc"].astype(np.float64) + weights["b_enc"]
    if config.get("rescale_acts_by_decoder_norm"):
        before *= np.linalg.norm(weights["W_dec"].astype(np.float64), axis=1)
    if config["architecture"] == "topk":
        least = np.sort(before, axis=1)[:, -config["k"]][:, None]
        before = np.where(before >= least, before, 0)
    return np.maximum(before, 0)[1:, result.key.latent]


def test_true_activations_are_the_models(server: Running, results: list[FeatureResult], embedded_subject) -> None:
    fires = 0
    for result in results:
        record = next(pair.record for pair in result.test_sequences if pair.record.source is None)
        for text in (SENTENCE, "".join(record.tokens)):
            answer = server.post("/api/activations", {**address(result), "text": text})
            assert answer.status == 200, answer.body
            found = [token["activation"] for token in answer.json["tokens"]]
            np.testing.assert_allclose(found, by_hand(text, result, embedded_subject), atol=2e-5, rtol=2e-5)
            levels = [token["level"] for token in answer.json["tokens"]]
            np.testing.assert_allclose(levels, np.clip(5 * np.array(found) / result.max_activation, 0, 5), atol=1e-9)
            assert "".join(token["text"] for token in answer.json["tokens"]) == text
            fires += max(found) > 0
    assert fires >= len(results)


def test_a_stored_sentence_gives_what_is_stored(
    server: Running, results: list[FeatureResult], embedded_subject
) -> None:
    """The records' activations and the stored simulation, wherever the joined text is cut into the same tokens."""
    checked = 0
    for result in results:
        for pair in result.test_sequences[::15]:
            text = "".join(pair.record.tokens)
            [ids] = embedded_subject.model.tokenize([text])
            if tuple(embedded_subject.model.token_strings(ids)) != pair.record.tokens:
                continue
            tokens = server.post("/api/activations", {**address(result), "text": text}).json["tokens"]
            assert [token["expected"] for token in tokens] == list(pair.simulation.expected_activations)
            np.testing.assert_allclose([t["activation"] for t in tokens], pair.record.expressions, atol=2e-5, rtol=2e-5)
            checked += 1
    assert checked >= 8


def test_the_disagreement_is_of_levels(server: Running, results: list[FeatureResult]) -> None:
    rules = [{"activates_on": "any token", "strength": 3}]
    body = server.post("/api/activations", {**address(results[0]), "text": SENTENCE, "rules": rules}).json
    levels, expected = ([token[name] for token in body["tokens"]] for name in ("level", "expected"))
    assert expected == [3.0] * len(levels)
    errors = np.array(expected) - levels
    assert [token["error"] for token in body["tokens"]] == pytest.approx(errors.tolist())
    assert body["disagreement"]["mean_absolute_error"] == pytest.approx(np.abs(errors).mean())
    assert body["disagreement"]["squared_error"] == pytest.approx((errors**2).sum())
    assert body["disagreement"]["words"][0].startswith("false alarm on")


def test_unedited_rules_score_as_the_run_says(server: Running, results: list[FeatureResult]) -> None:
    for result in results:
        body = server.post("/api/score", {"feature": address(result), "rules": stored_rules(result)}).json
        assert body["unchanged"]
        tested = {source for source, scores in result.scores.items() if scores.n_sentences}
        assert len(tested) >= 4 and {source["source"] for source in body["sources"]} == tested
        for source in body["sources"]:
            correlation = result.scores[source["source"]].correlation
            told = {"value": correlation.value, "ci_low": correlation.ci_low, "ci_high": correlation.ci_high}
            assert source["edited"] == source["stored"] == {**told, "reason": ""}
            assert source["difference"] == {"value": 0, "ci_low": 0, "ci_high": 0, "reason": ""}


async def recomputed(result: FeatureResult, rules: list[Rule], source: str) -> float:
    """The correlation over all tokens, one token at a time."""
    simulator = LexicalSimulatorFactory()(StructuredExplanation(tuple(rules)))
    truth, expected = [], []
    for pair in result.test_sequences:
        if pair.record.source is None or pair.record.source.value == source:
            truth += [5 * value / result.max_activation for value in pair.record.expressions]
            [simulation] = await simulator.simulate([pair.record.tokens])
            expected += simulation.expected_activations
    return float(np.corrcoef(truth, expected)[0, 1])


def test_edited_rules_score_as_a_recomputation(server: Running, results: list[FeatureResult]) -> None:
    for result in results:
        assert result.explanation is not None
        words = result.explanation.rules[0].activates_on
        rules = [Rule(words, 2), Rule("punctuation", 4)]
        sent = [{"activates_on": rule.activates_on, "strength": rule.strength} for rule in rules]
        body = server.post("/api/score", {"feature": address(result), "rules": sent}).json
        assert not body["unchanged"]
        for source in body["sources"]:
            wanted = asyncio.run(recomputed(result, rules, source["source"]))
            stored = result.scores[source["source"]].correlation.value
            assert source["edited"]["value"] == pytest.approx(wanted, abs=1e-9)
            assert source["difference"]["value"] == pytest.approx(wanted - float(stored or 0), abs=1e-9)


def test_the_top_features_of_a_sentence(server: Running, results: list[FeatureResult], embedded_subject) -> None:
    result = results[-1]
    record = next(pair.record for pair in result.test_sequences if pair.record.source is None)
    text = "".join(record.tokens)
    body = server.post("/api/top", {"text": text, "n": 3}).json
    strengths = {}
    for each in results:
        values = by_hand(text, each, embedded_subject)
        if values.max() > 1e-4:
            strengths[each.key.layer, each.key.latent] = (values.max() / each.max_activation, int(values.argmax()))
    wanted = sorted(strengths, key=lambda key: -strengths[key][0])[:3]
    assert [(f["feature"]["layer"], f["feature"]["latent"]) for f in body["features"]] == wanted
    assert [f["position"] for f in body["features"]] == [strengths[key][1] for key in wanted]
    assert body["n_firing"] == len(strengths)


def test_a_dead_feature_has_activations_and_no_expectation(server: Running) -> None:
    body = server.post("/api/activations", {"layer": DEAD.layer, "latent": DEAD.latent, "text": SENTENCE}).json
    assert {token["level"] for token in body["tokens"]} == {token["expected"] for token in body["tokens"]} == {None}
    assert body["disagreement"] is None
    assert "never fired" in body["notes"][0] and "no explanation" in body["notes"][1]
    refused = server.post(
        "/api/score",
        {"feature": {"layer": DEAD.layer, "latent": DEAD.latent}, "rules": [{"activates_on": "a", "strength": 1}]},
    )
    assert refused.status == 409 and "no explanation" in refused.json["problem"]


def test_lists(server: Running, results: list[FeatureResult]) -> None:
    every = server.get("/api/features").json
    assert every["total"] == len(results) + 1
    assert server.get("/api/features?layer=3").json["total"] == sum(result.key.layer == 3 for result in results)
    one = next(feature for feature in every["features"] if feature["status"] == "explained")
    assert server.get(f"/api/features/{one['name']}").body == server.get(f"/features/{one['name']}.json").body
    assert server.get("/api/run").json["finished"] is True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "text is empty"),
        (b'"\\ud800"', "a lone surrogate"),
        ("word " * 3000, "tokens; the model's context is 127"),
        ("x" * 20_001, "text is invalid"),
    ],
)
def test_sentences_that_cannot_be_tried(server: Running, results, text: str | bytes, problem: str) -> None:
    written = text if isinstance(text, bytes) else json.dumps(text).encode()
    place = json.dumps(address(results[0])).encode()[:-1]
    answer = server.post("/api/activations", place + b', "text": ' + written + b"}")
    assert answer.status == 422
    assert problem in answer.json["problem"], answer.json


@pytest.mark.parametrize(
    "text",
    ["</script><img src=x onerror=alert(1)>", "{{7*7}}", "a\x00b", "\u202etxet", "\u200fשלום", " ", "\n", "😀\ud7ff"],
)
def test_hostile_sentences_are_sentences(server: Running, results: list[FeatureResult], text: str) -> None:
    answer = server.post("/api/activations", {**address(results[0]), "text": text})
    assert answer.status == 200, answer.body
    shown = "".join(token["lead"] + token["shown"] for token in answer.json["tokens"])
    assert not any(character in shown for character in "\x00\u202e\u200f\n")


def test_a_run_whose_data_folder_is_gone(run: Path, results: list[FeatureResult], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(run / "run.sqlite", moved)
    result = results[0]
    with running(ServeSpec(moved)) as server:
        assert server.get("/").status == 200
        assert server.post("/api/score", {"feature": address(result), "rules": stored_rules(result)}).status == 200
        refused = server.post("/api/activations", {**address(result), "text": SENTENCE})
        assert refused.status == 409
        assert "is not there" in refused.json["problem"] and "--data FOLDER" in refused.json["hint"]
    data = run / "data" / "python-docs_embedded"
    with running(replace(ServeSpec(moved), data=data)) as server:
        assert server.post("/api/activations", {**address(result), "text": SENTENCE}).status == 200


def simulated_by(name: str, run: Path, folder: Path) -> None:
    """Copy a run, with another simulator's name in its configuration."""
    with sqlite3.connect(shutil.copy(run / "run.sqlite", folder)) as connection:
        [text] = connection.execute("SELECT value FROM about WHERE name = 'configuration'").fetchone()
        changed = text.replace('"simulator":"lexical"', json.dumps({"simulator": name}, separators=(",", ":"))[1:-1])
        connection.execute("UPDATE about SET value = ? WHERE name = 'configuration'", (changed,))


def test_a_simulator_behind_an_endpoint_is_asked_within_the_limits_it_is_given(
    run: Path, results: list[FeatureResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # its answers are stored in the folder it is served from
    result, data = results[0], run / "data" / "python-docs_embedded"
    question = {"feature": address(result), "rules": [{"activates_on": "the token ' the'", "strength": 4}]}
    with LLMServer(lambda body: _fives(body, "the"), cost=0.001) as server:
        simulated_by(f"chat:local:m@{server.url}", run, tmp_path)
        with running(ServeSpec(tmp_path, data)) as served:
            assert served.post("/api/score", question).status == 502
        assert not server.seen.requests
        with running(ServeSpec(tmp_path, data, simulation=RunLimits(max_cost=5))) as served:
            body = served.post("/api/activations", {**address(result), "text": "x the y", "rules": question["rules"]})
            assert [round(token["expected"]) for token in body.json["tokens"]] == [0, 4, 0]
            scored = served.post("/api/score", question)
            assert scored.status == 200 and scored.json["sources"]
        asked = len(server.seen.requests)
        with running(ServeSpec(tmp_path, data)) as served:  # what was paid for once is there for good
            assert served.post("/api/score", question).json == scored.json
        assert len(server.seen.requests) == asked > 1
        other = {**question, "rules": [{"activates_on": "the token 'raise'", "strength": 1}]}
        with running(ServeSpec(tmp_path, data, simulation=RunLimits(max_cost=0.0005))) as served:
            refused = served.post("/api/score", other)
            assert (refused.status, "0.0005" in refused.json["problem"]) == (502, True), refused.json


def _fives(body: Mapping[str, Any], word: str) -> str:
    """Answer a simulation: 5 on every line that has the word, 0 elsewhere."""
    _, _, lines = body["messages"][-1]["content"].partition("\n\nThe text:\n")
    return "\n".join(f"{line}\t{5 if line.strip() == word else 0}" for line in lines.split("\n"))


def test_a_simulator_behind_an_endpoint_is_never_asked(run: Path, results: list[FeatureResult], tmp_path: Path) -> None:
    """Only what is stored counts: the true activations are told, and why nothing is expected."""
    simulated_by("chat:openrouter:openai/gpt-4.1", run, tmp_path)
    result = results[0]
    with running(ServeSpec(tmp_path, run / "data" / "python-docs_embedded")) as server:
        body = server.post("/api/activations", {**address(result), "text": SENTENCE}).json
        assert {token["expected"] for token in body["tokens"]} == {None}
        assert "only its stored answers are used here" in body["notes"][0]
        refused = server.post("/api/score", {"feature": address(result), "rules": stored_rules(result)})
        assert refused.status == 502
        assert "chat:openrouter:openai/gpt-4.1 is a language model behind an endpoint" in refused.json["problem"]


def test_the_documented_commands_are_answered_as_they_stand(run: Path, results: list[FeatureResult]) -> None:
    key = results[0].key
    with running(ServeSpec(run)) as server:
        page = html.unescape(server.get("/docs").body.decode())
        commands = [text.replace("\\\n", " ") for text in re.findall(r"<code>(curl .*?)</code>", page, re.DOTALL)]
        assert len(commands) == 6
        for command in commands:
            mine = command.replace("/2-7'", f"/{key.layer}-{key.latent}'")
            mine = mine.replace('"layer": 2', f'"layer": {key.layer}').replace('"latent": 7', f'"latent": {key.latent}')
            said = subprocess.run(
                ["bash", "-c", f"{mine} -s -w '%{{http_code}}' -o /dev/null"], capture_output=True, text=True
            )
            assert said.stdout == "200", (command, said)
