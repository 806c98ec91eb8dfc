"""Estimates how many rows lie between two moments, to cut a walk into equal segments. Pure.

The estimate only decides how fast a read is. No row depends on it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise

from http_source.instants import EpochMs

# With more knots than this, every second one is dropped: estimates are made often.
_MOST_KNOTS = 256
# How many steps find the moment that halves a number of rows: 2^-40 of the time between.
_STEPS = 40


class DensityMap:
    """The rows per millisecond at known moments. Between two of them the density is linear."""

    def __init__(self) -> None:
        self._knots: list[tuple[EpochMs, float]] = []

    def add(self, moments: Sequence[EpochMs]) -> None:
        """Learn from the moments of the rows of one page."""
        if not moments:
            return
        newest, oldest = max(moments), min(moments)
        self._insert((newest + oldest) // 2, len(moments) / max(1, newest - oldest))

    def add_span(self, newer: EpochMs, older: EpochMs, count: int) -> None:
        """Learn that so many rows lie between two moments, about evenly.

        Both ends are noted. So a burst of rows next to them does not reach in between.
        """
        density = count / max(1, newer - older)
        self._insert(newer, density)
        self._insert(older, density)

    def add_gap(self, newer: EpochMs, older: EpochMs) -> None:
        """Learn that no row lies between two moments."""
        self._insert(newer, 0.0)
        self._insert(older + 1, 0.0)

    def _insert(self, moment: EpochMs, density: float) -> None:
        insort(self._knots, (moment, density))
        if len(self._knots) > _MOST_KNOTS:
            del self._knots[1:-1:2]

    def rows(self, newer: EpochMs, older: EpochMs) -> float:
        """Estimate the rows between two moments."""
        if newer <= older or not self._knots:
            return 0.0
        inside = [knot for knot in self._knots if older < knot[0] < newer]
        points = [(older, self._at(older)), *inside, (newer, self._at(newer))]
        return sum(
            (right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points)
        )

    def cut(self, newer: EpochMs, older: EpochMs, share: float) -> EpochMs:
        """Return the moment with that share of the rows between itself and `newer`."""
        wanted = self.rows(newer, older) * share
        low, high = older, newer
        for _ in range(_STEPS):
            middle = (low + high) // 2
            if self.rows(newer, middle) > wanted:
                low = middle
            else:
                high = middle
        return high

    def _at(self, moment: EpochMs) -> float:
        knots = self._knots
        before = max((knot for knot in knots if knot[0] <= moment), default=None)
        after = min((knot for knot in knots if knot[0] > moment), default=None)
        if before is None or after is None:
            return (before or after or (0, 0.0))[1]
        share = (moment - before[0]) / (after[0] - before[0])
        return before[1] + share * (after[1] - before[1])
