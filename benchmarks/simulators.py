"""Separation and speed of simulators: `python -m benchmarks.simulators NAME...`, names as of `--simulator`.

Prints a Markdown table: the separation with its 95% interval over the built-in cases, and the wall seconds for a rule
and window, without loading. Answers of endpoints are asked anew, into a ledger that is deleted; the
exit code is 1 where a simulator cannot tell right from wrong words or could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from featureinterp.core import Score
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.methods import Models
from featureinterp.llm.api.spending import Meter
from featureinterp.simulator.calibration import CASES, separation, tells_apart


async def measure(name: str, device: str, ledger: Path) -> tuple[Score, float]:
    """Return the separation of a simulator, and its seconds a rule and window."""
    async with Models(ModelAccess(device=device, ledger=ledger)) as models:
        simulators = models.simulators(name, Meter())
        await separation(simulators, CASES[::3])  # loads what is loaded late: a case of each kind
        started = time.perf_counter()
        found = await separation(simulators.fresh())
        return found, (time.perf_counter() - started) / (2 * len(CASES))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="lexical, hf:MODEL, echo:PROVIDER:MODEL, ...")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    print("| simulator | separation [95% interval] | tells right from wrong words | seconds a rule and window |")
    print("|---|---|---|---|")
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names:
            score, seconds = asyncio.run(measure(name, args.device, Path(folder) / "llm.sqlite"))
            scores.append(score)
            print(f"| `{name}` | {score} | {'yes' if tells_apart(score) else 'no'} | {seconds:.3g} |", flush=True)
    return int(not all(map(tells_apart, scores)))


if __name__ == "__main__":
    sys.exit(main())
