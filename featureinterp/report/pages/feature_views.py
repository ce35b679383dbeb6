"""Parts of a feature's page: activation histogram, output tokens, attempt tree, constant-zero baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from featureinterp.core import Attempt, Scores, SequenceSimulation
from featureinterp.dataset.activations.latent_stats import BINS_PER_LEVEL, LatentProfile, OutputToken
from featureinterp.display import ancestry, tree_order, visible_token
from featureinterp.errors import ActivationError, InputError
from featureinterp.experiment.result import FeatureResult
from featureinterp.record import MAX_LEVEL
from featureinterp.scoring import score_by_source

_LOWEST = 1.5
"""Minimum height of a nonempty bar in percent."""


@dataclass(frozen=True)
class BarView:
    """One bar; positions and sizes in percent of the plot."""

    left: float
    width: float
    height: float
    n_tokens: int


@dataclass(frozen=True)
class LevelView:
    """One level below the maximum: its start, and its number of tokens."""

    level: int
    begins: float
    """Start of the level in the SAE's units."""
    n_tokens: int

    @property
    def middle(self) -> float:
        """Middle of the level in percent of the plot."""
        return 100 * (self.level + 0.5) / MAX_LEVEL


@dataclass(frozen=True)
class OutputView:
    """One output token, with its logit as a share of the largest on either side, in percent."""

    text: str
    logit: float
    width: float


@dataclass(frozen=True)
class ProfileView:
    """A histogram and two lists of tokens."""

    bars: tuple[BarView, ...]
    levels: tuple[LevelView, ...]
    n_active: int
    n_tokens: int
    share_active: float
    promoted: tuple[OutputView, ...]
    suppressed: tuple[OutputView, ...]
    reason: str


def profile_view(result: FeatureResult) -> ProfileView | None:
    """Return the view of a result's profile; None if it has none."""
    profile = result.profile
    if profile is None:
        return None
    largest = max((abs(token.logit) for token in (*profile.promoted, *profile.suppressed)), default=0.0)
    return ProfileView(
        _bars(profile),
        _levels(profile, result.max_activation),
        sum(profile.histogram),
        profile.n_tokens,
        profile.share_active,
        _outputs(profile.promoted, largest),
        _outputs(profile.suppressed, largest),
        profile.reason,
    )


def _bars(profile: LatentProfile) -> tuple[BarView, ...]:
    highest, width = max(profile.histogram, default=0), 100 / max(len(profile.histogram), 1)
    return tuple(
        BarView(round(width * part, 3), round(0.85 * width, 3), max(100 * n / highest, _LOWEST), n)
        for part, n in enumerate(profile.histogram)
        if n
    )


def _levels(profile: LatentProfile, maximum: float) -> tuple[LevelView, ...]:
    return tuple(
        LevelView(
            level,
            maximum * level / MAX_LEVEL,
            sum(profile.histogram[level * BINS_PER_LEVEL : (level + 1) * BINS_PER_LEVEL]),
        )
        for level in range(MAX_LEVEL)
    )


def _outputs(tokens: Sequence[OutputToken], largest: float) -> tuple[OutputView, ...]:
    return tuple(
        OutputView(visible_token(token.text), token.logit, 100 * abs(token.logit) / largest if largest else 0.0)
        for token in tokens
    )


@dataclass(frozen=True)
class TreeNode:
    """One attempt and its position in the tree."""

    attempt: Attempt
    on_path: bool
    """Whether it is the chosen attempt or its ancestor."""
    chosen: bool


def walk_tree(attempts: Sequence[Attempt], chosen: int | None) -> list[TreeNode]:
    """Return the attempts in depth-first order, siblings by number.

    An attempt whose parent is not among the attempts is shown as a root.
    """
    by_number = {attempt.number: attempt for attempt in attempts}
    parents = {attempt.number: attempt.parent for attempt in attempts}
    path = ancestry(parents, chosen)
    return [TreeNode(by_number[number], number in path, number == chosen) for number, _ in tree_order(parents)]


def silent_scores(result: FeatureResult) -> Mapping[str, Scores]:
    """Return the scores of the constant-zero baseline by source, without intervals.

    Its correlation is undefined. Empty if the true activations cannot be scored.
    """
    silent = [
        replace(pair, simulation=SequenceSimulation(pair.record.tokens, (0.0,) * len(pair.record.tokens)))
        for pair in result.test_sequences
    ]
    try:
        return score_by_source(silent, intervals=False)
    except (ActivationError, InputError):
        return {}
