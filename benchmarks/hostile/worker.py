"""A process that tries readers: takes a reader's name and a number on each line, and answers what became of it."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, TextIO

from benchmarks.hostile import files, models, server, texts
from benchmarks.hostile.cases import Case, Reader, is_refusal

READERS: Mapping[str, Reader] = {
    reader.name: reader for part in (files, texts, server, models) for reader in part.READERS
}
_MIB = 2**20
_SLOW = ("torch", "sae_lens", "transformers", "sentence_transformers", "datasets", "fastapi", "pyarrow.parquet")
"""Imported before the first input: their time is not its own."""


@dataclass(frozen=True)
class Outcome:
    """What became of a hostile input."""

    reader: str
    number: int
    kind: str
    """`read`, `refused` or `traceback`."""
    seconds: float
    memory: float
    """Peak of the process so far, in MiB."""
    told: str
    """The refusal, or the traceback."""


def attempt(name: str, number: int, seed: int, world: Path) -> Outcome:
    """Try a reader on the hostile input of a number."""
    reader, start = READERS[name], time.monotonic()
    kind, told = "read", ""
    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as folder:
        try:
            reader.read(Case(Random(f"{seed}/{name}/{number}"), Path(folder), world))
        except Exception as error:  # noqa: BLE001 - whatever leaves a reader is what is measured
            kind = "refused" if is_refusal(reader, error) else "traceback"
            told = str(error) if kind == "refused" else _traceback(error)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Outcome(name, number, kind, time.monotonic() - start, memory, told)


def _traceback(error: BaseException) -> str:
    lines = traceback.format_exception(error, chain=False)
    return "".join(lines[:1] + lines[-9:])[-4000:]


def _quiet() -> TextIO:
    """Return the real standard output, and send what libraries print there and to standard error to nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    return answers


def _limit_memory(most: int) -> None:
    """Let the process take `most` MiB; what libraries reserved and never touched does not count."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    reserved, used = (int(status[name].split()[0]) // 1024 for name in ("VmData", "VmRSS"))
    limit = (reserved + most - used) * _MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    """Answer lines of `{"reader": ..., "number": ...}` until there are no more."""
    world, seed, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", OMP_NUM_THREADS="1")
    for module in _SLOW:
        import_module(module)
    import torch

    torch.set_num_threads(1)
    _limit_memory(memory)
    answers = _quiet()
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        outcome = attempt(asked["reader"], asked["number"], seed, world)
        answers.write(json.dumps(outcome.__dict__) + "\n")
        answers.flush()
    os._exit(0)  # a server may still run in a thread


if __name__ == "__main__":
    main()
