"""Decides how many requests of a walk may be under way at once. Pure."""

from __future__ import annotations

# Courier documents no limit for reads. So the walk looks at what happens: an answer that takes
# twice as long as at the beginning, and longer by a quarter of a second, is slow. A pause of a
# busy machine is shorter than that.
_SLOWER = 2.0
_SLOWER_SECONDS = 0.25
# The part of the newest answer in the average.
_WEIGHT = 0.2
# After so many answers without a sign of strain, one more request is allowed.
_CALM_ANSWERS = 50
# The first answers, one at a time, tell how fast Courier is without load.
_FIRST_ANSWERS = 2


class Pace:
    """A limit between 1 and `most`. Refusals and slow answers lower it; a calm time raises it."""

    def __init__(self, most: int) -> None:
        self.limit = most
        self._most = most
        self._first: list[float] = []
        self._average = 0.0
        self._refusals = 0
        self._calm = 0

    def answered(self, seconds: float, refusals: int) -> None:
        """Note an answer. `refusals` counts all answers 429 of the sync so far."""
        if len(self._first) < _FIRST_ANSWERS:
            self._first.append(seconds)
            self._average = usual = min(self._first)
        usual = min(self._first)
        self._average += _WEIGHT * (seconds - self._average)
        self._calm += 1
        if refusals > self._refusals:
            self._lower(self.limit // 2)
        elif self._average > max(_SLOWER * usual, usual + _SLOWER_SECONDS):
            self._lower(self.limit - 1)
            self._average = usual
        elif self._calm >= _CALM_ANSWERS:
            self._calm = 0
            self.limit = min(self._most, self.limit + 1)
        self._refusals = refusals

    def _lower(self, limit: int) -> None:
        self.limit = max(1, limit)
        self._calm = 0
