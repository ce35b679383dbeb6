"""How fast are features explained without a language model? `OMP_NUM_THREADS=1 python -m benchmarks.explaining`.

Explains features of the embedded model from start to end, as `featureinterp explain` does, once with the miner and once
with a naive one: one slot after the other, all names summed and ranked. Prints features a CPU second of both, their
ratio, and where the time of ours goes. Exits with 1 where an explanation or a score differs.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import FrameType
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.prepare import prepare
from featureinterp.dataset.spec import DataSpec
from featureinterp.experiment.engines.worker import OpenRun, explain_key
from featureinterp.experiment.explain import FeatureChoice, FolderJob, RunSpec
from featureinterp.experiment.method.methods import Models
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.explainer.lexical.candidates import Levels, Slot
from featureinterp.explainer.lexical.mining import Found, MinedRule, Miner
from featureinterp.phrases import MAX_QUOTED, Phrase

STAGES = {
    "explainer/lexical/": "mining",
    "explainer/": "search",
    "simulator/": "simulation",
    "scoring/baselines": "baselines",
    "scoring/": "scores",
    "experiment/scores/": "scores",
    "dataset/": "reading records and activations",
    "codec": "reading records and activations",
}
"""Part of a file's path to the stage that it belongs to; the first part found counts."""
SAMPLED_EVERY = 0.002
Candidate = Slot | tuple[Phrase, NDArray[np.int64]]


class NaiveMiner(Miner):
    """Tries one candidate after the other."""

    def _search(self, others: Sequence[MinedRule]) -> list[Found]:
        found = self._each(self._alone, others)
        return sorted((one for one in found if one.saving > 0), key=lambda one: -one.saving)

    @cached_property
    def _alone(self) -> list[Candidate]:
        candidates: list[Candidate] = [*self._candidates.phrases, *self._candidates.slots]
        saving = [found.saving for found in self._each(candidates, [])]
        return [one for one, saved in zip(candidates, saving, strict=True) if saved > 0]

    def _each(self, candidates: Sequence[Candidate], others: Sequence[MinedRule]) -> list[Found]:
        saved = self._saved(self._expected(others))
        return [self._best(one, saved) if isinstance(one, Slot) else self._phrase(*one, saved) for one in candidates]

    def _phrase(self, phrase: Phrase, places: NDArray[np.int64], saved: Levels) -> Found:
        prices = [self.params.price(phrase, strength) for strength in self.params.strengths]
        savings = saved[:, places + self.evidence.ids.size].sum(axis=1) - prices
        best = int(savings.argmax())
        return Found(float(savings[best]), phrase, self.params.strengths[best], [])

    def _best(self, slot: Slot, saved: Levels) -> Found:
        params, n = self.params, len(slot.axis.names)
        by_name = np.array([np.bincount(slot.name, row[slot.columns], n) for row in saved])
        by_name -= params.string_cost + params.prior_count * np.array(params.strengths)[:, None] ** 2
        order = np.argsort(-by_name, axis=1, kind="stable")[:, : MAX_QUOTED - slot.frame.n_quoted]
        gains = np.maximum(np.take_along_axis(by_name, order, axis=1), 0.0)
        totals = gains.sum(axis=1) - params.rule_cost - params.string_cost * slot.frame.n_quoted
        row = int(totals.argmax())
        chosen = order[row][gains[row] > 0].tolist()
        return Found(float(totals[row]), slot, params.strengths[row], chosen)


class Stages:
    """Counts in which stage a program is, every few milliseconds of CPU time."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Stages:
        signal.signal(signal.SIGPROF, self._count)
        signal.setitimer(signal.ITIMER_PROF, SAMPLED_EVERY, SAMPLED_EVERY)
        return self

    def __exit__(self, *_error: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _count(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None:
            path = frame.f_code.co_filename.rpartition("featureinterp/")[2]
            stage = next((stage for part, stage in STAGES.items() if path.startswith(part)), None)
            if stage is not None:
                self.counts[stage] += 1
                return
            frame = frame.f_back
        self.counts["other"] += 1


async def explained(keys: Sequence[FeatureKey], run: OpenRun) -> tuple[float, list[FeatureResult]]:
    """Return the CPU seconds of explaining features, and the results without their times."""
    started = time.process_time()
    results = [await explain_key(key, run) for key in keys]
    return time.process_time() - started, [replace(result, seconds=0.0) for result in results]


async def measure(folder: Path, keys: Sequence[FeatureKey]) -> bool:
    """Print the figures; return whether both miners explain all features alike."""
    async with Models() as models:
        run = FolderJob(folder, RunSpec()).open(models)
        await explained(keys[:1], run)  # reads the corpus and embeds its words
        with Stages() as stages:
            seconds, ours = await explained(keys, run)
        with patch("featureinterp.explainer.lexical.proposer.Miner", NaiveMiner):
            slow, theirs = await explained(keys, run)
    same = sum(one == other for one, other in zip(ours, theirs, strict=True))
    print(f"{len(keys)} features: {len(keys) / seconds:.2f} a CPU second, {1000 * seconds / len(keys):.0f} ms each;")
    print(
        f"with a naive miner {len(keys) / slow:.2f}: {slow / seconds:.1f}x; {same} of {len(keys)} results are equal\n"
    )
    print("| stage | ms a feature | share |\n|---|---|---|")
    total = stages.counts.total()
    for stage, count in stages.counts.most_common():
        print(f"| {stage} | {1000 * seconds * count / total / len(keys):.0f} | {count / total:.0%} |")
    return same == len(keys)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2000, help="of the corpus")
    parser.add_argument("--latents", type=int, default=24, help="of each layer of the data folder")
    parser.add_argument("--features", type=int, default=24)
    parser.add_argument("--root", type=Path, help="keep the data folder here and use it again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        spec = DataSpec(max_dataset_size=args.windows, max_features=args.latents)
        folder = prepare(spec, args.root or Path(temporary), stages=("records",))
        keys = FeatureChoice(features=args.features).keys(folder, 0)
        return int(not asyncio.run(measure(folder.path, keys)))


if __name__ == "__main__":
    sys.exit(main())
