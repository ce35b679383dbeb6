"""Does any hostile input end in a traceback? `python -m benchmarks.hostile_inputs --seed 0`.

Makes a small world of valid files (a model, SAEs, corpora, a data folder, a run, a ledger, files of other tools), makes
each of them hostile in many ways that the seed decides, and gives it to the reader that it is meant for. Each reader
may read it or refuse it in a sentence of its own class of error. Prints counts by reader, the slowest input and the
peak of memory; exits with 1 where a reader lets another error out, takes longer than 20 seconds, or its process takes
more than 2 GB. An input is tried again alone by `--only "READER" --number N`.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hostile.worker import READERS, Outcome
from benchmarks.hostile.world import make_world

MOST_SECONDS, MOST_MIB = 20.0, 2000
_START_S = 120.0
"""What a process has to import everything."""


def numbers_of(cases: int) -> list[tuple[str, int]]:
    """Return which inputs of which readers are tried: about `cases`, shared out by weight, one of each at least."""
    total = sum(reader.weight for reader in READERS.values())
    return [
        (reader.name, number)
        for reader in READERS.values()
        for number in range(max(1, round(cases * reader.weight / total)))
    ]


class Worker:
    """A process that tries inputs, and is started anew where it dies or hangs."""

    def __init__(self, world: Path, seed: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.hostile.worker", str(world), str(seed), str(MOST_MIB)]
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def attempt(self, name: str, number: int) -> Outcome:
        """Try one input; of a process that hangs or dies the input is told."""
        patience = MOST_SECONDS
        if self._process is None:
            self._start()
            patience += _START_S
        process, start = self._process, time.monotonic()
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps({"reader": name, "number": number}) + "\n")
            process.stdin.flush()
            line = self._answers.get(timeout=patience)
        except (OSError, queue.Empty):
            line = None
        if line:
            return Outcome(**json.loads(line))
        self.stop()
        seconds = time.monotonic() - start
        return Outcome(name, number, "died" if line == "" else "hang", seconds, 0.0, "")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _start(self) -> None:
        self._answers = queue.Queue()
        self._process = process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        threading.Thread(target=_pump, args=(process, self._answers), daemon=True).start()


def _pump(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put("")


def try_all(asked: Sequence[tuple[str, int]], world: Path, seed: int, processes: int) -> list[Outcome]:
    """Return what became of every input, in the order in which they were asked."""
    waiting = list(enumerate(asked))[::-1]
    found: dict[int, Outcome] = {}

    def work() -> None:
        worker = Worker(world, seed)
        try:
            while waiting:
                place, (name, number) = waiting.pop()
                found[place] = outcome = worker.attempt(name, number)
                if outcome.kind not in ("read", "refused"):
                    print(f"{outcome.kind}: --only {name!r} --number {number}\n{outcome.told}", flush=True)
        except IndexError:  # another thread took the last one
            pass
        finally:
            worker.stop()

    threads = [threading.Thread(target=work) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[place] for place in sorted(found)]


def told(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of a table: counts by reader, the slowest input, and memory."""
    yield f"{'reader':34}{'tried':>6}{'read':>6}{'refused':>9}{'faults':>8}{'slowest':>9}"
    for name in [*READERS, "all"]:
        of_reader = [outcome for outcome in outcomes if name in (outcome.reader, "all")]
        if of_reader:
            kinds = Counter(outcome.kind for outcome in of_reader)
            faults = len(of_reader) - kinds["read"] - kinds["refused"]
            slowest = max(outcome.seconds for outcome in of_reader)
            counts = f"{len(of_reader):6}{kinds['read']:6}{kinds['refused']:9}{faults:8}{slowest:8.2f}s"
            yield f"{name:34}{counts}"
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    kinds = Counter(outcome.kind for outcome in outcomes)
    yield f"slowest: {slowest.reader}, number {slowest.number}: {slowest.seconds:.2f} s (limit {MOST_SECONDS:g} s)"
    peak = max(outcome.memory for outcome in outcomes)
    yield f"peak memory of a process: {peak:.0f} MiB (limit {MOST_MIB} MiB)"
    yield (
        f"{len(outcomes)} inputs: {kinds['read']} read, {kinds['refused']} refused in words, "
        f"{kinds['traceback']} tracebacks, {kinds['hang']} hangs, {kinds['died']} processes died"
    )


def is_fine(outcomes: Sequence[Outcome]) -> bool:
    """Say whether every input was read or refused, in time and within memory."""
    return all(
        outcome.kind in ("read", "refused") and outcome.seconds <= MOST_SECONDS and outcome.memory < MOST_MIB
        for outcome in outcomes
    )


@contextmanager
def _world(given: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hostile-world-") as folder:
        world = (given or Path(folder)).resolve()
        if not (world / "embedder").is_dir():
            world.mkdir(parents=True, exist_ok=True)
            make_world(world)
        yield world


def main() -> int:
    """Try them, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=2400, help="inputs, about (default 2400)")
    parser.add_argument("--processes", type=int, default=2, help="processes side by side (default 2)")
    parser.add_argument("--only", choices=sorted(READERS), help="one reader")
    parser.add_argument("--number", type=int, help="one input of that reader")
    parser.add_argument("--world", type=Path, help="folder of the valid files, made where it is empty")
    args = parser.parse_args()
    asked = [each for each in numbers_of(args.cases) if args.only in (None, each[0])]
    if args.only and args.number is not None:
        asked = [(args.only, args.number)]
    with _world(args.world) as world:
        outcomes = try_all(asked, world, args.seed, args.processes)
    print("\n".join(told(outcomes)))
    return int(not is_fine(outcomes))


if __name__ == "__main__":
    sys.exit(main())
