"""Readers of text: answers of language models, options, explanations, ledgers, runs, requests; and what shows text."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

from benchmarks.hostile.cases import Case, Reader, wanted
from benchmarks.hostile.mutations import DEEP, TEXTS, VALUES, mutate_bytes, mutate_json, mutate_text, put
from featureinterp.errors import (
    DataFolderError,
    EndpointConfigError,
    ExplanationError,
    FeatureInterpError,
    InputError,
    StorageError,
)

_CHAT = {
    "id": "x", "model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.01},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "an answer"},
                 "logprobs": {"content": [{"token": "3", "logprob": -0.5,
                                           "top_logprobs": [{"token": "4", "logprob": -2}]}]}}],
}  # fmt: skip
_ECHO = {
    "model": "m", "usage": {"prompt_tokens": 3},
    "choices": [{"logprobs": {"tokens": ["a", " b"], "token_logprobs": [None, -1.5], "text_offset": [0, 1],
                              "top_logprobs": [None, {" b": -1.5, " c": -2.0}]}}],
}  # fmt: skip
_ERROR = {"error": {"message": "no", "code": 400, "type": "x"}}
_RULES = (
    '[{"activates_on": "the word function", "strength": 5}, {"activates_on": "names", "strength": 2}]',
    'Thinking.\n```json\n{"rules": [{"activates_on": "a", "strength": "3/5"}], "improvement": "more"}\n```',
    "EXPLANATION: the token ' raise' after ' an'",
)
_PHRASES = (
    "the tokens ' raise', ' raises' right after ' and' with ' not' before",
    "words ending in 'ing' but not right after numbers; or any token",
    "words like 'cat', 'do\\'g\\u{1F600}'",
)


def chat_answer(case: Case) -> None:
    """Read an endpoint's answer, and take its digits."""
    from featureinterp.chat import ChatAnswer
    from featureinterp.codec import encode
    from featureinterp.complexity.chat import digit_logits
    from featureinterp.llm.api import wire
    from featureinterp.llm.api.faults import Fault, fault_of_status

    text = _text(mutate_text(json.dumps(case.rng.choice((_CHAT, _CHAT, _ERROR))).encode(), case.rng))
    found = wire.read_chat(text)
    wanted(isinstance(found, (ChatAnswer, Fault)), "neither an answer nor a fault")
    if isinstance(found, ChatAnswer):
        for each in found.logprobs:
            digit_logits(each)
        encode(found)  # as the ledger does
    fault_of_status(case.rng.choice((400, 404, 429, 500, 999)), text, {"retry-after": case.rng.choice(TEXTS)})


def prompt_reading(case: Case) -> None:
    """Read the log probabilities of a prompt."""
    from featureinterp.chat import PromptReading, PromptRequest
    from featureinterp.codec import encode
    from featureinterp.llm.api import wire
    from featureinterp.llm.api.faults import Fault

    text = _text(mutate_text(json.dumps(_ECHO).encode(), case.rng))
    found = wire.read_prompt(text, PromptRequest("a b"))
    wanted(isinstance(found, (PromptReading, Fault)), "neither a reading nor a fault")
    if isinstance(found, PromptReading):
        encode(found)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def explanation(case: Case) -> None:
    """Read an answer as an explanation, and show it."""
    from featureinterp.codec import encode
    from featureinterp.complexity.lexical import lexical_complexity
    from featureinterp.explainer.llm.parse import read_answer

    rng = case.rng
    text = rng.choice(_RULES)
    text = (
        mutate_json(text, rng)
        if text.startswith("[") and rng.random() < 0.6
        else _text(mutate_bytes(text.encode(), rng))
    )
    text = rng.choice(("", "", "<think>" * 10, "[" * DEEP, "{" * 40_000, "```\n" * 100, rng.choice(TEXTS))) + text
    found = read_answer(text, structured=rng.random() < 0.7, rule_cap=5)
    if found.explanation is not None:
        encode(found.explanation)
        for rule in found.explanation.rules:
            lexical_complexity(rule.activates_on)


def phrase(case: Case) -> None:
    """Parse a lexical sentence, and write it again."""
    from featureinterp.phrases import parse_sentence, read_words, render_sentence

    text = _hostile_text(case.rng.choice(_PHRASES), case.rng)
    read_words(text)
    found = parse_sentence(text)
    wanted(parse_sentence(render_sentence(found)) == found, "it reads back as something else")


