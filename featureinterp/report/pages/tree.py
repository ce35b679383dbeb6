"""An explainer's attempts in the order of a walk through their tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featureinterp.core import Attempt
from featureinterp.display import ancestry, tree_order


@dataclass(frozen=True)
class TreeNode:
    """One attempt and its place."""

    attempt: Attempt
    on_path: bool
    """Whether it is the chosen attempt or led to it."""
    chosen: bool


def walk_tree(attempts: Sequence[Attempt], chosen: int | None) -> list[TreeNode]:
    """Return every attempt, each followed by all that descends from it, siblings by number.

    An attempt whose parent is not among the attempts is shown as a root.
    """
    by_number = {attempt.number: attempt for attempt in attempts}
    parents = {attempt.number: attempt.parent for attempt in attempts}
    path = ancestry(parents, chosen)
    return [TreeNode(by_number[number], number in path, number == chosen) for number, _ in tree_order(parents)]
