"""Feature results made by hand: explained, dead, rare and failed ones, and one whose every text is hostile."""

from featureinterp.core import (
    Attempt,
    Feedback,
    Proposal,
    Rule,
    Score,
    ScoredSequence,
    Scores,
    SequenceSimulation,
    StructuredExplanation,
    WorstRecord,
)
from featureinterp.dataset.activations.latent_stats import N_BINS, LatentProfile, OutputToken
from featureinterp.experiment.result import CorpusScores, FeatureKey, FeatureResult, Margin, RunSummary
from featureinterp.experiment.scores.contributions import RuleContribution
from featureinterp.record import ActivationRecord, ComplementaryRecordSource

SIMILAR_NEGATIVE = ComplementaryRecordSource.SIMILAR_NEGATIVE
HALF_A_CHARACTER = "\ud83d"
LONG_TOKEN = "x" * 10_000
HOSTILE_TOKENS = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{7*7}}",
    "javascript:alert(1)",
    "'\"`--><svg/onload=alert(1)>",
    "&lt;img src=x onerror=alert(1)&gt;",
    "${alert(1)}",
    "\u202atxet\u2066",
    "{% raw %}",
    "\t",
    "\n",
    "\r",
    "\x00",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "[bold red]markup[/bold red]",
    "\u200fשלום",
    "\u202etxet",
    "\u2028",
    HALF_A_CHARACTER,
    "\ufffd",
    "",
    "   ",
    LONG_TOKEN,
)

SUMMARY = RunSummary(
    title="A run of <b>features</b>",
    command='featureinterp explain --out "runs/a & b"',
    created="2026-02-03T12:34:56+00:00",
    settings={
        "model": "tiny",
        "SAE": "TopK 16",
        "corpus": "docs",
        "seed": "0",
        "note": "</script><script>alert(2)</script>",
    },
    finished=False,
    counts={"waiting": 3},
)


def record(
    tokens: tuple[str, ...],
    activations: tuple[float, ...],
    window: int,
    source: ComplementaryRecordSource | None = None,
) -> ActivationRecord:
    return ActivationRecord(tokens, activations, (), window, max_expression=10.0, source=source)


def scored(of: ActivationRecord, *expected: float) -> ScoredSequence:
    return ScoredSequence(of, SequenceSimulation(of.tokens, expected))


def scores(correlation: Score, false_positives: float = 0.5) -> Scores:
    other = Score(0.4, 0.3, 0.5)
    return Scores(
        correlation=correlation,
        r_squared=other,
        absolute_deviation_explained=other,
        auroc=other,
        precision=Score.undefined("no token is claimed"),
        recall=other,
        f1=other,
        false_positives_per_sentence=Score(false_positives, 0.0, 1.0),
        n_sentences=4,
        n_complementary=2,
        false_positives_expected_per_sentence=Score(false_positives / 2, 0.0, 1.0),
    )


CONTRIBUTIONS = (
    RuleContribution(
        {"similar_negative": Score(0.1), "random": Score(0.2)},
        {"similar_negative": Score(0.5, 0.4, 0.6), "random": Score(0.3)},
        alone=(1,),
        claims={1: (1,), 3: (0,)},
    ),
    RuleContribution(
        dict.fromkeys(("similar_negative", "random"), Score.undefined("the rest expects the same of every token")),
        dict.fromkeys(("similar_negative", "random"), Score.undefined("one of the two is undefined")),
        alone=(),
        claims={},
    ),
)
PROFILE = LatentProfile(
    3,
    (*range(40, 0, -1), *(0,) * 9, 1),
    100_000,
    tuple(OutputToken(f" up{i}", 2.0 - i / 10) for i in range(10)),
    tuple(OutputToken(f" down{i}", i / 10 - 2.0) for i in range(10)),
)


