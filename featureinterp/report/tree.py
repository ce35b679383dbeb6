"""An explainer's attempts in the order of a walk through their tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featureinterp.core import Attempt
from featureinterp.display import tree_order


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
    path = _ancestry(by_number, chosen)
    order = tree_order({number: attempt.parent for number, attempt in by_number.items()})
    return [TreeNode(by_number[number], number in path, number == chosen) for number, _ in order]


def _ancestry(by_number: dict[int, Attempt], number: int | None) -> set[int]:
    path: set[int] = set()
    while number is not None and number in by_number and number not in path:
        path.add(number)
        number = by_number[number].parent
    return path
