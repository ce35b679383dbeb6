"""Attempts in the order of a walk through their tree."""

from featureinterp.core import Attempt, Proposal
from featureinterp.report.pages.feature_views import walk_tree


def attempts(*parents: int | None) -> list[Attempt]:
    return [Attempt(number, parent, 0, Proposal(None)) for number, parent in enumerate(parents)]


def test_each_attempt_is_followed_by_its_descendants() -> None:
    nodes = walk_tree(attempts(None, None, 0, 1, 2, 0), chosen=4)
    assert [node.attempt.number for node in nodes] == [0, 2, 4, 5, 1, 3]
    assert [node.attempt.number for node in nodes if node.on_path] == [0, 2, 4]
    assert [node.attempt.number for node in nodes if node.chosen] == [4]


def test_the_order_of_the_trace_changes_nothing() -> None:
    trace = attempts(None, 0, 0, 1)
    assert walk_tree(trace[::-1], 3) == walk_tree(trace, 3)


def test_an_attempt_without_its_parent_is_a_root_and_none_need_be_chosen() -> None:
    nodes = walk_tree(attempts(None, 17, 1), chosen=None)
    assert [node.attempt.number for node in nodes] == [0, 1, 2]
    assert not any(node.on_path or node.chosen for node in nodes)
    assert walk_tree([], None) == []
