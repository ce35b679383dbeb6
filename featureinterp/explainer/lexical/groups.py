"""The best group of strings of every slot, found in one pass over all slots.

The names of all slots are numbered one after the other, so one sum over positions gives what each name saves, and one
sort ranks the names of every slot at every strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featureinterp.explainer.lexical.candidates import Levels, Slot
from featureinterp.phrases import MAX_QUOTED

Numbers = NDArray[np.int64]


class Prices(NamedTuple):
    """What names and slots must save."""

    name: Levels
    """Price of a name at each strength [strengths]."""
    rule: float
    string: float
    """Price of each string that a frame quotes."""


class BestGroups(NamedTuple):
    """The best group of each slot; every array begins with an axis of slots."""

    savings: Levels
    """Saving of the group, its price taken off; below 0 where no name is worth its price."""
    strengths: Numbers
    """Position of the group's strength among the strengths."""
    names: Numbers
    """Names of the group within the slot, those that save most first, then -1 [slots, MAX_QUOTED]."""


@dataclass(frozen=True)
class SlotGroups:
    """Slots as flat arrays."""

    slot: Numbers
    """Slot of each name, ascending [names]."""
    own: Numbers
    """Number of each name within its slot [names]."""
    name: Numbers
    """Name at each position [positions]."""
    columns: Numbers
    """Column of each position, as in `Slot` [positions]."""
    room: Numbers
    """Largest group of each slot [slots]."""
    n_quoted: Numbers
    """Strings quoted by the frame of each slot [slots]."""

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> SlotGroups:
        """Join slots."""
        sizes = np.array([len(slot.axis.names) for slot in slots], dtype=np.int64)
        quoted = np.array([slot.frame.n_quoted for slot in slots], dtype=np.int64)
        firsts = np.cumsum(sizes) - sizes
        none: Numbers = np.zeros(0, dtype=np.int64)
        return cls(
            slot=np.repeat(np.arange(len(slots)), sizes),
            own=np.arange(int(sizes.sum())) - np.repeat(firsts, sizes),
            name=np.concatenate(
                [none, *(slot.name + first for slot, first in zip(slots, firsts.tolist(), strict=True))]
            ),
            columns=np.concatenate([none, *(slot.columns for slot in slots)]),
            room=np.minimum(sizes, MAX_QUOTED - quoted),
            n_quoted=quoted,
        )

    def keep(self, slots: NDArray[np.bool_], names: NDArray[np.bool_]) -> SlotGroups:
        """Return some of the slots, with some of their names."""
        names = names & slots[self.slot]
        positions = names[self.name]
        return SlotGroups(
            slot=(np.cumsum(slots) - 1)[self.slot[names]],
            own=self.own[names],
            name=(np.cumsum(names) - 1)[self.name[positions]],
            columns=self.columns[positions],
            room=self.room[slots],
            n_quoted=self.n_quoted[slots],
        )

    def by_name(self, saved: Levels, price: Levels) -> Levels:
        """Return what each name saves at each strength, its price taken off [strengths, names].

        Args:
            saved: saving of each column at each strength [strengths, columns].
            price: price of a name at each strength [strengths].
        """
        summed = [np.bincount(self.name, row[self.columns], len(self.slot)) for row in saved]
        return np.reshape(summed, (len(saved), len(self.slot))) - price[:, None]

    def best(self, saved: Levels, prices: Prices) -> BestGroups:
        """Return the best group of each slot, given the saving of each column at each strength [strengths, columns]."""
        by_name = self.by_name(saved, prices.name)
        n_slots, n_strengths = len(self.room), len(saved)
        strength, name = np.nonzero(by_name > 0)
        gain, place = by_name[strength, name], strength * n_slots + self.slot[name]
        order = np.lexsort((-gain, place))  # places are ascending, so it sorts within each of them
        counts = np.bincount(place, minlength=n_strengths * n_slots)
        rank = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = rank < self.room[self.slot[name]]
        order, place, rank = order[kept], place[kept], rank[kept]
        gains = np.zeros((n_strengths * n_slots, MAX_QUOTED))
        gains[place, rank] = gain[order]
        names = np.full(gains.shape, -1, dtype=np.int64)
        names[place, rank] = self.own[name[order]]
        totals = gains.sum(axis=1).reshape(n_strengths, n_slots) - prices.rule - prices.string * self.n_quoted
        chosen = totals.argmax(axis=0)
        every = np.arange(n_slots)
        return BestGroups(totals[chosen, every], chosen, names[chosen * n_slots + every])