def _hostile_text(text: str, rng: Random) -> str:
    how = rng.random()
    if how < 0.5:
        return _text(mutate_bytes(text.encode(), rng))
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice((*TEXTS, "'" * 5000, "\\" * 5001, "\\u{110000}", "', '" * 5000)) + text[at:]


def model_name(case: Case) -> None:
    """Read the name of a language model, or its address."""
    from featureinterp.complexity.registry import check_complexity_name
    from featureinterp.llm.api.providers import check_url, parse_model_name

    names = ("openrouter:a/b", "local:m@http://127.0.0.1:8000/v1", "a/b", "gemini:x", "lexical", "hf:x")
    text = _hostile_text(case.rng.choice(names), case.rng)
    parse_model_name(text, case.rng.choice(("", "http://[::1", "http://x:99999", "http://a\0b", "https://u:p@h")))
    check_complexity_name(text)
    check_url(text)


def dot_env(case: Case) -> None:
    """Read settings from a `.env`."""
    from featureinterp.llm.api.providers import PROVIDERS, find_key, setting

    content = b"OPENAI_API_KEY=abc\nexport FEATUREINTERP_BASE_URL='http://x'\n#\n\n"
    path = case.folder / ".env"
    put(path, mutate_bytes(content, case.rng) + case.rng.choice((b"", b"A='", b"\0", b"=\n", b"${A" * 1000)), case.rng)
    setting("FEATUREINTERP_BASE_URL", case.folder)
    find_key(case.rng.choice(sorted(PROVIDERS.items()))[1], case.folder)


def option(case: Case) -> None:
    """Read what options hold."""
    from featureinterp.cli.options import numbers, temperatures
    from featureinterp.subject.names import hook_point, layer_of, select_layers
    from featureinterp.subject.precision import Precision, resolve_device

    rng = case.rng
    readers: tuple[Callable[[str], object], ...] = (
        temperatures,
        lambda text: numbers(text, "latents"),
        lambda text: select_layers(text, rng.choice((1, 12, 42))),
        hook_point,
        layer_of,
        resolve_device,
        Precision,
    )
    seeds = ("0.7,1.0", "3,17", "all", "spaced:8", "1, 2", "blocks.3.hook_resid_post", "cuda:1", "gpt2", "９", "٣", "²")
    text = rng.choice((_hostile_text(rng.choice(seeds), rng), str(rng.choice(VALUES)), "9" * 5000, "1e999", "spaced:0"))
    rng.choice(readers)(text)


def ledger(case: Case) -> None:
    """Open a ledger, and read all of it."""
    from featureinterp.chat import ChatAnswer
    from featureinterp.llm.api.ledger import Ledger

    path = case.folder / "llm.sqlite"
    _hostile_database(case.world / "ledger.sqlite", path, case.rng, ("request", "asked"), ("answer", "answer"))
    with Ledger(path) as opened:
        len(opened)
        list(opened.requests())
        for sample in range(3):
            opened.get(b"asked", sample, ChatAnswer)
        opened.put(b"asked too", 0, ChatAnswer("b"))


def run_file(case: Case) -> None:
    """Open a run, and do what the commands do with it."""
    from featureinterp.analysis.rows import csv_lines, json_lines, result_rows
    from featureinterp.analysis.runs import list_runs, run_summary
    from featureinterp.experiment.store import RunStore
    from featureinterp.report.terminal import feature_table

    path = case.folder / "run" / "run.sqlite"
    path.parent.mkdir()
    columns = [("about", "value"), ("about", "name"), ("asked", "layer"), ("asked", "hook_name")]
    columns += [("feature", name) for name in ("hook_name", "layer", "latent", "status", "shuffled_with", "result")]
    _hostile_database(case.world / "run" / "run.sqlite", path, case.rng, *columns)

    def opened(use: Callable[[RunStore], object]) -> None:
        with RunStore.open(path.parent) as store:
            use(store)

    uses: list[Callable[[], object]] = [
        lambda: opened(lambda store: [store.asked(), store.finished(), store.explained(), list(store.results())]),
        lambda: opened(run_summary),
        lambda: opened(lambda store: feature_table(store.results())),
        lambda: opened(lambda store: store._repr_html_()),
        lambda: list_runs(case.folder),
        lambda: list(csv_lines(result_rows(path.parent))),
        lambda: list(json_lines(result_rows(path.parent))),
    ]
    case.rng.choice(uses)()


