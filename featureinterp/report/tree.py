"""An explainer's attempts in the order of a walk through their tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from featureinterp.core import Attempt


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
    children: defaultdict[int | None, list[Attempt]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda attempt: attempt.number, reverse=True):
        children[attempt.parent if attempt.parent in by_number else None].append(attempt)
    path = _ancestry(by_number, chosen)
    nodes, waiting = [], children[None]
    while waiting:
        attempt = waiting.pop()
        nodes.append(TreeNode(attempt, attempt.number in path, attempt.number == chosen))
        waiting += children[attempt.number]
    return nodes


def _ancestry(by_number: dict[int, Attempt], number: int | None) -> set[int]:
    path: set[int] = set()
    while number is not None and number in by_number and number not in path:
        path.add(number)
        number = by_number[number].parent
    return path
