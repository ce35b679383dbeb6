"""Runs whose proposer is a language model: the real client, a real server that reads the prompt and answers from it."""

from __future__ import annotations

import itertools
import json
import math
import re
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.store import RunStore
from featureinterp.llm.api.providers import BASE_URL_NAME
from featureinterp.simulator.calibration import CASES
from tests.cli.test_bad_input import assert_told
from tests.cli.tiny import run_command
from tests.llm_server import Fault, LLMServer, Reply, at_rate

LINE = re.compile(r"^(.+)\t([1-5])$", re.MULTILINE)


def brain(body) -> str:
    """Name the tokens that fire in the last texts; a revision drops the last of them; other samples see fewer."""
    texts = [message["content"] for message in body["messages"] if message["role"] == "user"]
    revised = texts[-1].startswith("Your explanation")
    tokens = list(dict.fromkeys(token for token, _ in LINE.findall(texts[-2 if revised else -1])))
    words = "the tokens " + ", ".join(json.dumps(token) for token in tokens[: 8 - body["seed"] - 2 * revised])
    if "JSON list" not in body["messages"][0]["content"]:
        return f"Explanation: {words}"
    return f"Improvement: fewer\nExplanation: {json.dumps([{'activates_on': words, 'strength': 4}])}"


@pytest.fixture(scope="module")
def small_data(tiny, tmp_path_factory) -> Path:
    """A data folder of four latents of each layer that says what causes their activations."""
    root = tmp_path_factory.mktemp("holistic")
    samples = ("--top-sample-n", 12, "--complementary-sample-n", 9, "--latents", "0,1,2,3")
    stages = ("--write-sae-acts", "--write-holistic-acts", "--write-records")
    made = run_command("records", "--out", root, *tiny.options(), *samples, *stages)
    assert made.code == 0, made.err
    return root / "corpus_model"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Answers are stored in `cache/` of the folder that a command is given in."""
    monkeypatch.chdir(tmp_path)


LEXICAL = ("--simulator", "lexical")


def results(run: Path):
    """What a run holds, but for the seconds."""
    with RunStore.open(run) as store:
        return [replace(result, seconds=0.0) for result in store.results()]


def explain(data: Path, server: LLMServer, out: object, *more: object):
    small = ("--depth", 1, "--width", 1)
    return run_command("explain", data, "--out", out, "--proposer", f"local:m@{server.url}", *LEXICAL, *small, *more)


def test_the_bars_of_figure_4_ask_what_their_names_say(rich, tmp_path):
    """The whole comparison through the real client: each combination reaches the prompt in every search."""
    with LLMServer(brain) as server:
        small = ("--layers", 0, "--latents-per-layer", 6, "--depth", 1, "--width", 1, "--workers", 1)
        words = ("--data", rich, "--out", tmp_path / "runs", "--proposer", f"local:m@{server.url}")
        made = run_command("experiment", "explainers", *words, *LEXICAL, *small)
    assert made.code == 0, made.err
    firsts = [body["messages"] for body in server.seen.requests if not asks_to_revise(body["messages"])]
    asked = Counter(
        (
            "JSON list" in messages[0]["content"],
            "Texts on which the feature is silent" in messages[-1]["content"],
            "Its activation-causing tokens:" in messages[-1]["content"],
        )
        for messages in firsts
    )
    bars = {
        "unstructured": (False, False, False),
        "structured": (True, False, False),
        "structured-negatives": (True, True, False),
        "structured-holistic": (True, False, True),
    }
    assert set(asked) == set(bars.values())
    runs = {run.name: results(run) for run in sorted((tmp_path / "runs" / "corpus_model").iterdir())}
    assert len(runs) == 12
    for bar, words in bars.items():
        both = zip(runs[f"tree-{bar}"], runs[f"best-of-n-{bar}"], strict=True)
        firsts_of = [(sum(a.parent is None for a in tree.attempts), len(best.attempts)) for tree, best in both]
        told = "the first proposals of one search are those of another, and asked once"
        assert asked[words] == sum(map(max, firsts_of)), told
    for run, of_run in runs.items():
        explained = [result for result in of_run if result.explanation]
        assert explained, run
        assert all(result.explanation.rules[0].strength == (5 if "unstructured" in run else 4) for result in explained)
        assert all(result.usage.input_tokens > 0 for result in explained)
        assert any(attempt.parent is not None for result in explained for attempt in result.attempts) == ("tree" in run)


def asks_to_revise(messages) -> bool:
    return messages[-1]["content"].startswith("Your explanation")


@pytest.mark.parametrize(("structured", "holistic", "negatives"), list(itertools.product([True, False], repeat=3)))
def test_what_is_asked_for_reaches_the_prompt(small_data, tmp_path, structured, holistic, negatives):
    flags = ["--structured" if structured else "--unstructured", *(["--holistic"] if holistic else [])]
    flags += ["--train-negatives" if negatives else "--no-train-negatives"]
    with LLMServer(brain) as server:
        made = explain(small_data, server, tmp_path / "run", "--layers", 0, "--features", 1, *flags)
    assert made.code == 0, made.err
    system, *_, asked = [message["content"] for message in server.seen.requests[0]["messages"]]
    assert ("JSON list" in system) == structured
    assert ("activation-causing tokens" in system) == ("Its activation-causing tokens:" in asked) == holistic
    assert ("Texts on which the feature is silent" in asked) == negatives
    (result,) = results(tmp_path / "run")
    assert result.status == "explained"
    assert result.explanation.rules[0].strength == (4 if structured else 5)
    shown = run_command("prompt", small_data, result.key.layer, result.key.latent, *flags)
    bodies = ["\n\n".join(f"[{m['role']}]\n{m['content']}" for m in r["messages"]) for r in server.seen.requests]
    assert shown.out == bodies[0] + "\n"
    revised = next(attempt.parent for attempt in result.attempts if attempt.parent is not None)
    more = ("--run", tmp_path / "run", "--attempt", revised)
    assert run_command("prompt", small_data, result.key.layer, result.key.latent, *flags, *more).out[:-1] in bodies


def test_many_at_once_give_the_results_of_one_after_the_other(small_data, tmp_path):
    with LLMServer(brain, cost=0.001) as server:
        assert explain(small_data, server, "one", "--concurrency", 1).code == 0
        one_by_one = server.seen.most_in_flight
        (tmp_path / "cache" / "llm.sqlite").unlink()
        server.delay = 0.05
        assert explain(small_data, server, "many", "--concurrency", 8).code == 0
        assert one_by_one < server.seen.most_in_flight
        asked = len(server.seen.requests)
        assert explain(small_data, server, "again").code == 0
        assert explain(small_data, server, "stored", "--offline").code == 0
        assert len(server.seen.requests) == asked
    runs = [results(Path(name)) for name in ("one", "many", "again", "stored")]
    assert runs[0] == runs[1] == runs[2] == runs[3]
    explained = [result for result in runs[0] if result.status == "explained"]
    assert explained
    for result in explained:
        assert result.explainer == "tree/local:m"
        assert result.usage.requests >= 3
        assert result.usage.cost == pytest.approx(0.001 * result.usage.requests)
        assert result.usage.input_tokens > result.usage.output_tokens > 0
    rows = [json.loads(line) for line in run_command("results", "one", "--format", "jsonl").out.splitlines()]
    assert sum(row["usage"]["cost"] for row in rows) == pytest.approx(sum(r.usage.cost for r in runs[0]))


def test_an_endpoint_that_fails_now_and_then_changes_nothing(small_data):
    faults = (Fault.SERVER_ERROR, Fault.HTML, Fault.TRUNCATED, Fault.EMPTY_CHOICES, Fault.DROPPED, Fault.BUSY_SECONDS)
    with LLMServer(brain) as server:
        assert explain(small_data, server, "good").code == 0
    Path("cache/llm.sqlite").unlink()
    with LLMServer(brain, at_rate(0.2, faults)) as server:
        assert explain(small_data, server, "bad").code == 0
        assert server.seen.faults.total() > 3
        assert set(server.seen.answered.values()) == {1}  # nothing that was answered is asked again
    assert results(Path("bad")) == results(Path("good"))


def test_a_limit_ends_the_run_and_more_money_ends_it_as_if_there_was_none(small_data):
    with LLMServer(brain) as server:
        assert explain(small_data, server, "whole").code == 0
        Path("cache/llm.sqlite").unlink()
        stopped = explain(small_data, server, "stopped", "--max-tokens", 20_000, "--concurrency", 2)
        assert_told(stopped, "the limit of 20000 tokens is reached")
        assert 0 < len(results(Path("stopped"))) < len(results(Path("whole")))
        assert explain(small_data, server, "stopped", "--max-tokens", 10**9).code == 0
    assert results(Path("stopped")) == results(Path("whole"))


def test_the_limit_of_an_answer_and_no_temperature_reach_the_request_and_decide_the_run(small_data):
    small = ("--layers", 0, "--features", 1)
    with LLMServer(brain) as server:
        made = explain(small_data, server, "run", *small, "--answer-tokens", 20_000, "--temperature", "none")
        assert made.code == 0, made.err
        assert {body["max_tokens"] for body in server.seen.requests} == {20_000}
        assert not any("temperature" in body for body in server.seen.requests)
        other = explain(small_data, server, "run", *small, "--temperatures", "none")
        assert_told(other, "method.answer_tokens=20000 instead of 8192")
        words = ("experiment", "complementary", "--data", small_data, "--out", "paper", "--workers", 1, "--layers", 0)
        more = ("--latents-per-layer", 1, "--answer-tokens", 300, "--temperatures", "none", "--variants", "one-shot")
        asked = len(server.seen.requests)
        run_command(*words, *more, *LEXICAL, "--proposer", f"local:m@{server.url}")
        assert all(body["max_tokens"] == 300 for body in server.seen.requests[asked:])


def test_a_run_of_an_earlier_version_goes_on_with_the_limit_that_it_had(small_data):
    small = ("--layers", 0, "--features", 1, "--answer-tokens", 1024)
    with LLMServer(brain) as server:
        assert explain(small_data, server, "run", *small).code == 0
        with sqlite3.connect("run/run.sqlite") as connection:
            [text] = connection.execute("SELECT value FROM about WHERE name = 'configuration'").fetchone()
            old = json.loads(text)
            del old["method"]["answer_tokens"]
            connection.execute("UPDATE about SET value = ? WHERE name = 'configuration'", [json.dumps(old)])
        connection.close()
        assert explain(small_data, server, "run", *small).code == 0
        assert_told(explain(small_data, server, "run", *small[:-2]), "method.answer_tokens=1024 instead of 8192")


def test_answers_that_nobody_can_read_are_failed_features_with_the_reason(small_data):
    with LLMServer(lambda body: "I'm sorry, I can't help with that.") as server:
        assert explain(small_data, server, "run", "--layers", 0).code == 0
    failed = [result for result in results(Path("run")) if result.status == "failed"]
    assert failed
    for result in failed:
        assert "3x no answer of 3 can be read" in result.reason and "I'm sorry" in result.reason
        assert result.usage.requests == 9


def test_a_language_model_stands_for_the_tree_search_with_it(small_data, tmp_path):
    with LLMServer(brain) as server:
        name = f"local:m@{server.url}"
        made = run_command(
            "explain", small_data, "--out", "run", "--explainer", name, *LEXICAL, "--depth", 1, "--layers", 1
        )
        assert made.code == 0, made.err
        with RunStore.open(Path("run")) as store:
            configuration = json.loads(store.about()["configuration"])["method"]
        assert (configuration["explainer"], configuration["proposer"]) == ("tree", "local:m")
        assert configuration["prompt_version"] == 1 and configuration["temperatures"] == [1.0]
        assert "127.0.0.1" not in json.dumps(configuration)
        unnamed = run_command("explain", small_data, "--out", "run", "--explainer", name, "--depth", 1, "--layers", 1)
        both = run_command("explain", small_data, "--explainer", name, "--proposer", name)
    assert_told(unnamed, 'method.simulator="lexical" instead of "chat:local:m"', "give the settings it was made with")
    assert_told(both, "both name a proposer")


def test_the_demo_with_a_language_model_has_the_lexical_explanations_beside(tiny, tmp_path):
    options = ("--features", 3, "--depth", 1, "--width", 1, "--holistic", "--no-train-negatives", *tiny.options())
    with LLMServer(brain, cost=0.001) as server:
        name = f"local:m@{server.url}"
        made = run_command("demo", "--out", "run", "--explainer", name, *LEXICAL, "--temperatures", "0.7,1.0", *options)
        assert made.code == 0, made.err
        asked = server.seen.requests
        assert {body["temperature"] for body in asked} == {0.7, 1.0}
        first = [message["content"] for message in asked[0]["messages"]]
        assert "Its activation-causing tokens:" in first[-1]
        assert "Texts on which the feature is silent" not in first[-1]
    ours, lexical = results(Path("run")), results(Path("run/lexical"))
    assert [result.key for result in ours] == [result.key for result in lexical]
    assert {result.explainer for result in lexical} == {"tree/lexical"}
    index = (tmp_path / "run" / "report" / "index.html").read_text()
    assert '<section id="beside">' in index and "tree/lexical" in index and "tree/local:m" in index
    for result in ours:
        text = (tmp_path / "run" / "report" / "features" / f"{result.key.layer}-{result.key.latent}.html").read_text()
        assert '<section id="beside">' in text
    alone = run_command("report", "run/lexical", "--out", "alone")
    assert alone.code == 0 and 'id="beside"' not in (tmp_path / "alone" / "index.html").read_text()
    other_way = run_command("report", "run/lexical", "--beside", "run", "--out", "other")
    assert other_way.code == 0 and "Comparison with run" in (tmp_path / "other" / "index.html").read_text()


def test_runs_over_other_records_do_not_stand_beside_each_other(small_data, run):
    with LLMServer(brain) as server:
        assert explain(small_data, server, "other", "--features", 1).code == 0
    assert_told(run_command("report", run, "--beside", "other"), "have different records", "holistic")
    assert_told(run_command("report", run, "--beside", "nowhere"), "no run in nowhere")


def levels_brain(body) -> str | Reply:
    """Play all three: propose, write the levels of a text (5 on what the rule quotes), judge complexity."""
    task = body["messages"][-1]["content"]
    if body.get("logprobs"):
        return Reply("1", logprobs=[{"1": math.log(0.75), "3": math.log(0.25)}])
    if "\nThe text:\n" not in task:
        return brain(body)
    rule, _, lines = task.partition("\n\nThe text:\n")
    return "\n".join(f"{line}\t{5 if json.dumps(line) in rule else 0}" for line in lines.split("\n"))


def test_what_a_simulator_and_a_judge_of_complexity_take_is_counted(small_data, monkeypatch):
    small = ("--depth", 1, "--width", 1, "--layers", 0, "--features", 2)
    with LLMServer(levels_brain, cost=0.001) as server:
        server.delay = 0.05
        name = f"local:m@{server.url}"
        methods = ("--proposer", name, "--complexity", name)  # and it simulates, as no other model is named
        made = run_command("explain", small_data, "--out", "run", *methods, *small)
        assert made.code == 0, made.err
        assert server.seen.most_in_flight > 8  # two features at the same time
        asked = len(server.seen.requests)
        judged = sum("logprobs" in body for body in server.seen.requests)
        found = results(Path("run"))
        assert {result.status for result in found} == {"explained"}
        assert [result.complexity for result in found] == pytest.approx([1.5, 1.5])
        # A rule that both features have is asked once, and counts for both; the check of the simulator for neither.
        assert sum(result.whole_usage.requests for result in found) >= asked - 2 * len(CASES) > 100
        assert judged >= 1
        for result in found:
            assert result.floor_usage.requests > 0
            assert result.whole_usage.cost == pytest.approx(0.001 * result.whole_usage.requests)
        assert f"Paid for: {asked:,} requests" in made.out
        total = sum(result.whole_usage.requests for result in found)
        assert f"{total:,} requests" in run_command("results", "run").out
        assert run_command("report", "run").code == 0
        assert f"{total:,} requests" in Path("run/report/index.html").read_text()
        again = run_command("explain", small_data, "--out", "again", *methods, *small, "--offline")
        assert again.code == 0 and "Paid for" not in again.out
        assert results(Path("again")) == found
        grown = run_command("explain", small_data, "--out", "run", *methods, *small[:-1], 4)
        fresh = run_command("explain", small_data, "--out", "fresh", *methods, *small[:-1], 4)
        assert (grown.code, fresh.code) == (0, 0)
        assert results(Path("run")) == results(Path("fresh"))
    monkeypatch.setenv(BASE_URL_NAME, server.url)
    audited = json.loads(run_command("audit", "run", "--format", "json").out)  # the server is gone: cached answers
    assert (audited["n_features"], audited["n_sampled"], audited["without_corpus"]) == (4, 4, {})
    with RunStore.open(Path("run")) as store:
        configuration = json.loads(store.about()["configuration"])["method"]
    assert (configuration["simulator"], configuration["complexity"]) == ("chat:local:m", "local:m")
    assert configuration["simulator_prompt_version"] == configuration["complexity_prompt_version"] == 1


def test_features_are_simulated_at_the_same_time_where_only_the_simulator_is_waited_for(small_data):
    with LLMServer(levels_brain) as server:
        server.delay = 0.005
        name = f"chat:local:m@{server.url}"
        small = ("--depth", 1, "--width", 1, "--explainer", "one-shot", "--features", 4)
        one = run_command("explain", small_data, "--out", "one", "--simulator", name, *small, "--concurrency", 1)
        assert one.code == 0 and server.seen.most_in_flight == 1, one.err
        Path("cache/llm.sqlite").unlink()
        server.delay = 0.25  # so long that a slow machine, too, has sent many before the first is answered
        many = run_command("explain", small_data, "--out", "many", "--simulator", name, *small, "--concurrency", 64)
        assert many.code == 0 and server.seen.most_in_flight > 32
    assert results(Path("one")) == results(Path("many"))
    assert MethodSpec(simulator=name).waits and not MethodSpec().waits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--explainer", "best"], ["no explainer 'best'", "one-shot, tree"]),
        (["--proposer", "llama"], ["no proposer 'llama'", "lexical", "provider:model"]),
        (["--proposer", "nowhere:llama"], ["no provider 'nowhere'", "openrouter"]),
        (["--complexity", "oracle"], ["'oracle' is not the name of a language model"]),
        (["--simulator", "oracle"], ["no simulator 'oracle'", "lexical"]),
        (["--temperatures", "0.5"], ["the lexical proposer draws nothing at random"]),
        (["--answer-tokens", "500"], ["--answer-tokens limits nothing"]),
        (["--proposer", "a/b", "--temperatures", "hot"], ["temperatures 'hot' cannot be read"]),
        (["--proposer", "a/b", "--temperatures", "0.5,3"], ["from 0 to 2"]),
        (["--holistic"], ["activation-causing tokens", "--write-holistic-acts"]),
        (["--holistic", "--proposer", "a/b"], ["activation-causing tokens", "--write-holistic-acts"]),
        (["--proposer", "a/b", "--offline"], ["no cached answer of openrouter:a/b"]),
        (["--proposer", "a/b", "--max-cost", "0"], ["max_cost is 0"]),
    ],
)
def test_what_cannot_be_honoured_is_told(data, options, words):
    assert_told(run_command("explain", data, "--out", "run", *options), *words)


def test_a_limit_of_money_holds_at_the_default_concurrency_and_sees_ones_own_key(small_data, monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1/secret+key")
    small = ("--depth", 1, "--width", 1, "--max-cost", 1)
    with LLMServer(brain) as server:
        server.delay = 0.05
        bill = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.3}}
        server.usage = lambda counted: {**counted, **bill}
        proposer = ("--proposer", f"openrouter:v/m@{server.url}")
        assert_told(run_command("explain", small_data, "--out", "run", *proposer, *small), "the limit of $1 is reached")
        assert len(server.seen.requests) == 4
    assert b"secret" not in Path("run/run.sqlite").read_bytes()


@pytest.mark.parametrize("command", ["explain", "experiment"])
def test_a_silent_endpoint_ends_the_run_soon_and_the_same_command_goes_on(small_data, rich, command):
    with LLMServer(brain, lambda number: Fault.SLOW) as server:
        server.slow_seconds = 60
        asked = {
            "explain": ("explain", small_data, "--out", "run"),
            "experiment": (
                "experiment",
                "explainers",
                "--data",
                rich,
                "--layers",
                0,
                "--latents-per-layer",
                6,
                "--workers",
                1,
            ),
        }[command]
        small = (*LEXICAL, "--depth", 1, "--width", 1)
        options = ("--proposer", f"local:m@{server.url}", *small, "--request-timeout", 1.5)
        began = time.monotonic()
        silent = run_command(*asked, *options)
        assert_told(silent, "local:m is down: no data arrived within 1.5 seconds", "--request-timeout")
        assert time.monotonic() - began < 30
        server.faults = lambda number: None
        assert run_command(*asked, *options[:-1], 60).code == 0


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e9"])
def test_a_time_limit_that_is_none_is_told(data, seconds):
    asked = run_command(
        "explain", data, "--out", "run", "--proposer", "local:m@http://127.0.0.1:1", "--request-timeout", seconds
    )
    assert asked.code == 2 and "Traceback" not in asked.err


def test_a_question_about_an_attempt_that_is_not_there(data, run):
    with RunStore.open(run) as store:
        key = next(key for key, status in store.finished().items() if status == "explained")
        n = len(store.get(key).attempts)
    asked = ("prompt", data, key.layer, key.latent, "--run", run, "--attempt")
    assert_told(run_command(*asked, n), f"no attempt {n}", f"0 to {n - 1}")
    assert_told(run_command("prompt", data, 7, 0), "layer 7")