def _hostile_database(source: Path, path: Path, rng: Random, *columns: tuple[str, str]) -> None:
    if rng.random() < 0.3:
        return put(path, mutate_bytes(source.read_bytes(), rng), rng)
    shutil.copyfile(source, path)
    bomb = next(folder for folder in source.parents if (folder / "bombs").is_dir()) / "bombs" / "spaces.zlib"
    with closing(sqlite3.connect(path)) as connection, connection:
        for _ in range(rng.choice((1, 1, 2))):
            table, column = rng.choice(columns)
            rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()
            old = rng.choice(rows)[0] if rows else None
            limit = f"WHERE {column} IS ?" if rng.random() < 0.8 else "WHERE 1 OR ?"
            try:
                connection.execute(f"UPDATE {table} SET {column} = ? {limit}", (_column(old, rng, bomb), old))
            except sqlite3.IntegrityError:
                connection.execute(f"DELETE FROM {table} {limit}", (old,))
    return None


def _column(old: object, rng: Random, bomb: Path) -> object:
    """Return what stands in a column in the place of what was there."""
    if isinstance(old, bytes) and rng.random() < 0.8:
        how = rng.random()
        if how < 0.1:
            return bomb.read_bytes()
        try:
            plain = zlib.decompressobj().decompress(old, 2**24)
        except zlib.error:  # a change before this one damaged it
            return mutate_bytes(old, rng)
        return mutate_bytes(old, rng) if how < 0.3 else zlib.compress(mutate_text(plain, rng), 1)
    if isinstance(old, str) and old.startswith("{") and rng.random() < 0.8:
        return mutate_text(old.encode(), rng).decode("utf-8", "replace")
    return rng.choice(
        (None, "", "a", -1, 2**62, 0.5, float("inf"), b"", b"\xff\xfe", "\0", "3", "x" * 10**5, b"{}", "{}")
    )


def shown(case: Case) -> None:
    """Write a run whose every text is hostile: tables, pages, exports."""
    from featureinterp.analysis.rows import csv_lines, json_lines, result_row, result_rows, write_parquet
    from featureinterp.analysis.runs import run_summary
    from featureinterp.codec import whole_characters
    from featureinterp.core import Rule, StructuredExplanation
    from featureinterp.experiment.store import RunStore
    from featureinterp.interop.neuronpedia import write_neuronpedia
    from featureinterp.interop.openai.exporting import write_openai
    from featureinterp.report.pages.markdown_html import markdown_html
    from featureinterp.report.pages.run_pages import write_report
    from featureinterp.report.terminal import feature_view
    from tests.report.features import explained

    rng = case.rng
    text = whole_characters("".join(rng.choices(TEXTS, k=3))) or "a"
    result = explained(0, 3, 0.5)
    rules = StructuredExplanation((Rule(text[:2000].strip() or "a", 3),))
    result = replace(
        result, explanation=rules, reason=text, explainer=text[:100], key=replace(result.key, hook_name=text)
    )
    configuration = {"method": {"simulator": text}, "seed": 0, "data": {}}
    with RunStore.create(case.folder / "run", configuration, {"command": text, "model": text}) as store:
        store.put(result)
        result_row(result)
        uses: list[Callable[[], object]] = [
            lambda: list(csv_lines(result_rows(case.folder))),
            lambda: list(json_lines(result_rows(case.folder))),
            lambda: write_parquet(result_rows(case.folder), case.folder / "a.parquet"),
            lambda: write_report(store.results(), run_summary(store), case.folder / "report"),
            lambda: write_neuronpedia(store, case.folder / "neuronpedia", text[:50]),
            lambda: write_openai(store, case.folder / "openai"),
            lambda: feature_view(result),
            lambda: markdown_html(text + "\n# " + text[:50] + "|" * 100),
        ]
        rng.choice(uses)()


READERS = (
    Reader("answers of language models", chat_answer, (FeatureInterpError,), 80),
    Reader("prompts read by language models", prompt_reading, (FeatureInterpError,), 40),
    Reader("explanations in answers", explanation, (ExplanationError,), 80),
    Reader("lexical phrases", phrase, (ExplanationError,), 60),
    Reader("names of language models", model_name, (InputError,), 30),
    Reader(".env files", dot_env, (InputError, EndpointConfigError), 20),
    Reader("options", option, (InputError,), 60),
    Reader("ledgers", ledger, (DataFolderError, StorageError), 40),
    Reader("runs", run_file, (DataFolderError, StorageError), 80),
    Reader("hostile text shown", shown, (StorageError,), 20),
)