def explained(layer: int, latent: int, correlation: float, words: str = "the token ' raise'") -> FeatureResult:
    """A feature that fires on ' raise', with a good window, a miss and a false alarm."""
    explanation = StructuredExplanation((Rule(words, 5), Rule("words ending in 'ing'", 2)))
    tokens = ("we", " raise", " it")
    good = scored(record(tokens, (0.0, 10.0, 0.0), 1), 0.0, 5.0, 0.0)
    miss = scored(record((" raising", " now"), (8.0, 0.0), 2), 0.0, 0.0)
    alarm = scored(record((" rise", "\n"), (0.0, 0.0), 3, SIMILAR_NEGATIVE), 3.0, 0.0)
    quiet = scored(record((" random", " words"), (0.0, 0.0), 4, ComplementaryRecordSource.RANDOM), 0.0, 0.0)
    train = record((" raise", " Error"), (9.0, 0.0), 9)
    feedback = Feedback(0.5, (WorstRecord(train, (0.0, 0.0), 0.625, ("missed ' raise'",)),))
    first = Attempt(0, None, 0, Proposal(StructuredExplanation.from_text("the word 'raise'")), 0.5, 0.45, feedback)
    return FeatureResult(
        key=FeatureKey(f"blocks.{layer}.hook_resid_post", layer, latent),
        status="explained",
        explainer="tree/lexical",
        explanation=explanation,
        scores={
            "similar_negative": scores(Score(correlation, correlation - 0.1, min(correlation + 0.1, 1.0))),
            "random": scores(Score(correlation / 2)),
            "same_token_negative": scores(Score(correlation - 0.2, correlation - 0.3, correlation - 0.1), 0.75),
        },
        corpus=CorpusScores(
            scores(Score(correlation - 0.15, correlation - 0.17, correlation - 0.13)),
            is_exact=True,
            tables={"token_lookup": Score(correlation - 0.19), "back_off": Score(correlation - 0.2)},
            margin=Score(0.04, 0.01, 0.07),
        ),
        best_table="token_lookup",
        margins={"same_token_negative": Margin(Score(0.11, -0.02, 0.24), Score(-0.5, -0.9, -0.1))},
        floors={
            "token_lookup": {"similar_negative": Score(0.25, 0.2, 0.3), "random": Score(0.3)},
            "short_lookup": {"similar_negative": Score(0.21)},
            "back_off": {"similar_negative": Score(0.27)},
            "constant_zero": {"similar_negative": Score.undefined("the expected activation is constant")},
            "shuffled": {"similar_negative": Score(-0.05, -0.1, 0.0)},
        },
        contributions=CONTRIBUTIONS,
        profile=PROFILE,
        attempts=(
            first,
            Attempt(1, None, 0, Proposal(None, failure="the answer is not JSON")),
            Attempt(2, 0, 1, Proposal(explanation, "Add the ending."), 0.6, 0.5),
            Attempt(3, 2, 2, Proposal(None, converged="no change of one rule lowers the error")),
        ),
        chosen=2,
        test_sequences=(good, miss, alarm, quiet),
        train_positives=(train,),
        max_activation=10.0,
        density=0.0125,
        seconds=1.0,
    )


def without_explanation(layer: int, latent: int, status: str, reason: str) -> FeatureResult:
    assert status in ("dead", "rare", "failed")
    return FeatureResult(FeatureKey(f"blocks.{layer}.hook_resid_post", layer, latent), status, reason)


def hostile(layer: int = 5, latent: int = 99) -> FeatureResult:
    """A feature in which every text is made to break out of the page or to drive the terminal."""
    words = "".join(HOSTILE_TOKENS[:-1])
    n = len(HOSTILE_TOKENS)
    active = scored(record(HOSTILE_TOKENS, tuple(float(i % 11) for i in range(n)), 1), *(i % 6 for i in range(n)))
    silent = scored(record(HOSTILE_TOKENS, (0.0,) * n, 2, SIMILAR_NEGATIVE), *(5 - i % 6 for i in range(n)))
    explanation = StructuredExplanation((Rule(words, 3),))
    return FeatureResult(
        key=FeatureKey(f"hook{words}", layer, latent),
        status="explained",
        reason=words,
        explainer=words,
        explanation=explanation,
        scores={"similar_negative": scores(Score.undefined(words)), "random": scores(Score(0.5, 0.4, 0.6))},
        corpus=CorpusScores.undefined(words),
        best_table=words,
        margins={"similar_negative": Margin(Score.undefined(words), Score.undefined(words))},
        floors={"token_lookup": {"similar_negative": Score.undefined(words)}},
        contributions=(
            RuleContribution(
                {"similar_negative": Score.undefined(words)},
                {"similar_negative": Score.undefined(words)},
                (1,),
                {1: tuple(range(n)), 2: (0,)},
            ),
        ),
        profile=LatentProfile(
            latent, (1,) * N_BINS, 1000, tuple(OutputToken(token, 1.0) for token in HOSTILE_TOKENS), (), words
        ),
        attempts=(Attempt(0, None, 0, Proposal(explanation, words, words), 0.1, 0.1),),
        chosen=0,
        test_sequences=(active, silent),
        train_positives=(active.record,),
        max_activation=10.0,
        density=1e-9,
    )


def all_kinds() -> list[FeatureResult]:
    return [
        explained(0, 3, 0.9, "the token ' raise'"),
        explained(0, 12, 0.3, "numbers"),
        without_explanation(1, 4, "dead", "it never fires on the corpus"),
        explained(1, 7, 0.6, "capitalised words"),
        without_explanation(2, 5, "rare", "it fires in 7 documents, 90 are needed"),
        without_explanation(2, 6, "failed", "no attempt could be scored"),
        hostile(),
    ]
