"""Whether scores put the true explanation first, where the truth is known: `python -m benchmarks.planted`.

Latents are planted in a corpus of documents of Zipf-distributed words. Each is a program over tokens with graded
activations; what it fires on, in which contexts its tokens are silent, and how often, is set. Their records are made as
those of any latent. Scored on them, as an explanation is in a run, are the true explanation, one that claims twice as
many tokens, one that claims half as many, one with a wrong context, and the list of the tokens that fire in train.

Prints Markdown: how often the true explanation is first, and how often better than each wrong one; what each number
makes of claims twice too many, spread over the corpus; and how often the interval of an estimate holds the exact score.
Ten minutes on one core; `--draws 5` takes five.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.planted_corpus import BROAD, LIST, PROGRAMS, TRUE, WRONG_ONES, PlantedCorpus, Program, rules, tokens
from featureinterp.analysis.markdown import table
from featureinterp.core import Score, StructuredExplanation
from featureinterp.dataset.spec import DataSpec
from featureinterp.phrases import MAX_QUOTED, Phrase
from featureinterp.protocols import Simulator
from featureinterp.record import ActivationRecord, SAEIndexRecord, Split, SplitParams, corpus_weights, split_records
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.scoring import score_by_source, score_sequences, simulate_records
from featureinterp.simulator.lexical import LexicalSimulatorFactory

EXACT, ESTIMATED = "correlation on the corpus, exact", "correlation on the corpus, estimated"
SAME_TOKEN, CLAIMS = "correlation, same-token negatives", "false claims, same-token negatives"
SIMILAR, RANDOM = "correlation, similar negatives", "correlation, random negatives"
NUMBERS = (EXACT, ESTIMATED, SAME_TOKEN, CLAIMS, SIMILAR, RANDOM)
"""The headline, then what the paper tests on."""
SOURCES = {SAME_TOKEN: Source.SAME_TOKEN_NEGATIVE, SIMILAR: Source.SIMILAR_NEGATIVE, RANDOM: Source.RANDOM_NEGATIVE}

WINDOWS_AT = {1e-2: 30_000, 1e-3: 30_000, 1e-4: 60_000, 1e-5: 320_000}
"""Windows of the corpus by firing rate: each latent fires at least a hundred times."""


def list_of_tokens(train: Sequence[ActivationRecord]) -> StructuredExplanation:
    """Return the tokens that fire in train, by their mean level over all train records."""
    levels: defaultdict[str, list[float]] = defaultdict(list)
    for record in train:
        for token, level in zip(record.tokens, record.scaled_activations().tolist(), strict=True):
            levels[token].append(level)
    of_strength: defaultdict[int, list[str]] = defaultdict(list)
    for token, seen in sorted(levels.items()):
        if max(seen) > 0:
            of_strength[max(1, round(float(np.mean(seen))))].append(token)
    return rules(
        *(
            (Phrase(tokens(*listed[first : first + MAX_QUOTED])), strength)
            for strength, listed in sorted(of_strength.items())
            for first in range(0, len(listed), MAX_QUOTED)
        )
    )


@dataclass(frozen=True)
class Draw:
    """Scores of the true and the wrong explanations of a latent on one draw of its records."""

    program: Program
    scores: Mapping[str, Mapping[str, Score]]
    """By number and explanation; without a number that the latent has no records for."""

    def margin(self, number: str, wrong: str) -> float:
        """Return by how much the true explanation is better than a wrong one; an undefined score is the worst."""
        ours, theirs = (self.scores[number][each].value for each in (TRUE, wrong))
        if ours is None or theirs is None:
            return float(ours is not None) - float(theirs is not None)
        return theirs - ours if number == CLAIMS else ours - theirs

    def is_first(self, number: str) -> bool:
        """Return whether the true explanation is first: better than each wrong one; with false claims, none is better.

        An explanation that claims nothing has no false claims, so there the true one can only be as good.
        """
        margins = [self.margin(number, wrong) for wrong in WRONG_ONES if self.program.has(wrong)]
        return min(margins) >= 0 if number == CLAIMS else min(margins) > 0


def draws(corpus: PlantedCorpus, n: int) -> Iterator[Draw]:
    """Draw the records of every latent n times, and score its explanations on them."""
    for seed in range(n):
        for latent, plan in corpus.data.plans(range(len(PROGRAMS)), DataSpec(seed=seed)):
            if plan.selection is None:
                raise ValueError(f"latent {latent} has no records: {plan.report.reason}")
            program = PROGRAMS[latent]
            test = Tested.of(corpus.data.record(latent, plan.selection, None))
            explanations = {**program.explanations, LIST: list_of_tokens(test.train)}
            simulators = LexicalSimulatorFactory()
            scored = {name: asyncio.run(test.scores(simulators(each))) for name, each in explanations.items()}
            for name, each in explanations.items():
                scored[name][EXACT] = Score(corpus.exact(latent, each))
            numbers = [number for number in NUMBERS if number in scored[TRUE]]
            yield Draw(program, {number: {name: scored[name][number] for name in scored} for number in numbers})


@dataclass(frozen=True)
class Tested:
    """Records that explanations are scored on, and those of train."""

    train: tuple[ActivationRecord, ...]
    test: tuple[ActivationRecord, ...]
    """Positives and three complementary sources."""
    corpus: tuple[ActivationRecord, ...]
    """Drawn from the strata of the corpus."""
    weights: list[float]
    """How many windows each of these stands for."""

    @classmethod
    def of(cls, record: SAEIndexRecord) -> Tested:
        """Take the records of one latent, 30 windows of each list."""
        splits = record.splits(SplitParams(test_sources=tuple(SOURCES.values())))
        drawn = split_records(record.corpus_records, Split.TEST)
        return cls(splits.train, splits.test, drawn, corpus_weights(drawn, record.strata))

    async def scores(self, simulator: Simulator) -> dict[str, Score]:
        """Return every number of an explanation that there are records for, but the exact one."""
        by_source = score_by_source(await simulate_records(simulator, self.test), intervals=False)
        found = {
            number: by_source[source.value].correlation
            for number, source in SOURCES.items()
            if source.value in by_source
        }
        if SAME_TOKEN in found:
            found[CLAIMS] = by_source[Source.SAME_TOKEN_NEGATIVE.value].false_positives_per_sentence
        sequences = await simulate_records(simulator, self.corpus)
        return {**found, ESTIMATED: score_sequences(sequences, weights=self.weights).scores.correlation}


def share_first(found: Sequence[Draw], number: str) -> str:
    """Return the share of draws in which the true explanation is first."""
    first = [each.is_first(number) for each in found if number in each.scores]
    return f"{np.mean(first):.2f}" if first else "no records"


def share_better(found: Sequence[Draw], number: str, wrong: str) -> str:
    """Return the share of draws in which the true explanation is better than a wrong one."""
    better = [each.margin(number, wrong) > 0 for each in found if number in each.scores and each.program.has(wrong)]
    return f"{np.mean(better):.2f}"


def first_table(groups: Mapping[str, Sequence[Draw]]) -> str:
    """Return how often the true explanation is first, by number and group of draws."""
    rows = [[number, *(share_first(each, number) for each in groups.values())] for number in NUMBERS]
    return table(["first, by", *groups], rows) + "\n"


def better_table(found: Sequence[Draw]) -> str:
    """Return how often the true explanation is better than each wrong one, by number."""
    rows = [[number, *(share_better(found, number, wrong) for wrong in WRONG_ONES)] for number in NUMBERS]
    return table(["better than", *WRONG_ONES], rows) + "\n"


def spread_table(found: Sequence[Draw]) -> str:
    """Return what each number makes of claims twice too many, spread over the corpus."""
    rows = []
    for number in (one for one in NUMBERS if all(one in each.scores for each in found)):
        means = [np.mean([float(each.scores[number][name]) for each in found]) for name in (TRUE, BROAD)]
        rows.append([number, *(f"{mean:.3f}" for mean in means), share_better(found, number, BROAD)])
    return table(["score", TRUE, BROAD, "true is better"], rows) + "\n"


def held(found: Sequence[Draw], name: str) -> str:
    """Return the share of intervals of an explanation's estimated correlation that hold the exact one."""
    within = []
    for each in found:
        exact, drawn = float(each.scores[EXACT][name]), each.scores[ESTIMATED][name]
        if drawn.ci_low is not None and drawn.ci_high is not None:
            within.append(drawn.ci_low <= exact <= drawn.ci_high)
    return f"{np.mean(within):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=25, help="draws of each latent's records at each firing rate")
    args = parser.parse_args()
    by_rate: dict[str, list[Draw]] = {}
    for number, (rate, n_windows) in enumerate(WINDOWS_AT.items()):
        corpus = PlantedCorpus(rate, n_windows, np.random.default_rng(number))
        by_rate[f"{rate:g}"] = list(draws(corpus, args.draws))
    every = [draw for found in by_rate.values() for draw in found]
    by_program = {each.name: [draw for draw in every if draw.program is each] for each in PROGRAMS}
    print("Share of draws in which the true explanation is first, by firing rate, and by latent:\n")
    print(first_table(by_rate))
    print(first_table(by_program))
    print("Share of draws in which it is better than one wrong explanation:\n")
    print(better_table(every))
    print("A token in any context at a rate of 0.0001, with as many claims elsewhere:\n")
    print(spread_table([draw for draw in by_rate["0.0001"] if draw.program is PROGRAMS[0]]))
    print("Intervals of the estimate that hold the exact score:\n")
    rows = [[group, *(held(each, name) for name in (TRUE, *WRONG_ONES))] for group, each in by_rate.items()]
    rows += [[group, *(held(each, name) for name in (TRUE, *WRONG_ONES))] for group, each in by_program.items()]
    print(table(["draws of", TRUE, *WRONG_ONES], rows))


if __name__ == "__main__":
    main()
