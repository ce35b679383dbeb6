"""`transformers serve`, a server that others wrote, with the embedded model: the client and the parser talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from featureinterp.chat import ChatRequest, Message
from featureinterp.errors import ChatError, RequestFailedError
from featureinterp.experiment.store import RunStore
from featureinterp.llm.api.client import open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.ledger import Ledger
from featureinterp.subject import embedded
from tests.cli.tiny import run_command

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
POSITIONS = 8192
"""As many as the prompts need; the embedded model has 128."""


def write_chat_model(folder: Path) -> None:
    """Write the embedded model with a chat template, room for long prompts, and answers that end with their line."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    source = Path(embedded.__file__).parent / "model"
    shutil.copytree(source, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    weights = load_file(source / "model.safetensors")
    (name,) = (name for name in weights if name.endswith("wpe.weight"))
    repeats = POSITIONS // len(weights[name])
    save_file({**weights, name: weights[name].repeat(repeats, 1)}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_positions": POSITIONS}))
    line_ends = [number for piece, number in AutoTokenizer.from_pretrained(source).get_vocab().items() if "Ċ" in piece]
    ends = {"eos_token_id": [0, *line_ends], "begin_suppress_tokens": line_ends, "pad_token_id": 0, "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(ends))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server in a process group of its own, which ends with the tests."""
    folder = tmp_path_factory.mktemp("serve")
    write_chat_model(folder / "model")
    port = free_port()
    program = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", "model"]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*program, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            cwd=folder,
            env={**os.environ, **offline},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 600
        while not healthy(port):
            told = (folder / "log").read_text()[-2000:]
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_an_answer_comes_back_and_is_stored(server, tmp_path):
    request = ChatRequest((Message("user", "Raised when a"),), max_tokens=12)
    ledger = tmp_path / "llm.sqlite"

    async def ask(url: str, params: ChatParams):
        async with open_chat_model(f"local:model@{url}", ledger=ledger, params=params) as model:
            return await model.answer(request, n=2)

    answers = asyncio.run(ask(server, ChatParams()))
    for answer in answers:
        assert answer.text.strip() and not answer.stored
        assert answer.finish_reason in ("stop", "length")
        assert answer.model.startswith("model")
        assert answer.usage.input_tokens > 3
        assert 0 < answer.usage.output_tokens <= 12
        assert (answer.usage.cost, answer.usage.unpriced) == (0, 0)
    assert answers[0].text != answers[1].text  # each sample has a seed of its own
    with Ledger(ledger) as stored:
        assert len(stored) == 2
    again = asyncio.run(ask("http://127.0.0.1:9/v1", ChatParams(offline=True)))
    assert again == [replace(answer, stored=True) for answer in answers]


def test_what_it_refuses_is_passed_on_in_its_own_words(server, tmp_path):
    async def ask(name: str, length: int):
        params = ChatParams(attempts=2, backoff_seconds=0.01)
        async with open_chat_model(f"local:{name}@{server}", ledger=tmp_path / "l", params=params) as model:
            await model.answer(ChatRequest((Message("user", "word " * length),), max_tokens=4))

    with pytest.raises(ChatError, match="Server is pinned to 'model'; requested 'another'"):
        asyncio.run(ask("another", 1))
    # It looks up a position that the model does not have. On a busy machine the connection is closed before the answer.
    refusal = "status 500, Internal Server Error|the connection was lost"
    with pytest.raises(RequestFailedError, match=f"fails after 2 attempts: ({refusal})"):
        asyncio.run(ask("model", 2 * POSITIONS))


@pytest.mark.parametrize("form", ["--structured", "--unstructured"])
def test_a_run_with_it_is_made_again_from_what_is_stored(server, data, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    small = ("--explainer", "one-shot", "--simulator", "lexical", "--features", 2, "--concurrency", 2, form)

    def explain(url: str, out: str, *more: str):
        made = run_command("explain", data, "--out", out, "--proposer", f"local:model@{url}", *small, *more)
        assert made.code == 0, made.err
        with RunStore.open(Path(out)) as store:
            return [replace(result, seconds=0.0) for result in store.results()]

    results = explain(server, "asked")
    attempts = [attempt for result in results for attempt in result.attempts]
    assert len(attempts) == 2
    assert all(result.usage.requests >= 1 and result.usage.output_tokens > 0 for result in results)
    unread = [attempt for attempt in attempts if attempt.explanation is None]
    assert all("no answer of 3 can be read" in attempt.proposal.failure for attempt in unread)
    # A small model of Python's documentation says something, but writes no JSON.
    assert len(unread) == 2 if form == "--structured" else len(unread) < 2
    assert explain("http://127.0.0.1:9/v1", "stored", "--offline") == results
