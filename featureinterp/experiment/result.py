"""Result of one feature: a row of the run store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from featureinterp.chat import Usage
from featureinterp.core import Attempt, Score, ScoredSequence, Scores, StructuredExplanation, attempts_html, worst_first
from featureinterp.dataset.activations.latent_stats import LatentProfile
from featureinterp.display import ERRORS, folded_html, section_html, table_html
from featureinterp.experiment.scores.contributions import RuleContribution
from featureinterp.record import SOURCE_WORDS, ActivationRecord

FeatureStatus = Literal["explained", "dead", "rare", "failed", "unfinished", "refused", "damaged"]
"""dead: never fires on the corpus; rare: fires on too few documents; failed: no attempt could be scored; unfinished: an
endpoint left a request unanswered; refused: an endpoint rejected all its requests, which counts as failed once
another feature was answered; damaged: its records cannot be read. The last three are never stored, and are tried
again."""
NEVER_STORED = ("unfinished", "refused", "damaged")


@dataclass(frozen=True)
class FeatureKey:
    """Feature key: hook name, layer and latent index."""

    hook_name: str
    layer: int
    latent: int


@dataclass(frozen=True)
class CorpusScores:
    """Scores of an explanation and of the fitted tables on the corpus."""

    scores: Scores
    is_exact: bool
    """Whether every window of the corpus was simulated; else windows drawn from its strata, weighted."""
    tables: Mapping[str, Score]
    """Correlation of each table, by name."""
    margin: Score
    """Correlation of the explanation minus that of the best table."""

    @classmethod
    def undefined(cls, reason: str) -> CorpusScores:
        """Make scores without values."""
        return cls(Scores.undefined(reason), is_exact=False, tables={}, margin=Score.undefined(reason))


@dataclass(frozen=True)
class Margin:
    """What an explanation has more than the best table, on the records of one source."""

    correlation: Score
    """On the positives and the records of the source."""
    false_positives_per_sentence: Score
    """On the records of the source; below 0 where the explanation claims fewer silent tokens."""


@dataclass(frozen=True)
class FeatureResult:
    """Stored result of one feature."""

    key: FeatureKey
    status: FeatureStatus
    reason: str = ""
    """Reason for a missing explanation, or why the valid records did not choose it; empty if they did."""
    explainer: str = ""
    """Registered name of the explainer, such as `tree`, with its proposer: `tree/lexical`."""
    simulator: str = ""
    """Name of the simulator that all scores of the explanation are by."""
    explanation: StructuredExplanation | None = None
    complexity: float | None = None
    """Complexity: mean over the rules, 0 (names a token) to 5 (an abstract idea); None without an explanation."""
    complexity_reason: str = ""
    """Reason for a missing complexity; empty if there is one."""
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """Test scores by complementary source (its enum value): positives plus that source's records."""
    corpus: CorpusScores | None = None
    """On the corpus; None without an explanation and in runs made before it was measured."""
    best_table: str = ""
    """Name of the fitted table that scores best on valid: the best baseline."""
    margins: Mapping[str, Margin] = field(default_factory=dict)
    """Over the best table, by complementary source."""
    floors: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    """Correlation of each baseline (`token_lookup`, `short_lookup`, `back_off`, `constant_zero`, `shuffled`), by
    complementary source, on the same records."""
    contributions: tuple[RuleContribution, ...] = ()
    """Contribution of each rule on the test windows; empty in runs of older versions."""
    attempts: tuple[Attempt, ...] = ()
    """Every node of the explainer's search, including failed ones."""
    chosen: int | None = None
    """Number of the attempt that became the explanation."""
    test_sequences: tuple[ScoredSequence, ...] = ()
    """Every test window once per list (see `record.source`), with the expected activations of the explanation."""
    train_positives: tuple[ActivationRecord, ...] = ()
    near_duplicates: int | None = None
    """Pairs of windows in two splits whose token sets have a Jaccard similarity above 1/2; None where not counted."""
    max_activation: float = 0.0
    """Largest activation over the corpus: level 5."""
    density: float = 0.0
    """Share of the corpus's windows on which the feature fires, 0..1."""
    profile: LatentProfile | None = None
    """Activation histogram and promoted tokens; None if the data folder has none."""
    usage: Usage = Usage()
    """Usage of language models behind endpoints, cached answers with their original usage: those that
    proposed, simulated and judged complexity."""
    floor_usage: Usage = Usage()
    """Usage of the shuffled baseline, which is computed again if a run grows."""
    seconds: float = 0.0
    """Wall time spent on this feature; the only field that differs between two equal runs."""

    @property
    def made_by(self) -> str:
        """Explainer and simulator in words."""
        return method_words(self.explainer, self.simulator)

    @property
    def whole_usage(self) -> Usage:
        """Total usage of the feature."""
        return self.usage + self.floor_usage

    def _repr_html_(self) -> str:
        title = f"{self.key.hook_name}, latent {self.key.latent}: {self.status}"
        if self.explanation is None:
            return section_html(title, note=self.reason)
        names = list(self.floors)
        rows = [
            (
                SOURCE_WORDS.get(source, source),
                str(scores.correlation),
                *(str(self.floors[n].get(source, "–")) for n in names),
            )
            for source, scores in self.scores.items()
        ]
        head = ("test correlation with", "explanation", *(name.replace("_", " ") for name in names))
        worst = [sequence.to_html() for sequence in worst_first(self.test_sequences)[:5]]
        sentences = section_html("What breaks it", *worst, note=ERRORS)
        tree = folded_html(f"{len(self.attempts)} attempts", attempts_html(self.attempts, self.chosen))
        return section_html(title, self.explanation.to_html(), table_html(head, rows), sentences, tree)


def method_words(explainer: str, simulator: str) -> str:
    """Return the names of an explainer and of the simulator that scores it, in words; empty ones are left out.

    >>> method_words("tree/lexical", "lexical")
    'tree/lexical, simulated by lexical'
    """
    return ", simulated by ".join(filter(None, (explainer, simulator)))


SIMULATOR_WARNING = "simulator warning"
"""Name of a run's metadata: the warning of a simulator that does not distinguish right from wrong words."""


@dataclass(frozen=True)
class RunSummary:
    """Description of a run for the head of a report."""

    title: str
    command: str = ""
    """Command line that reproduces the run."""
    created: str = ""
    """Start of the run, ISO 8601."""
    made_by: str = ""
    """Explainer and simulator in words."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings that determine the results (model, SAE, corpus, seed, versions) by name, in reading order."""
    finished: bool = True
    """Whether every requested feature is finished."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Features by what became of them; `waiting` for those not finished, `damaged` for those that cannot be read. A
    report counts statuses itself."""
    warning: str = ""
    """What makes the run's scores doubtful; empty if nothing is known."""

    def _repr_html_(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items() if n)
        state = "finished" if self.finished else "not finished"
        note = "; ".join(filter(None, (self.warning, self.created, state, counts, self.command)))
        return section_html(self.title, table_html(("setting", "value"), self.settings.items()), note=note)
