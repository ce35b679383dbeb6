"""What asking a language model costs besides the model: `python -m benchmarks.chat_client`.

A server on loopback answers at once, in a process of its own. Printed are the time per request with 64 on their way
at once, the CPU time that the client's process takes of it (which is the overhead where a real model is waited for),
and the time to look up 10,000 stored answers. Exits with 1 where a request takes the client 2 ms of CPU or more, or
the look-up a second of CPU or more; what else the machine does spoils both, the clock more than the CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from featureinterp.chat import ChatAnswer, ChatRequest, Message, Usage
from featureinterp.llm.api import wire
from featureinterp.llm.api.client import ChatClient, open_chat_model
from featureinterp.llm.api.connection import ChatParams
from tests.llm_server import LLMServer

MOST_MS, MOST_SECONDS = 2.0, 1.0
ANSWER = '[{"activates_on": "the token \' raise\'", "strength": 5}]'
PROMPT = "raise\t5\nValueError\t0\n" * 150


def serve(pipe: Pipe) -> None:
    """Run the server until told to stop."""
    with LLMServer(lambda _body: ANSWER) as server:
        pipe.send(server.url)
        pipe.recv()


def question(number: int) -> ChatRequest:
    """Return a question of a usual length, 3 kB."""
    return ChatRequest((Message("system", "Explain."), Message("user", f"feature {number}\n{PROMPT}")))


async def ask_all(model: ChatClient, numbers: range) -> tuple[float, float]:
    """Ask all at once and return milliseconds per request: on the clock, and of this process's CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(model.answer(question(number)) for number in numbers))
    each = 1000 / len(numbers)
    return each * (time.perf_counter() - wall), each * (time.process_time() - cpu)


async def requests(url: str, folder: Path, count: int, concurrency: int, rounds: int) -> tuple[float, float]:
    """Return the least milliseconds per request of a few rounds, on the clock and of CPU, connections made before."""
    params = ChatParams(concurrency=concurrency)
    async with open_chat_model(f"local:m@{url}", ledger=folder / "asked.sqlite", params=params) as model:
        await ask_all(model, range(2 * concurrency))
        found = [await ask_all(model, range(k * count, (k + 1) * count)) for k in range(1, rounds + 1)]
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


async def stored(folder: Path, count: int) -> tuple[float, float]:
    """Return the seconds, on the clock and of CPU, to find so many stored answers one after the other."""
    params = ChatParams(offline=True)
    async with open_chat_model(
        "local:m@http://127.0.0.1:9/v1", ledger=folder / "stored.sqlite", params=params
    ) as model:
        for number in range(count):
            asked = wire.canonical(model.endpoint, question(number))
            model.ledger.put(asked, 0, ChatAnswer(ANSWER, usage=Usage(1, 900, 20), model="m"))
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            await model.answer(question(number))
        return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=640)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--stored", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wall, cpu = asyncio.run(requests(ours.recv(), place, args.requests, args.concurrency, args.rounds))
        ours.send("stop")
        server.join()
        looked_up, looked_up_cpu = asyncio.run(stored(place, args.stored))
    print(f"{args.requests} requests of {len(PROMPT)} characters, {args.concurrency} at once, best of {args.rounds}")
    print(f"per request     {wall:6.2f} ms on the clock, {cpu:.2f} ms of the client's CPU; below {MOST_MS:g} is wanted")
    found = f"{looked_up:6.2f} s on the clock, {looked_up_cpu:.2f} s of CPU"
    print(f"{args.stored} stored {found} to look up one after the other; below {MOST_SECONDS:g} is wanted")
    sys.exit(cpu >= MOST_MS or looked_up_cpu >= MOST_SECONDS)


if __name__ == "__main__":
    main()
